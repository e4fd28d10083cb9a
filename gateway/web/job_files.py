"""The files of a job: its input and what its operators wrote, to browse and to download.

Operators write below that folder, so nothing in it is trusted: every step of a path is opened
from the folder before it and no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from gateway.errors import Transient
from gateway.events.times import rfc3339
from gateway.web.problems import NotFound

MOST_ENTRIES = 2000
"""Most entries of one folder that are listed."""
MOST_STEPS = 64
"""Deepest path."""
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES})
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class JobFiles:
    """The folder of one job's payload; it need not exist (any more)."""

    def __init__(self, data_dir: Path, payload_id: str) -> None:
        self._root = data_dir / "payloads" / payload_id

    def open(self, path: str) -> BinaryIO | dict[str, Any]:
        """The file at ``path``, open, or what the folder there holds.

        ``path`` has ``/`` between its steps; empty = the whole.  Raises :class:`NotFound` for what
        is not there, is no plain file or folder, or lies behind a link.
        """
        steps = path.split("/") if path else []
        if len(steps) > MOST_STEPS or any(step in {"", ".", ".."} for step in steps):
            raise _absent(path)
        try:
            with _opened(self._root, steps) as descriptor:
                kind = os.fstat(descriptor).st_mode
                if stat.S_ISDIR(kind):
                    return _listing(descriptor, path)
                if stat.S_ISREG(kind):
                    return os.fdopen(os.dup(descriptor), "rb")
        except OSError as error:
            if error.errno in _GONE and path:
                raise _absent(path) from error
            if error.errno in _GONE:
                # The job has not run yet, or its files were deleted.
                return {"path": "", "items": [], "truncated": False}
            reason = error.strerror or type(error).__name__
            raise Transient(f"The files cannot be read now: {reason}.") from error
        except ValueError as error:
            raise _absent(path) from error
        raise _absent(path)


@contextmanager
def _opened(root: Path, steps: list[str]) -> Iterator[int]:
    descriptor = os.open(root, _FLAGS | os.O_DIRECTORY)
    try:
        for step in steps:
            inner = os.open(step, _FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _listing(descriptor: int, path: str) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    truncated = False
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if len(items) == MOST_ENTRIES:
                truncated = True
                break
            with suppress(OSError):  # it went away meanwhile
                found = _entry(entry, path)
                if found is not None:
                    items.append(found)
    items.sort(key=lambda item: (item["kind"] != "folder", item["name"]))
    return {"path": path, "items": items, "truncated": truncated}


def _entry(entry: os.DirEntry[str], path: str) -> dict[str, Any] | None:
    status = entry.stat(follow_symlinks=False)
    folder = stat.S_ISDIR(status.st_mode)
    # A name that is no UTF-8 cannot stand in an address.
    if not (folder or stat.S_ISREG(status.st_mode)) or not entry.name.isprintable():
        return None
    return {
        "name": entry.name,
        "path": f"{path}/{entry.name}" if path else entry.name,
        "kind": "folder" if folder else "file",
        "size": None if folder else status.st_size,
        "modified_at": rfc3339(status.st_mtime),
    }


def _absent(path: str) -> NotFound:
    return NotFound(f"There is no file or folder {path[-200:]!r} of this job.")
