"""Service Pipelines: registering, listing and removing definitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sqlalchemy.engine import Connection

from gateway.database.engine import Database
from gateway.database.schema import pipelines as table
from gateway.pipelines import lineage, registry
from gateway.pipelines.model import Definition
from gateway.pipelines.parse import parse
from gateway.pipelines.registry import Pipeline, PipelineError
from gateway.platform import convert, metadata
from gateway.platform.errors import Code, PlatformError, invalid, limit, not_found
from gateway.platform.wire import pipelines_pb2 as pb

MOST_BYTES = 1024 * 1024
"""Most bytes of one pipeline's files together."""
MOST_FILES = 64
"""Most definition files of one pipeline."""
PATH_LENGTH = 255
"""Longest path of a definition file, in characters."""
DEFAULT_FILE = "pipeline.yaml"
"""What a definition without a path is called in errors."""


_Request = TypeVar("_Request", pb.PipelinesCreateRequest, pb.PipelinesUpdateRequest)


class PipelinesService:
    """Keeps definitions; an id stays the same when its pipeline is updated."""

    def __init__(self, database: Database, host_volumes: Sequence[str] = ()) -> None:
        """``host_volumes`` are the folders of the machine that a definition may ask for."""
        self._database = database
        self._host_volumes = host_volumes

    def create(self, requests: Iterator[pb.PipelinesCreateRequest]) -> pb.PipelinesCreateResponse:
        """Register a pipeline; a definition that is registered already gives the id it has."""
        first, files = _gathered(requests)
        forced = None
        if first.pipeline_id.value:
            forced = convert.identified(first.pipeline_id, "pipeline")
        given = metadata.added({}, first.metadata)
        path, text, imported = self._checked(files)
        with self._database.begin() as connection:
            if forced is not None and lineage.taken(connection, forced):
                raise PlatformError(Code.EXISTS, f"the pipeline id {forced} is taken")
            pipeline = registry.register(
                connection,
                text,
                path,
                files=imported,
                host_volumes=self._host_volumes,
                pipeline_id=forced,
                metadata=given,
            )
            missing = {k: v for k, v in given.items() if pipeline.metadata.get(k) != v}
            if missing:
                metadata.add(connection, table, pipeline.id, missing, "pipeline")
        return pb.PipelinesCreateResponse(
            header=convert.ok(), pipeline_id=convert.identifier(pipeline.lineage)
        )

    def update(self, requests: Iterator[pb.PipelinesUpdateRequest]) -> pb.PipelinesUpdateResponse:
        """Give a pipeline a new version; jobs keep the one they were created with."""
        first, files = _gathered(requests)
        pipeline_id = convert.identified(first.pipeline_id, "pipeline")
        path, text, imported = self._checked(files)
        with self._database.begin() as connection:
            newest(connection, pipeline_id)
            lineage.update(
                connection,
                pipeline_id,
                text,
                path,
                files=imported,
                host_volumes=self._host_volumes,
            )
        return pb.PipelinesUpdateResponse(header=convert.ok())

    def details(self, request: pb.PipelinesDetailsRequest) -> Iterator[pb.PipelinesDetailsResponse]:
        """The definition and its graph, one message per file."""
        pipeline_id = convert.identified(request.pipeline_id, "pipeline")
        with self._database.read() as connection:
            pipeline = newest(connection, pipeline_id)
        files = {pipeline.file: pipeline.text, **pipeline.files}
        for number, (path, text) in enumerate(files.items()):
            yield pb.PipelinesDetailsResponse(
                header=convert.ok(),
                pipeline_id=convert.identifier(pipeline.lineage),
                name=pipeline.name,
                definition=pb.PipelineDefinitionFile(path=path, content=text),
                dag=_dag(pipeline.definition) if number == 0 else None,
                metadata=pipeline.metadata if number == 0 else None,
            )

    def list(self, _request: pb.PipelinesListRequest) -> Iterator[pb.PipelinesListResponse]:
        """Every pipeline in use, by name."""
        with self._database.read() as connection:
            found = lineage.listing(connection)
        for pipeline in found:
            yield pb.PipelinesListResponse(
                header=convert.ok(),
                details=pb.PipelinesListResponse.PipelineDetails(
                    pipeline_id=convert.identifier(pipeline.lineage),
                    name=pipeline.name,
                    metadata=pipeline.metadata,
                ),
            )

    def remove(self, request: pb.PipelinesRemoveRequest) -> pb.PipelinesRemoveResponse:
        """Take a pipeline out of use; its jobs go on."""
        pipeline_id = convert.identified(request.pipeline_id, "pipeline")
        with self._database.begin() as connection:
            newest(connection, pipeline_id)
            lineage.remove(connection, pipeline_id)
        return pb.PipelinesRemoveResponse(header=convert.ok())

    def add_metadata(
        self, request: pb.PipelinesAddMetadataRequest
    ) -> pb.PipelinesAddMetadataResponse:
        """Add to a pipeline's metadata."""
        pipeline_id = convert.identified(request.pipeline_id, "pipeline")
        with self._database.begin() as connection:
            row = newest(connection, pipeline_id).id
            merged = metadata.add(connection, table, row, request.metadata, "pipeline")
        return pb.PipelinesAddMetadataResponse(
            header=convert.ok(), pipeline_id=convert.identifier(pipeline_id), metadata=merged
        )

    def remove_metadata(
        self, request: pb.PipelinesRemoveMetadataRequest
    ) -> pb.PipelinesRemoveMetadataResponse:
        """Remove from a pipeline's metadata."""
        pipeline_id = convert.identified(request.pipeline_id, "pipeline")
        with self._database.begin() as connection:
            row = newest(connection, pipeline_id).id
            left = metadata.remove(connection, table, row, request.keys, "pipeline")
        return pb.PipelinesRemoveMetadataResponse(
            header=convert.ok(), pipeline_id=convert.identifier(pipeline_id), metadata=left
        )

    def _checked(self, files: Sequence[tuple[str, str]]) -> tuple[str, str, dict[str, str]]:
        """Path and text of the pipeline, and what it imports; parsed outside any transaction."""
        (path, text), *more = files
        imported: dict[str, str] = {}
        for name, content in more:
            if name in imported or name == path:
                raise PlatformError(Code.EXISTS, f"the definition file {name[:64]!r} came twice")
            imported[name] = content
        parse(text, path, imported, host_volumes=self._host_volumes)
        return path, text, imported


def newest(connection: Connection, pipeline_id: str) -> Pipeline:
    """The pipeline a caller knows by that id; :class:`PlatformError` when there is none."""
    try:
        return lineage.newest(connection, pipeline_id)
    except PipelineError as error:
        raise not_found(str(error)) from error


def _gathered(
    requests: Iterator[_Request],
) -> tuple[_Request, list[tuple[str, str]]]:
    """The first message and every file (path, text) of a stream, within limits."""
    first: _Request | None = None
    files: list[tuple[str, str]] = []
    size = 0
    for request in requests:
        first = request if first is None else first
        size += len(request.definition.content.encode())
        if size > MOST_BYTES or len(files) == MOST_FILES:
            raise limit(f"a pipeline may have {MOST_FILES} files with {MOST_BYTES} bytes together")
        files.append((_path(request.definition.path), request.definition.content))
    if first is None:
        raise invalid("the stream held no definition")
    return first, files


def _path(given: str) -> str:
    """What a definition file is called in errors and imports."""
    if len(given) > PATH_LENGTH or not given.isprintable():
        raise invalid(
            f"the path of a definition file has at most {PATH_LENGTH} characters, all printable"
        )
    return given or DEFAULT_FILE


def _dag(definition: Definition) -> Iterator[pb.PipelinesDetailsResponse.PipelineDagNode]:
    """A node per operator; ``next`` names those that wait for it and goes no deeper.

    Nested to the end a graph with many branches would grow beyond any message.
    """
    node = pb.PipelinesDetailsResponse.PipelineDagNode
    for operator in definition.operators:
        after = [o.name for o in definition.operators if operator.name in o.upstream]
        yield node(name=operator.name, next=[node(name=name) for name in after])
