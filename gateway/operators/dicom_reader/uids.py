"""Unique identifiers (PS3.5 chapter 9): which text is one, and what it is called.

A broken file may hold anything where a UID should be, so only what is one is ever shown.
"""

from __future__ import annotations

import re

from pydicom.uid import UID

_UID = re.compile(r"\d+(\.\d+)*")


def is_uid(text: str) -> bool:
    """Say whether a text is made as a UID; such a text is safe as a file name and in a log."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def uid_name(text: str) -> str:
    """Return the standard's name of a UID, the UID itself if it has none."""
    return UID(text).name if is_uid(text) else "something that is no UID"
