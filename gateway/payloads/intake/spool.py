"""The spool that receivers write: instances from the wire into the log.

The way of one instance; ``commit`` returns after the last step::

    write   into a buffer that associations take turns with; what outgrows it goes on to
            incoming/<id>.part while it arrives
    commit  1. read the head; what has none is logged for the quarantine, answered C000H
            2. a large one: flush incoming/<id>.part and its name        (durability: power)
            3. append the record, with the data set or the part's name
            4. flush the log, together with whoever waits                 (durability: power)

Nothing here knows the database: a receiver process answers from the log alone.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import xxhash

from gateway.config.applications import Application
from gateway.config.live import CurrentConfig
from gateway.payloads.filemeta import file_meta
from gateway.payloads.folders import Folders, sync_folder
from gateway.payloads.head import Head, Unusable, agreeing, read_head
from gateway.payloads.intake.format import Kind
from gateway.payloads.intake.verdicts import Verdicts
from gateway.payloads.intake.writer import LogWriter, Unflushed
from gateway.payloads.lean import lean_head
from gateway.payloads.receiving import Arrival, Incoming, Outcome, Status
from gateway.payloads.space import Space

log = logging.getLogger(__name__)

INLINE = 1024 * 1024
"""Longest data set, in bytes, that is kept in memory and goes into the log itself."""
SUCCESS = Outcome(Status.SUCCESS)
# ENOSPC and EDQUOT are the peer's cue to try again later (A700H), not a broken instance.
_FULL = {errno.ENOSPC, errno.EDQUOT}


class LogSpool:
    """The spool of one receiver; many threads open instances at once."""

    def __init__(
        self,
        folders: Folders,
        writer: LogWriter,
        ae_config: CurrentConfig,
        space: Space,
        verdicts: Verdicts,
        *,
        power: bool,
    ) -> None:
        """``power``: large data sets are flushed before their record is written."""
        self.folders = folders
        self.writer = writer
        self.verdicts = verdicts
        self.power = power
        self._ae_config = ae_config
        self._space = space
        self._buffers: list[bytearray] = []
        self._lock = threading.Lock()

    def open(self, arrival: Arrival) -> Incoming:
        """Begin an instance: ignored, refused for want of room, or received."""
        application = self._ae_config.current.application(arrival.called_ae)
        if application is None:
            return _Answered(Outcome(Status.PROCESSING_FAILURE, "called AE title is gone"))
        if arrival.sop_class_uid in application.accept.ignore_sop_classes:
            return _Ignored(self, arrival)
        full = self._space.full()
        if full is not None:
            log.error(
                "instance refused, no room",
                extra={"why": full, "association_id": arrival.association_id},
            )
            self.note(Kind.REFUSED, arrival)
            return _Answered(Outcome(Status.OUT_OF_RESOURCES, full[:64]))
        return _Receiving(self, arrival, application)

    def note(self, kind: Kind, arrival: Arrival) -> None:
        """Log that an instance was not kept; never raises: the answer does not depend on it."""
        try:
            self.writer.append(kind, {"a": vars(arrival), "t": time.time()})
        except OSError as error:
            log.warning("a count is lost", extra={"error": str(error)})

    def take_buffer(self) -> bytearray:
        """A buffer of :data:`INLINE` bytes with any content."""
        with self._lock:
            return self._buffers.pop() if self._buffers else bytearray(INLINE)

    def give_back(self, buffer: bytearray) -> None:
        """Return a buffer for the next instance."""
        with self._lock:
            self._buffers.append(buffer)

    def finish(self, receiving: _Receiving) -> Outcome:
        """Log an instance that arrived whole; called by its own thread."""
        try:
            return self._finish(receiving)
        except OSError as error:
            log.exception("instance not stored", extra=_who(receiving.arrival))
            self._failed(receiving)
            status = Status.OUT_OF_RESOURCES if error.errno in _FULL else Status.PROCESSING_FAILURE
            return Outcome(status, (error.strerror or "storage fault")[:64])
        except Exception:
            # The boundary between one instance and the receiver: the peer gets a failure, the
            # association lives on, the log says why.
            log.exception("instance not stored", extra=_who(receiving.arrival))
            self._failed(receiving)
            return Outcome(Status.PROCESSING_FAILURE, "internal fault, see the gateway's log")

    def _failed(self, receiving: _Receiving) -> None:
        receiving.abort()
        self.note(Kind.REFUSED, receiving.arrival)

    def _finish(self, receiving: _Receiving) -> Outcome:
        meta = receiving.meta()
        try:
            head = agreeing(receiving.head(), receiving.arrival)
        except Unusable as fault:
            receiving.settle(sync=self.power)
            meta |= {"p": f"quarantine/{receiving.id}.dcm", "r": str(fault)}
            receiving.append(Kind.QUARANTINE, meta)
            return Outcome(Status.CANNOT_UNDERSTAND, str(fault)[:64])
        receiving.settle(sync=self.power)
        hour = time.strftime("%Y%m%d/%H", time.gmtime())
        meta |= {"p": f"spool/{hour}/{receiving.id}.dcm", "h": vars(head)}
        if receiving.application.duplicates != "reject":
            receiving.append(Kind.INSTANCE, meta)
            return SUCCESS
        # Whether it is a duplicate only the index knows: the answer waits for it.
        with self.verdicts.expected() as verdict:
            receiving.append(Kind.INSTANCE, meta | {"v": verdict.number})
            return verdict.wait()


def _who(arrival: Arrival) -> dict[str, str]:
    return {"association_id": arrival.association_id}


class _Receiving:
    """An instance on its way in: in a buffer, and beyond :data:`INLINE` in a file too."""

    def __init__(self, spool: LogSpool, arrival: Arrival, application: Application) -> None:
        self._spool = spool
        self.arrival = arrival
        self.application = application
        self.id = uuid.uuid4().hex
        self.size = 0
        self._began = time.time()
        self._prefix = file_meta(arrival, self._began)
        self._buffer: bytearray | None = spool.take_buffer()
        self._view = memoryview(self._buffer)
        self._kept = 0
        self._part: Path | None = None
        self._file: io.FileIO | None = None
        self._hash = xxhash.xxh3_128()
        self._fault: OSError | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes of the data set; a fault is kept for :meth:`commit`."""
        if self._fault is not None:
            return
        size = len(data)
        if self._file is None and self.size + size <= INLINE:
            self._view[self.size : self.size + size] = data
            self.size += size
            return
        try:
            self._spill(data)
        except OSError as error:
            self._fault = error
            return
        self.size += size

    def commit(self) -> Outcome:
        """Log it, as durable as promised."""
        try:
            return self._spool.finish(self)
        finally:
            self._release()

    def abort(self) -> None:
        """Forget it."""
        if self._file is not None:
            self._file.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)
        self._release()

    def meta(self) -> dict[str, Any]:
        """What the record says whatever became of it; raises the fault that a write met."""
        if self._fault is not None:
            raise self._fault
        meta: dict[str, Any] = {"a": vars(self.arrival), "t": time.time(), "n": self.size}
        if self._part is not None:
            meta |= {"f": self._part.name, "d": self._hash.hexdigest()}
        return meta

    def head(self) -> Head:
        """Parse what is in the buffer; a strange data set is left to the general parser."""
        found = lean_head(self._view[: self._in_buffer], self.arrival.transfer_syntax_uid)
        if found is not None:
            return found
        if self._part is not None:
            return read_head(self._part)
        return read_head(io.BytesIO(self._prefix + self._view[: self.size]))

    def settle(self, *, sync: bool) -> None:
        """Make a part and its name durable; nothing for what goes into the log."""
        if self._file is None:
            return
        if sync:
            os.fdatasync(self._file.fileno())
        self._file.close()
        if sync:
            sync_folder(self._spool.folders.incoming)

    def append(self, kind: Kind, meta: dict[str, Any]) -> None:
        """Write the record."""
        if self._part is not None:
            try:
                self._spool.writer.append(kind, meta)
            except Unflushed:
                # The record may be applied after all: then its part must be there.
                self._part = None
                raise
            return
        data = self._view[: self.size]
        digest = xxhash.xxh3_128_digest(data)
        self._spool.writer.append(kind, meta, self._prefix, data, digest)

    @property
    def _in_buffer(self) -> int:
        return self.size if self._part is None else self._kept

    def _spill(self, data: bytes | bytearray | memoryview) -> None:
        if self._file is None:
            path = self._spool.folders.incoming / f"{self._spool.writer.receiver}-{self.id}.part"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
            self._part, self._kept = path, self.size
            self._file = os.fdopen(descriptor, "wb", buffering=0)
            self._all(self._prefix)
            self._all(self._view[: self.size])
            self._hash.update(self._view[: self.size])
        self._all(data)
        self._hash.update(data)

    def _all(self, data: bytes | bytearray | memoryview) -> None:
        """Write the whole of ``data``: a raw write may take less."""
        file = self._file
        assert file is not None  # noqa: S101 - opened by _spill
        done = file.write(data)
        while done < len(data):
            done += file.write(memoryview(data)[done:])

    def _release(self) -> None:
        if self._buffer is not None:
            self._view.release()
            self._spool.give_back(self._buffer)
            self._buffer = None


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

    def __init__(self, spool: LogSpool, arrival: Arrival) -> None:
        super().__init__(SUCCESS)
        self._spool = spool
        self._arrival = arrival

    def commit(self) -> Outcome:
        """Count it, then answer Success."""
        self._spool.note(Kind.IGNORED, self._arrival)
        return self._outcome
