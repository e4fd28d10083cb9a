"""One process per role and data folder: two schedulers would run the same job twice."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.errors import Refused

LOOK_SECONDS = 0.2
"""How long a lock may be busy because somebody only looks at it."""


def holder(data_dir: Path, role: str) -> int | None:
    """Id of the process that has ``role`` on ``data_dir``; None when nobody has.

    0 when it is not known yet: the process has just taken the role.  Nothing is changed.
    """
    try:
        descriptor = os.open(_path(data_dir, role), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # The file alone says nothing: it stays when its process ends.  The lock does not.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def _path(data_dir: Path, role: str) -> Path:
    return data_dir / f"{role}.lock"


class Lease:
    """A lock file that the kernel frees when its process ends, however it ends."""

    def __init__(self, data_dir: Path, role: str) -> None:
        self._path = _path(data_dir, role)
        self._role = role
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; :class:`Refused`, naming the holder's process, when it is taken."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor)
        except BlockingIOError:
            taken_by = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise Refused(
                f"process {taken_by or 'of unknown id'} already has the role {self._role} on "
                f"{self._path.parent}; one data folder has one process of a role"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; nothing when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Acquire."""
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release."""
        self.release()


def _lock(descriptor: int) -> None:
    """Lock it; ``BlockingIOError`` when it stays busy for longer than a look takes."""
    deadline = time.monotonic() + LOOK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
