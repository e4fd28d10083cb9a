"""Descriptors that carry data to another program."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable


def memory_file(stack: contextlib.ExitStack, data: bytes) -> int:
    """A descriptor to read ``data`` from; closed with ``stack``."""
    file = stack.enter_context(os.fdopen(os.memfd_create("gateway"), "w+b", 0))
    file.write(data)
    file.seek(0)
    return file.fileno()


def packed(words: Iterable[str]) -> bytes:
    """Words separated by NUL."""
    return b"\0".join(os.fsencode(word) for word in words)
