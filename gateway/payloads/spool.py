"""The spool: instances from the wire to durable, indexed files.

The way of one instance (each step survives a kill between it and the next)::

    open    incoming/<id>.part: file meta, then the data set's bytes as they arrive
    commit  1. fdatasync the bytes                       (durability: power)
            2. read the head; what has none goes to the quarantine, answered C000H
            3. rename into spool/<day>/<hour>/
            4. the indexer syncs that folder and commits the index record, many instances at once
            5. answer; a duplicate's file is unlinked after the answer is decided

A file without a record was never acknowledged; a record without a file cannot exist.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import pydicom.config

from gateway.config.applications import Application
from gateway.config.live import LiveAeConfig
from gateway.database.engine import disk_full
from gateway.database.schema import new_id
from gateway.events.faults import point
from gateway.payloads.filemeta import file_meta
from gateway.payloads.folders import Folders, sync_folder
from gateway.payloads.head import Head, Unusable, read_head
from gateway.payloads.indexer import Indexer
from gateway.payloads.receiving import Arrival, Incoming, Outcome, Status
from gateway.payloads.space import Space

log = logging.getLogger(__name__)

SUCCESS = Outcome(Status.SUCCESS)
# ENOSPC and EDQUOT are the peer's cue to try again later (A700H), not a broken instance.
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Received:
    """One instance that lies durably in the spool, on its way into the index."""

    arrival: Arrival
    head: Head
    path: str
    size: int
    digest: str
    received_at: float


class DiskSpool:
    """The spool on a local disk; many threads open instances at once."""

    def __init__(
        self,
        folders: Folders,
        indexer: Indexer,
        ae_config: LiveAeConfig,
        space: Space,
        durability: Literal["power", "process"],
    ) -> None:
        # Peers send what they send: a value out of its VR is kept and must not warn with its text.
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        self._folders = folders
        self._indexer = indexer
        self._ae_config = ae_config
        self._space = space
        self._power = durability == "power"

    def open(self, arrival: Arrival) -> Incoming:
        """Begin an instance: ignored, refused for want of room, or written to disk."""
        application = self._ae_config.current.application(arrival.called_ae)
        if application is None:
            return _Answered(Outcome(Status.PROCESSING_FAILURE, "called AE title is gone"))
        if arrival.sop_class_uid in application.accept.ignore_sop_classes:
            return _Ignored(self._indexer, arrival)
        full = self._space.full()
        if full is not None:
            return self._no_room(arrival, full)
        try:
            return _Writing(self, arrival, application)
        except OSError as error:
            return self._no_room(arrival, error.strerror or "")

    def _no_room(self, arrival: Arrival, why: str) -> Incoming:
        log.error(
            "instance refused, no room",
            extra={"why": why, "association_id": arrival.association_id},
        )
        self._indexer.refused(arrival)
        return _Answered(Outcome(Status.OUT_OF_RESOURCES, why[:64]))

    def finish(self, writing: _Writing) -> Outcome:
        """Make a written instance durable and indexed; called by its own thread."""
        try:
            return self._finish(writing)
        except OSError as error:
            writing.abort()
            self._indexer.refused(writing.arrival)
            log.exception(
                "instance not stored", extra={"association_id": writing.arrival.association_id}
            )
            status = Status.OUT_OF_RESOURCES if error.errno in _FULL else Status.PROCESSING_FAILURE
            return Outcome(status, (error.strerror or "storage fault")[:64])
        except Exception as error:
            # The boundary between one instance and the receiver: the peer gets a failure, the
            # association lives on, the log says why.
            writing.abort()
            self._indexer.refused(writing.arrival)
            log.exception(
                "instance not stored", extra={"association_id": writing.arrival.association_id}
            )
            if disk_full(error):
                return Outcome(Status.OUT_OF_RESOURCES, "no space left for the record")
            return Outcome(Status.PROCESSING_FAILURE, "internal fault, see the gateway's log")

    def _finish(self, writing: _Writing) -> Outcome:
        point("instance.durable.before")
        writing.settle(sync=self._power)
        point("instance.durable.after")
        try:
            head = _agreeing(read_head(writing.path), writing.arrival)
        except Unusable as fault:
            return self._quarantine(writing, str(fault))
        target = self._target(writing.id)
        writing.path.rename(target)
        writing.path = target
        received = Received(
            arrival=writing.arrival,
            head=head,
            path=str(target.relative_to(self._folders.root)),
            size=writing.size,
            digest=writing.digest.hexdigest(),
            received_at=time.time(),
        )
        verdict = self._indexer.index(received, writing.application, sync=self._power)
        if not verdict.kept:
            target.unlink(missing_ok=True)
        return verdict.outcome

    def _target(self, name: str) -> Path:
        """Path in this hour's folder, made (durably) if it is the hour's first."""
        folder = self._folders.spool / time.strftime("%Y%m%d/%H", time.gmtime())
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(self._folders.spool)
            sync_folder(folder.parent)
        return folder / f"{name}.dcm"

    def _quarantine(self, writing: _Writing, reason: str) -> Outcome:
        target = self._folders.quarantine / f"{writing.id}.dcm"
        writing.path.rename(target)
        writing.path = target
        sync_folder(self._folders.quarantine)
        path = str(target.relative_to(self._folders.root))
        self._indexer.quarantine(writing.arrival, writing.id, path, writing.size, reason)
        log.warning(
            "data set quarantined",
            extra={"reason": reason, "association_id": writing.arrival.association_id},
        )
        return Outcome(Status.CANNOT_UNDERSTAND, reason[:64])


def _agreeing(head: Head, arrival: Arrival) -> Head:
    """Refuse a data set that is not the instance its command announced (PS3.7 9.3.1.1)."""
    if head.sop_instance_uid != arrival.sop_instance_uid:
        raise Unusable("SOPInstanceUID differs between command and data set")
    if head.sop_class_uid != arrival.sop_class_uid:
        raise Unusable("SOPClassUID differs between command and data set")
    return head


class _Writing:
    """An instance whose bytes go to disk as they arrive."""

    def __init__(self, spool: DiskSpool, arrival: Arrival, application: Application) -> None:
        self._spool = spool
        self.arrival = arrival
        self.application = application
        self.id = new_id()
        self.path = spool._folders.incoming / f"{self.id}.part"  # noqa: SLF001 - same module
        self.size = 0
        self.digest = hashlib.sha256()
        self._fault: OSError | None = None
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)
        try:
            self._all(file_meta(arrival))
        except OSError:
            self.abort()
            raise

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes of the data set; a fault is kept for :meth:`commit`."""
        if self._fault is not None:
            return
        try:
            self._all(data)
        except OSError as error:
            self._fault = error
            return
        self.digest.update(data)
        self.size += len(data)

    def commit(self) -> Outcome:
        """Make it durable and indexed."""
        return self._spool.finish(self)

    def abort(self) -> None:
        """Forget it."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def settle(self, *, sync: bool) -> None:
        """Raise the fault that a write met, sync the bytes, close the file."""
        if self._fault is not None:
            raise self._fault
        if sync:
            os.fdatasync(self._file.fileno())
        self._file.close()

    def _all(self, data: bytes | bytearray | memoryview) -> None:
        """Write the whole of ``data``: a raw write may take less."""
        done = self._file.write(data)
        while done < len(data):
            done += self._file.write(memoryview(data)[done:])


class _Answered:
    """An instance whose answer is known before its first byte; the bytes are dropped."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop the bytes."""

    def commit(self) -> Outcome:
        """Give the answer."""
        return self._outcome

    def abort(self) -> None:
        """Nothing to forget."""


class _Ignored(_Answered):
    """An instance of an ignored SOP class: Success, not kept, counted."""

    def __init__(self, indexer: Indexer, arrival: Arrival) -> None:
        super().__init__(SUCCESS)
        self._indexer = indexer
        self._arrival = arrival

    def commit(self) -> Outcome:
        """Count it, then answer Success."""
        self._indexer.ignored(self._arrival)
        return self._outcome
