"""One process per role and data folder: two schedulers would run the same job twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.errors import Refused


class Lease:
    """A lock file that the kernel frees when its process ends, however it ends."""

    def __init__(self, data_dir: Path, role: str) -> None:
        self._path = data_dir / f"{role}.lock"
        self._role = role
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; :class:`Refused`, naming the holder's process, when it is taken."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise Refused(
                f"process {holder or 'of unknown id'} already has the role {self._role} on "
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
