"""Spool files made from the log, and made again after a crash."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import xxhash

from gateway.payloads.folders import Folders, sync_folder
from gateway.payloads.intake.format import Record
from gateway.payloads.intake.segments import Segments

_BLOCK = 1024 * 1024
_THREADS = 2
_NICE = 5
_WORTH = 1024 * 1024
"""Bytes of files that are worth being made by several threads: the copying is the kernel's."""


class SpoolFiles:
    """Makes the files that records name; used by one thread at a time, closed in the end."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        # Strings: making paths costs more than making a file.
        self._root = f"{folders.root}/"
        self._known: set[str] = {str(folders.quarantine)}
        self._makers = ThreadPoolExecutor(
            _THREADS, thread_name_prefix="intake-files", initializer=yield_to_receivers
        )

    def close(self) -> None:
        """End the threads."""
        self._makers.shutdown()

    def make_all(self, records: Sequence[Record], segments: Segments) -> None:
        """:meth:`make` every one of ``records``, whose segments have been read from."""
        if len(records) < 2 or sum(record.file_length for record in records) < _WORTH:
            self._some(records, segments)
            return
        # The first of an hour's folder makes it, alone.
        self._some(records[:1], segments)
        parts = [records[at::_THREADS] for at in range(1, 1 + _THREADS)]
        made = [self._makers.submit(self._some, part, segments) for part in parts]
        wait(made)
        for part in made:
            part.result()

    def _some(self, records: Sequence[Record], segments: Segments) -> None:
        for record in records:
            self.make(record, segments)

    def make(self, record: Record, segments: Segments) -> None:
        """Make the file of ``record``; nothing when it is there whole.  Raises OSError."""
        target = self._root + record.meta["p"]
        folder = target.rpartition("/")[0]
        if folder not in self._known:
            self._parent(Path(folder))
        part = record.meta.get("f")
        if part is not None:
            self._rename(self._folders.incoming / str(part), Path(target))
            return
        descriptor = _create(target, record.file_length)
        if descriptor is None:
            return
        try:
            _copy(segments.descriptor(record.segment), record, descriptor)
        finally:
            os.close(descriptor)

    def mend(self, record: Record, segments: Segments) -> bool:
        """Make the file again unless its bytes are those of ``record``; True when it did."""
        target = self._folders.root / record.meta["p"]
        if record.meta.get("f") is not None:
            here = target.exists()
            self.make(record, segments)
            return not here
        if target.exists() and _digest(target, record.header.prefix_length) == record.header.digest:
            return False
        target.unlink(missing_ok=True)
        self.make(record, segments)
        return True

    def remove(self, record: Record) -> None:
        """Unlink the file of a record that the index does not keep."""
        (self._folders.root / record.meta["p"]).unlink(missing_ok=True)

    def _parent(self, folder: Path) -> None:
        """Make this hour's folder, durably, if it is the hour's first file."""
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(self._folders.spool)
            sync_folder(folder.parent)
        if len(self._known) > 64:
            self._known = {str(self._folders.quarantine)}
        self._known.add(str(folder))

    def _rename(self, part: Path, target: Path) -> None:
        try:
            part.rename(target)
        except FileNotFoundError:
            # Renamed before the crash that makes us do it again, or lost: the caller must know.
            if not target.exists():
                raise


def _create(target: str, length: int) -> int | None:
    """A descriptor of the new file, read-only for everybody after; None when it is there whole."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(target, flags, 0o400)
    except FileExistsError:
        there = Path(target)
        if there.stat().st_size == length:
            return None
        there.unlink()
        return os.open(target, flags, 0o400)


def _copy(segment: int, record: Record, target: int) -> None:
    # Reading and writing was measured a third faster than copy_file_range on ext4.
    data = os.pread(segment, record.file_length, record.file_offset)
    if len(data) != record.file_length:
        raise OSError("a segment of the log is cut off")
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def _digest(path: Path, skip: int) -> bytes:
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        file.seek(skip)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.digest()


def yield_to_receivers() -> None:
    """Let this thread go behind those that answer modalities, when the processor is short.

    What they write waits in the log; a thread of this priority still gets a quarter of a core.
    """
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def sync_everything(folder: Path) -> None:
    """Flush the file system that ``folder`` lies on; raises OSError (syncfs, Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
