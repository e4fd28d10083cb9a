"""Service Models: the model repository, its catalogs, and what inference servers hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.engine import Database
from gateway.database.schema import model_lists, models, new_id
from gateway.platform import convert, metadata
from gateway.platform.errors import Code, PlatformError, invalid, limit, not_found
from gateway.platform.model_files import ModelFiles, Upload, blocks, model_name
from gateway.platform.wire import models_pb2 as pb
from gateway.platform.wire.common_pb2 import Identifier

MOST_MODELS = 1000
"""Most models of one catalog or instance."""
DIGEST = "digest"
"""Key under which details show a model's SHA-256; nobody may add it."""

CATALOG = "CATALOG"
INSTANCE = "INSTANCE"

_Update = TypeVar("_Update", pb.ModelsUpdateCatalogRequest, pb.ModelsUpdateInstanceRequest)


class ModelsService:
    """Keeps models as folders and lists of models as records."""

    def __init__(self, database: Database, files: ModelFiles) -> None:
        self._database = database
        self._files = files
        self._changing = threading.Lock()

    def upload_model(
        self, requests: Iterator[pb.ModelsUploadModelRequest]
    ) -> pb.ModelsUploadModelResponse:
        """Take a model; one of that name is replaced and keeps its id."""
        first = next(requests, None)
        if first is None:
            raise invalid("the upload held no message")
        name = model_name(first.details.name)
        _check_kind(first.details.type)
        given = metadata.added({}, first.details.metadata)
        _check_digest(given)
        with self._files.receive() as receiving:
            receiving.write(first.data)
            for request in requests:
                receiving.write(request.data)
            upload = receiving.end()
            file = self._files.build(upload, first.details.type)
            with self._changing, self._database.begin() as connection:
                row = _store(connection, name, first.details.type, file, upload, given)
                self._files.put(upload, name)
        return pb.ModelsUploadModelResponse(header=convert.ok(), details=_details(row))

    def download_model(
        self, request: pb.ModelsDownloadModelRequest
    ) -> Iterator[pb.ModelsDownloadModelResponse]:
        """The file a model was uploaded as, or its folder as a tar archive."""
        model_id = convert.identified(request.model_id, "model")
        with self._database.read() as connection:
            row = _model(connection, model_id)
        folder = self._files.folder(row.name)
        if not folder.is_dir():
            raise not_found(f"the files of model {model_id} are gone")
        single = None if row.file is None else folder / "1" / row.file
        for data in self._files.archive(row.name) if single is None else blocks(single):
            yield pb.ModelsDownloadModelResponse(
                header=convert.ok(), details=_details(row), data=data
            )

    def delete_model(self, request: pb.ModelsDeleteModelRequest) -> pb.ModelsDeleteModelResponse:
        """Delete a model that no catalog and no instance lists."""
        model_id = convert.identified(request.model_id, "model")
        with self._changing:
            with self._database.begin() as connection:
                row = _model(connection, model_id)
                _check_unlisted(connection, model_id)
                connection.execute(sa.delete(models).where(models.c.id == model_id))
            self._files.delete(row.name)
        return pb.ModelsDeleteModelResponse(
            header=convert.ok(), model_id=convert.identifier(model_id)
        )

    def list_models(
        self, _request: pb.ModelsListModelsRequest
    ) -> Iterator[pb.ModelsListModelsResponse]:
        """Every model, those that a person put into the folder among them; none = no message."""
        self._adopt()
        there = set(self._files.names())
        with self._database.read() as connection:
            rows = connection.execute(sa.select(models).order_by(models.c.name)).all()
        for row in rows:
            if row.name in there:
                yield pb.ModelsListModelsResponse(header=convert.ok(), models=[_details(row)])

    def add_metadata(self, request: pb.ModelsAddMetadataRequest) -> pb.ModelsAddMetadataResponse:
        """Add to a model's metadata."""
        model_id = convert.identified(request.model_id, "model")
        _check_digest(request.metadata)
        with self._database.begin() as connection:
            merged = metadata.add(connection, models, model_id, request.metadata, "model")
        return pb.ModelsAddMetadataResponse(
            header=convert.ok(), model_id=convert.identifier(model_id), metadata=merged
        )

    def remove_metadata(
        self, request: pb.ModelsRemoveMetadataRequest
    ) -> pb.ModelsRemoveMetadataResponse:
        """Remove from a model's metadata."""
        model_id = convert.identified(request.model_id, "model")
        with self._database.begin() as connection:
            left = metadata.remove(connection, models, model_id, request.keys, "model")
        return pb.ModelsRemoveMetadataResponse(
            header=convert.ok(), model_id=convert.identifier(model_id), metadata=left
        )

    def create_catalog(
        self, _request: pb.ModelsCreateCatalogRequest
    ) -> pb.ModelsCreateCatalogResponse:
        """A new, empty catalog."""
        return pb.ModelsCreateCatalogResponse(
            header=convert.ok(), catalog_id=self._create_list(CATALOG)
        )

    def create_instance(
        self, _request: pb.ModelsCreateInstanceRequest
    ) -> pb.ModelsCreateInstanceResponse:
        """A new, empty instance."""
        return pb.ModelsCreateInstanceResponse(
            header=convert.ok(), instance_id=self._create_list(INSTANCE)
        )

    def delete_catalog(
        self, request: pb.ModelsDeleteCatalogRequest
    ) -> pb.ModelsDeleteCatalogResponse:
        """Delete a catalog; its models stay."""
        catalog_id = self._delete_list(CATALOG, request.catalog_id)
        return pb.ModelsDeleteCatalogResponse(header=convert.ok(), catalog_id=catalog_id)

    def delete_instance(
        self, request: pb.ModelsDeleteInstanceRequest
    ) -> pb.ModelsDeleteInstanceResponse:
        """Delete an instance; its models stay."""
        instance_id = self._delete_list(INSTANCE, request.instance_id)
        return pb.ModelsDeleteInstanceResponse(header=convert.ok(), instance_id=instance_id)

    def update_catalog(
        self, requests: Iterator[pb.ModelsUpdateCatalogRequest]
    ) -> pb.ModelsUpdateCatalogResponse:
        """Replace the whole list of a catalog's models."""
        first, wanted = _gathered(requests)
        catalog_id = self._update_list(CATALOG, first.catalog_id, wanted)
        return pb.ModelsUpdateCatalogResponse(header=convert.ok(), catalog_id=catalog_id)

    def update_instance(
        self, requests: Iterator[pb.ModelsUpdateInstanceRequest]
    ) -> pb.ModelsUpdateInstanceResponse:
        """Replace the whole list of an instance's models."""
        first, wanted = _gathered(requests)
        instance_id = self._update_list(INSTANCE, first.instance_id, wanted)
        return pb.ModelsUpdateInstanceResponse(header=convert.ok(), instance_id=instance_id)

    def read_catalog(
        self, request: pb.ModelsReadCatalogRequest
    ) -> Iterator[pb.ModelsReadCatalogResponse]:
        """The models of a catalog; an empty one gives one message without models."""
        list_id, found = self._read_list(CATALOG, request.catalog_id)
        for batch in [[each] for each in found] or [[]]:
            yield pb.ModelsReadCatalogResponse(
                header=convert.ok(), catalog_id=list_id, models=batch
            )

    def read_instance(
        self, request: pb.ModelsReadInstanceRequest
    ) -> Iterator[pb.ModelsReadInstanceResponse]:
        """The models of an instance; an empty one gives one message without models."""
        list_id, found = self._read_list(INSTANCE, request.instance_id)
        for batch in [[each] for each in found] or [[]]:
            yield pb.ModelsReadInstanceResponse(
                header=convert.ok(), instance_id=list_id, models=batch
            )

    def list_catalogs(
        self, _request: pb.ModelsListCatalogsRequest
    ) -> Iterator[pb.ModelsListCatalogsResponse]:
        """Every catalog with its models, which are told without metadata."""
        for each in self._lists(CATALOG):
            yield pb.ModelsListCatalogsResponse(header=convert.ok(), catalogs=[each])

    def list_instances(
        self, _request: pb.ModelsListInstancesRequest
    ) -> Iterator[pb.ModelsListInstancesResponse]:
        """Every instance with its models, which are told without metadata."""
        for each in self._lists(INSTANCE):
            yield pb.ModelsListInstancesResponse(header=convert.ok(), instances=[each])

    def _adopt(self) -> None:
        """Record models that lie in the folder and nobody uploaded."""
        with self._database.read() as connection:
            known = set(connection.execute(sa.select(models.c.name)).scalars())
        for name in set(self._files.names()) - known:
            size, digest = self._files.measured(name)
            upload = Upload(self._files.folder(name), size, digest)
            with self._changing, self._database.begin() as connection:
                _store(connection, name, self._files.kind(name), None, upload, {})

    def _create_list(self, kind: str) -> Identifier:
        list_id = new_id()
        with self._database.begin() as connection:
            connection.execute(
                sa.insert(model_lists).values(
                    id=list_id, kind=kind, model_ids=[], created_at=time.time()
                )
            )
        return convert.identifier(list_id)

    def _delete_list(self, kind: str, given: Identifier) -> Identifier:
        list_id = convert.identified(given, kind.lower())
        with self._database.begin() as connection:
            _list(connection, kind, list_id)
            connection.execute(sa.delete(model_lists).where(model_lists.c.id == list_id))
        return convert.identifier(list_id)

    def _update_list(self, kind: str, given: Identifier, wanted: Sequence[str]) -> Identifier:
        list_id = convert.identified(given, kind.lower())
        with self._database.begin() as connection:
            _list(connection, kind, list_id)
            for model_id in wanted:
                _model(connection, model_id)
            connection.execute(
                sa.update(model_lists)
                .where(model_lists.c.id == list_id)
                .values(model_ids=list(wanted))
            )
        return convert.identifier(list_id)

    def _read_list(self, kind: str, given: Identifier) -> tuple[Identifier, list[pb.ModelDetails]]:
        list_id = convert.identified(given, kind.lower())
        with self._database.read() as connection:
            row = _list(connection, kind, list_id)
            found = [_details(_model(connection, model_id)) for model_id in row.model_ids]
        return convert.identifier(list_id), found

    def _lists(self, kind: str) -> Iterator[pb.ModelCatalogDetails]:
        query = sa.select(model_lists.c.id).where(model_lists.c.kind == kind)
        with self._database.read() as connection:
            ids = connection.execute(query.order_by(model_lists.c.created_at)).scalars().all()
        for list_id in ids:
            _, found = self._read_list(kind, convert.identifier(list_id))
            for each in found:
                # All models of a list stand in one message, which has a limit.
                each.metadata.clear()
            yield pb.ModelCatalogDetails(catalog_id=convert.identifier(list_id), models=found)


def _store(
    connection: Connection,
    name: str,
    kind: int,
    file: str | None,
    upload: Upload,
    given: dict[str, str],
) -> Row[Any]:
    """Record a model; one of that name keeps its id and, without new ones, its metadata."""
    now = time.time()
    values: dict[str, Any] = {
        "type": kind,
        "file": file,
        "size": upload.size,
        "digest": upload.digest,
        "updated_at": now,
    }
    found = connection.execute(sa.select(models.c.id).where(models.c.name == name)).scalar()
    if found is None:
        found = new_id()
        connection.execute(
            sa.insert(models).values(id=found, name=name, metadata=given, created_at=now, **values)
        )
    else:
        changed = {"metadata": given} if given else {}
        connection.execute(
            sa.update(models).where(models.c.id == found).values(**values, **changed)
        )
    return _model(connection, found)


def _model(connection: Connection, model_id: str) -> Row[Any]:
    row = connection.execute(sa.select(models).where(models.c.id == model_id)).one_or_none()
    if row is None:
        raise not_found(f"there is no model {model_id}")
    return row


def _list(connection: Connection, kind: str, list_id: str) -> Row[Any]:
    row = connection.execute(
        sa.select(model_lists).where(model_lists.c.id == list_id, model_lists.c.kind == kind)
    ).one_or_none()
    if row is None:
        raise not_found(f"there is no {kind.lower()} {list_id}")
    return row


def _check_unlisted(connection: Connection, model_id: str) -> None:
    for row in connection.execute(sa.select(model_lists)):
        if model_id in row.model_ids:
            raise PlatformError(
                Code.REFUSED, f"the {row.kind.lower()} {row.id} lists model {model_id}"
            )


def _check_kind(kind: int) -> None:
    if kind not in pb.ModelType.values():
        raise invalid(f"{kind} is no model type; allowed are 0 to 3")


def _check_digest(given: Any) -> None:
    if any(key.casefold() == DIGEST for key in given):
        raise PlatformError(Code.EXISTS, f"the metadata key {DIGEST!r} is the gateway's own")


def _gathered(requests: Iterator[_Update]) -> tuple[_Update, list[str]]:
    """The first message and the ids of every message, each model once."""
    first: _Update | None = None
    wanted: dict[str, None] = {}
    for request in requests:
        first = request if first is None else first
        wanted |= dict.fromkeys(convert.identified(each, "model") for each in request.model_ids)
        if len(wanted) > MOST_MODELS:
            raise limit(f"a catalog or instance lists at most {MOST_MODELS} models")
    if first is None:
        raise invalid("the stream held no message")
    return first, list(wanted)


def _details(row: Row[Any]) -> pb.ModelDetails:
    return pb.ModelDetails(
        model_id=convert.identifier(row.id),
        name=row.name,
        type=pb.ModelType.Name(row.type),
        metadata={**row.metadata, DIGEST: f"sha256:{row.digest}"},
    )
