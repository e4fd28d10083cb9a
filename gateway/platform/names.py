"""Names of files in a payload: paths that can never lead out of it.

``/input/x.dcm``, ``./input/x.dcm`` and ``input//x.dcm`` name the same file.  Names keep their
case.
"""

from __future__ import annotations

import re

from gateway.platform.errors import invalid, limit

Parts = tuple[str, ...]
"""A name taken apart: one or more folder names and a file name, none of them ``..``."""

NAME_BYTES = 1024
PART_BYTES = 255
MOST_PARTS = 64

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def parts(name: str) -> Parts:
    """Take ``name`` apart; :class:`PlatformError` when it is no name of a file in a payload."""
    if len(name) > NAME_BYTES or len(name.encode()) > NAME_BYTES:
        raise limit(f"the file name {name[:40]!r}… has more than {NAME_BYTES} bytes")
    if _CONTROL.search(name):
        raise invalid(f"the file name {name!r} holds control characters")
    found = tuple(part for part in name.split("/") if part not in ("", "."))
    if not found:
        raise invalid(f"{name!r} names no file")
    if ".." in found:
        raise invalid(f"the file name {name!r} leads out of the payload: '..' is not allowed")
    if len(found) > MOST_PARTS:
        raise limit(f"the file name {name[:40]!r}… has more than {MOST_PARTS} parts")
    if any(len(part.encode()) > PART_BYTES for part in found):
        raise limit(f"a part of the file name {name[:40]!r}… has more than {PART_BYTES} bytes")
    return found


def shown(found: Parts) -> str:
    """The name as it is answered: from the payload's root, with ``/`` in front."""
    return "/" + "/".join(found)
