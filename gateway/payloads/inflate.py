"""Deflated data sets (PS3.5 A.5), opened without inflating more than a header can need.

A parser inflates the whole data set before it looks at it: a megabyte from a hostile peer can
hold a gigabyte of zeros.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

MOST_INFLATED = 16 << 20
"""Bytes of a data set that are inflated; what lies before the pixel data is far below."""

_DEFLATED = {b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.95"}
_LONG_VRS = {b"OB", b"OW", b"UN", b"UT", b"UC", b"UR"}
_EXPLICIT = b"1.2.840.10008.1.2.1\0"
_PREAMBLE = 132
_ELEMENT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2sxxL")
_MOST_META = 1 << 16
_BLOCK = 1 << 16


@contextmanager
def beginning(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    """A stored file as a parser may read it up to the pixel data.

    The file itself, or, if its data set is deflated, a copy in memory of its first
    ``MOST_INFLATED`` bytes, inflated.  Raises OSError, and zlib.error for what is not deflated.
    """
    if not isinstance(source, Path):
        yield _opened(source)
        return
    with source.open("rb") as file:
        yield _opened(file)


def _opened(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    head = file.read(_MOST_META)
    file.seek(0)
    found = _syntax(head)
    if found is None or found[0] not in _DEFLATED:
        return file
    file.seek(found[1])
    meta = _ELEMENT.pack(0x0002, 0x0010, b"UI", len(_EXPLICIT)) + _EXPLICIT
    length = _ELEMENT.pack(0x0002, 0x0000, b"UL", 4) + struct.pack("<L", len(meta))
    return io.BytesIO(bytes(128) + b"DICM" + length + meta + _inflated(file))


def _syntax(head: bytes) -> tuple[bytes, int] | None:
    """The transfer syntax and where the data set begins; None when that is not clear."""
    at, syntax = _PREAMBLE, b""
    while len(head) - at >= _LONG.size:
        group, element, vr, length = _ELEMENT.unpack_from(head, at)
        if group != 0x0002:
            return syntax, at
        at += _ELEMENT.size
        if vr in _LONG_VRS:
            length = _LONG.unpack_from(head, at - _ELEMENT.size)[3]
            at += 4
        if element == 0x0010:
            syntax = head[at : at + length].strip(b" \0")
        at += length
    return None


def _inflated(file: BinaryIO) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    whole = bytearray()
    while len(whole) < MOST_INFLATED and not inflater.eof:
        block = inflater.unconsumed_tail or file.read(_BLOCK)
        if not block:
            break
        whole += inflater.decompress(block, MOST_INFLATED - len(whole))
    return bytes(whole)
