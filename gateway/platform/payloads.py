"""Service Payloads: files of payloads, up and down."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gateway.database.engine import Database
from gateway.database.schema import reusable_payloads
from gateway.jobs.transitions import Job
from gateway.platform import convert, metadata, records
from gateway.platform.errors import invalid
from gateway.platform.names import Parts, parts, shown
from gateway.platform.records import Locks, Payload
from gateway.platform.tree import File, Incoming, Tree
from gateway.platform.wire import payloads_pb2 as pb

INPUT = "input"
"""Where the files that are uploaded to a job's payload go."""

_EMPTY_UPLOAD = (
    "the upload held no message, so it names neither a payload nor a file; "
    "NVIDIA's Python client sends none for an empty file"
)


class PayloadsService:
    """Creates, fills, reads and deletes payloads."""

    def __init__(self, database: Database, tree: Tree, locks: Locks, chunk_bytes: int) -> None:
        """``chunk_bytes`` is how much of a file one message of a download carries."""
        self._database = database
        self._tree = tree
        self._locks = locks
        self._chunk_bytes = chunk_bytes

    def create(self, request: pb.PayloadsCreateRequest) -> pb.PayloadsCreateResponse:
        """A new reusable payload."""
        given = metadata.added({}, request.metadata)
        with self._database.begin() as connection:
            payload_id = records.create(connection, given)
            self._tree.make(payload_id)
        return pb.PayloadsCreateResponse(
            header=convert.ok(),
            payload_id=convert.identifier(payload_id),
            type=pb.PAYLOAD_TYPE_REUSABLE,
        )

    def delete(self, request: pb.PayloadsDeleteRequest) -> pb.PayloadsDeleteResponse:
        """Delete a payload with its files; a job's only when the job has stopped."""
        payload_id = convert.identified(request.payload_id, "payload")
        with self._locks.of(payload_id):
            with self._database.begin() as connection:
                records.mark_deleted(connection, payload_id)
            self._tree.delete(payload_id)
        return pb.PayloadsDeleteResponse(header=convert.ok())

    def details(self, request: pb.PayloadsDetailsRequest) -> Iterator[pb.PayloadsDetailsResponse]:
        """One message per file; a payload without files gives one message without ``file``."""
        payload = self._find(convert.identified(request.payload_id, "payload"))
        first = True
        for file in self._tree.files(payload.id):
            yield _details(payload, file, whole=first)
            first = False
        if first:
            yield _details(payload, None, whole=True)

    def download(
        self, request: pb.PayloadsDownloadRequest
    ) -> Iterator[pb.PayloadsDownloadResponse]:
        """The bytes of a file; every message carries its details."""
        payload = self._find(convert.identified(request.payload_id, "payload"))
        opened = self._tree.open(payload.id, parts(request.name))
        with os.fdopen(opened.descriptor, "rb", buffering=0) as file:
            header, details = convert.ok(), _file(opened.file)
            data = file.read(self._chunk_bytes)
            yield pb.PayloadsDownloadResponse(header=header, details=details, data=data)
            while data := file.read(self._chunk_bytes):
                yield pb.PayloadsDownloadResponse(header=header, details=details, data=data)

    def upload(self, requests: Iterator[pb.PayloadsUploadRequest]) -> pb.PayloadsUploadResponse:
        """Receive one file; it is there, whole and durable, when this answers.

        A file of that name is replaced.  A stream that ends early leaves nothing.
        """
        first = next(requests, None)
        if first is None:
            raise invalid(_EMPTY_UPLOAD)
        payload = self._find(convert.identified(first.payload_id, "payload"))
        payload.check_writable()
        place = _place(payload, first.details.name)
        with self._tree.receive() as incoming:
            _receive(incoming, first, requests)
            incoming.finish(first.details.mode)
            with self._locks.of(payload.id):
                # A start or a deletion may have come in between.
                self._find(payload.id).check_writable()
                self._tree.place(incoming, payload.id, place)
            file = File(place, incoming.size, 0o444 | first.details.mode & 0o111)
        return pb.PayloadsUploadResponse(header=convert.ok(), details=_file(file))

    def remove(self, request: pb.PayloadsRemoveRequest) -> pb.PayloadsRemoveResponse:
        """Remove one file."""
        payload_id = convert.identified(request.payload_id, "payload")
        name = parts(request.name)
        with self._locks.of(payload_id):
            self._find(payload_id).check_writable()
            self._tree.remove(payload_id, name)
        return pb.PayloadsRemoveResponse(header=convert.ok())

    def add_metadata(
        self, request: pb.PayloadsAddMetadataRequest
    ) -> pb.PayloadsAddMetadataResponse:
        """Add to a reusable payload's metadata."""
        payload_id = convert.identified(request.payload_id, "payload")
        with self._database.begin() as connection:
            records.find_reusable(connection, payload_id, "metadata")
            merged = metadata.add(
                connection, reusable_payloads, payload_id, request.metadata, "payload"
            )
        return pb.PayloadsAddMetadataResponse(
            header=convert.ok(), payload_id=convert.identifier(payload_id), metadata=merged
        )

    def remove_metadata(
        self, request: pb.PayloadsRemoveMetadataRequest
    ) -> pb.PayloadsRemoveMetadataResponse:
        """Remove from a reusable payload's metadata."""
        payload_id = convert.identified(request.payload_id, "payload")
        with self._database.begin() as connection:
            records.find_reusable(connection, payload_id, "metadata")
            left = metadata.remove(
                connection, reusable_payloads, payload_id, request.keys, "payload"
            )
        return pb.PayloadsRemoveMetadataResponse(
            header=convert.ok(), payload_id=convert.identifier(payload_id), metadata=left
        )

    def _find(self, payload_id: str) -> Payload:
        with self._database.read() as connection:
            return records.find(connection, payload_id)


def _place(payload: Payload, name: str) -> Parts:
    found = parts(name)
    if payload.job is None:
        return found
    return parts("/".join((INPUT, *found)))


def _receive(
    incoming: Incoming,
    first: pb.PayloadsUploadRequest,
    requests: Iterator[pb.PayloadsUploadRequest],
) -> None:
    """Write every chunk; each repeats the payload and the name, or leaves them out."""
    name, payload = first.details.name, first.payload_id.value
    incoming.write(first.data)
    for request in requests:
        if request.details.name not in (name, "") or request.payload_id.value not in (payload, ""):
            raise invalid("an upload is one file of one payload; another came within its stream")
        incoming.write(request.data)


def _details(payload: Payload, file: File | None, *, whole: bool) -> pb.PayloadsDetailsResponse:
    """One message; only a ``whole`` one, the first, carries the metadata."""
    job: Job | None = payload.job
    return pb.PayloadsDetailsResponse(
        header=convert.ok(),
        payload_id=convert.identifier(payload.id),
        file=None if file is None else _file(file),
        type=pb.PAYLOAD_TYPE_REUSABLE if job is None else pb.PAYLOAD_TYPE_PIPELINE,
        job_id=None if job is None else convert.identifier(job.id),
        metadata=payload.metadata if whole else None,
    )


def _file(file: File) -> pb.PayloadFileDetails:
    # A name that an operator made of anything but UTF-8 is shown with marks in it.
    name = shown(file.parts).encode("utf-8", "replace").decode()
    return pb.PayloadFileDetails(mode=file.mode, size=file.size, name=name)
