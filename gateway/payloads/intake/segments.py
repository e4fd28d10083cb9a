"""The files of one receiver's log: allocated once, written full once, then overwritten.

``data-dir/log/<receiver>/<n>.seg``.  Overwriting blocks that were written before changes no
metadata, so ``fdatasync`` has nothing to flush but the bytes themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

from gateway.payloads.folders import sync_folder

SEGMENT = 32 * 1024 * 1024
"""Bytes of a segment."""
MAX_SEGMENTS = 16
"""Segments of one receiver at most: what may wait to be made into files."""
_ZEROS = bytes(1024 * 1024)


class Segments:
    """Opens and allocates segments below one folder; not for several threads at once."""

    def __init__(self, folder: Path, size: int = SEGMENT) -> None:
        """Make ``folder`` if it is not there."""
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=0o700)
            sync_folder(folder.parent)
            sync_folder(folder.parent.parent)
        self.folder = folder
        self.size = size
        self._open: dict[int, int] = {}

    def numbers(self) -> list[int]:
        """The segments that are there, of whatever size."""
        return sorted(int(p.stem) for p in self.folder.glob("*.seg") if p.stem.isdigit())

    def length(self, number: int) -> int:
        """Bytes of segment ``number``."""
        return os.fstat(self.descriptor(number)).st_size

    def drop_others(self) -> None:
        """Remove segments of another size: an older release made them, all in them is applied."""
        for number in self.numbers():
            if self.length(number) != self.size:
                os.close(self._open.pop(number))
                self._path(number).unlink()

    def descriptor(self, number: int) -> int:
        """An open descriptor of segment ``number``, for reading and writing."""
        if number not in self._open:
            self._open[number] = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC)
        return self._open[number]

    def allocate(self, number: int) -> None:
        """Make segment ``number``: every block written, name and length durable."""
        path = self._path(number)
        temporary = path.with_suffix(".new")
        try:
            self._fill(temporary)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        temporary.rename(path)
        sync_folder(self.folder)

    def _fill(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            left = self.size
            while left:
                left -= os.write(descriptor, _ZEROS[: min(left, len(_ZEROS))])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync(self) -> None:
        """Flush every segment: what a killed writer left in the page cache becomes durable."""
        for number in self.numbers():
            os.fdatasync(self.descriptor(number))

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:03}.seg"
