"""The log of one operator: its standard output and error, as they came, up to a limit."""

from __future__ import annotations

import os
from pathlib import Path

MAX_BYTES = 64 << 20
"""Most bytes kept of one operator's log."""
_TAIL = 4096
_NOTICE = b"\n[the log ends here: the operator wrote more than %d bytes]\n"


class LogFile:
    """An open log; each write reaches the file at once, for those who follow it."""

    def __init__(self, path: Path, limit: int = MAX_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._limit = limit
        self._left = limit
        self._tail = b""

    @property
    def last_line(self) -> str:
        """The last line that is not empty."""
        lines = [line for line in self._tail.splitlines() if line.strip()]
        return lines[-1].decode(errors="replace").strip() if lines else ""

    def write(self, data: bytes) -> None:
        """Keep ``data`` as far as the limit and the disk allow."""
        self._tail = (self._tail + data)[-_TAIL:]
        if self._left <= 0:
            return
        kept = data[: self._left]
        self._left -= len(kept)
        self._put(kept)
        if self._left <= 0:
            self._put(_NOTICE % self._limit)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            # A full disk must not stop the reading: the operator would hang on its full pipe.
            self._left = 0
