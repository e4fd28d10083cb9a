"""Keeps registrations in the results file: appended, replaced whole, on disk when it returns."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from gateway.operators.sdk import InputRefusedError

VERSION: Final = 1
MOST_BYTES: Final = 64 * 1024 * 1024
MOST_REGISTRATIONS: Final = 1000


def append(path: Path, registration: dict[str, Any]) -> int:
    """Add a registration to the file (made if missing) and return how many it now holds.

    When this returns, the file is on disk. A crash leaves the old file or the new one.

    Raises:
        InputRefusedError: BAD_REGISTRATIONS, the file that is there is none of ours or too big.
    """
    registrations = _read(path)
    registrations.append(registration)
    content = json.dumps({"version": VERSION, "registrations": registrations}, indent=1).encode()
    if len(content) > MOST_BYTES or len(registrations) > MOST_REGISTRATIONS:
        raise InputRefusedError("BAD_REGISTRATIONS", "there would be too many registrations")
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, content)
    return len(registrations)


def _read(path: Path) -> list[Any]:
    if path.is_symlink():
        raise InputRefusedError("BAD_REGISTRATIONS", "the results file is a symbolic link")
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return []
    try:
        document = json.loads(content) if len(content) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        document = None
    known = document if isinstance(document, dict) else {}
    found = known.get("registrations")
    if not isinstance(found, list) or known.get("version") != VERSION:
        raise InputRefusedError(
            "BAD_REGISTRATIONS", "the results file holds something else than registrations"
        )
    return found


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file, flush, rename over it, flush the folder."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".registering-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        # After the rename there is nothing left under this name.
        Path(name).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
