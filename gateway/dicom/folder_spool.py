"""A spool that is a plain folder: what ``gateway retrieve --get`` writes."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from gateway.dicom.sop_classes import is_uid
from gateway.payloads.filemeta import file_meta
from gateway.payloads.receiving import Arrival, Incoming, Outcome, Status

_UNNAMED = Outcome(Status.CANNOT_UNDERSTAND, "no usable SOP Instance UID")


class FolderSpool:
    """Writes ``<SOP Instance UID>.dcm`` into a folder, each whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Create the folder; raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def open(self, arrival: Arrival) -> Incoming:
        """Begin an instance; never raises."""
        return _Writing(self.folder, arrival)


class _Writing:
    """One instance on its way; a fault is kept for the answer."""

    def __init__(self, folder: Path, arrival: Arrival) -> None:
        self._target = folder / f"{arrival.sop_instance_uid}.dcm"
        self._part = folder / f".{uuid.uuid4().hex}.part"
        self._fault: Outcome | None = None if is_uid(arrival.sop_instance_uid) else _UNNAMED
        self._fd = -1
        if self._fault is None:
            self._attempt(lambda: self._begin(file_meta(arrival, time.time())))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        if self._fault is None:
            self._attempt(lambda: self._all(data))

    def commit(self) -> Outcome:
        """Give the file its name."""
        if self._fault is None:
            self._attempt(self._finish)
        self.abort()
        return self._fault or Outcome(Status.SUCCESS)

    def abort(self) -> None:
        """Remove what is not finished."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._part.unlink(missing_ok=True)

    def _begin(self, meta: bytes) -> None:
        self._fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._all(meta)

    def _finish(self) -> None:
        self._part.rename(self._target)

    def _all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            self._fault = Outcome(Status.OUT_OF_RESOURCES, (error.strerror or "")[:64])
