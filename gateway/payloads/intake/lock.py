"""One writer per log: a lock that the kernel frees however its holder ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

LOCK = "writer.lock"
"""File in a log's folder that its writer holds locked."""


def lock_writer(folder: Path) -> int:
    """Take the writer's lock of a log; a descriptor to keep open.  Raises BlockingIOError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(folder / LOCK, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
