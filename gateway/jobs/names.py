"""Names from outside made fit for folders and files."""

from __future__ import annotations

import hashlib
import re

LIMIT = 80
"""Longest name made here, in bytes: far below the 255 of the usual file systems."""

_MARK = 10


def safe_name(text: str, *, empty: str = "unknown") -> str:
    """``text`` as one path component: ASCII letters, digits, ``.``, ``_``, ``-``; never hidden.

    A text that had to be changed ends with a mark of its digest, so that two texts never share a
    name; the same text always gives the same name.  ``empty`` stands for an empty one.
    """
    if not text:
        return empty
    name = re.sub(r"[^A-Za-z0-9._-]", "_", text)
    name = re.sub(r"^[.-]", "_", name)
    if name == text and len(name) <= LIMIT and name != empty:
        return name
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_MARK]
    return f"{name[: LIMIT - _MARK - 1]}-{mark}"
