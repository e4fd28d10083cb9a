"""Names and texts from outside made fit for folders, files and records."""

from __future__ import annotations

import hashlib
import re

from sqlalchemy.exc import SQLAlchemyError

LIMIT = 80
"""Longest name made here, in bytes: far below the 255 of the usual file systems."""

TEXT_LIMIT = 4096
"""Longest text that is kept of a reason, in characters."""

_MARK = 10
# What a terminal or PostgreSQL would choke on; tab and line feed stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


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


def clean_text(text: str) -> str:
    """``text`` as any database takes it: no control characters, no lone surrogates, not endless."""
    whole = text.encode("utf-8", "replace").decode()
    return _CONTROL.sub("", whole)[:TEXT_LIMIT]


def first_line(error: Exception) -> str:
    """An error in one line, without what a database error quotes of the records."""
    if isinstance(error, SQLAlchemyError):
        return f"the database failed ({type(error).__name__})"
    return str(error).split("\n", 1)[0]
