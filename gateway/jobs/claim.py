"""Which attempt of a job may change the files of its payload: the newest that asked, for good.

A scheduler that hangs may go on long after another one began the next attempt.  So whoever lays out
inputs, or empties and makes output folders, asks here first, and changes them while it holds the
lock.  The number stands in the name of an empty folder, for files of a payload are shown to people.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import Transient

WAIT_SECONDS = 60.0
"""Longest wait for another attempt that is just changing the files."""
_PREFIX = ".attempt-"
_LOOK_SECONDS = 0.02


class SupersededError(Transient, OSError):
    """A later attempt has begun: the files are its own."""

    def __init__(self, newest: int) -> None:
        super().__init__(f"attempt {newest} of the job has begun")
        self.errno = errno.ESTALE
        self.strerror = str(self)


@contextlib.contextmanager
def claimed(folder: Path, attempt: int) -> Iterator[None]:
    """Hold the payload ``folder``, which is made if need be, for changes by ``attempt``.

    Raises :class:`SupersededError` when a later attempt held it before, OSError when the disk fails
    or another attempt holds it for longer than :data:`WAIT_SECONDS` (any thread).
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor)
        _take(folder, attempt)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                words = "another attempt holds the files of the job"
                raise TimeoutError(errno.ETIMEDOUT, words) from None
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _take(folder: Path, attempt: int) -> None:
    known = {
        int(path.name.removeprefix(_PREFIX)): path
        for path in folder.glob(f"{_PREFIX}*")
        if path.name.removeprefix(_PREFIX).isdecimal()
    }
    newest = max(known, default=0)
    if newest > attempt:
        raise SupersededError(newest)
    if newest < attempt:
        (folder / f"{_PREFIX}{attempt}").mkdir()
    for number, path in known.items():
        if number < attempt:
            path.rmdir()
