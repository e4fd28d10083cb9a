"""Walk the elements of a little-endian data set up to its pixels, keeping only the wanted ones.

Encodings: explicit and implicit VR little endian, PS3.5 chapter 7. Whatever is not plain (big
endian, deflated, no preamble, odd structure) raises `NotPlainError` and is left to pydicom. The
walk never trusts a length beyond the bytes it was given.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from gateway.operators.dicom_reader import tags

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MAX_DEPTH = 16

_Element = Callable[[bytes, int], tuple[int, bytes, int, int]]

_short_element = struct.Struct("<HH2sH")
_plain_element = struct.Struct("<HHI")
_length = struct.Struct("<I")


class NotPlainError(Exception):
    """The bytes are not a plain little-endian DICOM file, or there are too few of them."""


@dataclass(slots=True)
class Walked:
    """What a walk found: wanted values as raw bytes, and where the pixels lie in the file.

    `pixel_length` is None for encapsulated (compressed) pixels; both are None without pixels.
    """

    transfer_syntax: str
    values: dict[int, bytes]
    pixel_offset: int | None = None
    pixel_length: int | None = None


def walk(data: bytes, size: int) -> Walked:
    """Walk a file of `size` bytes that begins with `data`.

    Raises:
        NotPlainError: see the module; also when `data` ends before the pixels do begin.
    """
    if data[128:132] != b"DICM":
        raise NotPlainError("no preamble")
    try:
        syntax, start = _meta(data)
        if syntax in (BIG_ENDIAN, DEFLATED):
            raise NotPlainError("not little endian")
        return _body(data, start, size, syntax)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise NotPlainError("the bytes end inside an element") from error


def _meta(data: bytes) -> tuple[str, int]:
    position, syntax = 132, ""
    while data[position : position + 2] == b"\x02\x00":
        tag, _, length, position = _explicit(data, position)
        if tag == tags.TRANSFER_SYNTAX_UID:
            syntax = data[position : position + length].decode("ascii").strip("\0 ")
        if tag == tags.MEDIA_STORAGE_SOP_CLASS_UID and _is_directory(data, position, length):
            raise NotPlainError("a directory")
        position += length
    if not syntax:
        raise NotPlainError("no transfer syntax")
    return syntax, position


def _is_directory(data: bytes, position: int, length: int) -> bool:
    return data[position : position + length].strip(b"\0 ") == b"1.2.840.10008.1.3.10"


def _body(data: bytes, position: int, size: int, syntax: str) -> Walked:
    explicit = syntax != IMPLICIT_LITTLE_ENDIAN
    element = _explicit if explicit else _implicit
    walked, end, wanted = Walked(syntax, {}), len(data), tags.WANTED
    while position < size:
        tag, vr, length, position = element(data, position)
        if tag == tags.PIXEL_DATA:
            walked.pixel_offset = position
            walked.pixel_length = None if length == UNDEFINED else length
            return walked
        if length == UNDEFINED:
            if explicit and vr == b"UN":
                raise NotPlainError("a sequence of unknown encoding")
            if tag in wanted:
                walked.values[tag] = b""
            position = _skip_sequence(data, position, element, _MAX_DEPTH)
            continue
        stop = position + length
        if stop > end:
            raise NotPlainError("more bytes needed")
        if tag in wanted:
            walked.values[tag] = data[position:stop]
        position = stop
    return walked


def _explicit(data: bytes, position: int) -> tuple[int, bytes, int, int]:
    group, number, vr, length = _short_element.unpack_from(data, position)
    if vr in _LONG_VRS:
        (length,) = _length.unpack_from(data, position + 8)
        return group << 16 | number, vr, length, position + 12
    if group != 0xFFFE and not vr.isalpha():
        raise NotPlainError("no value representation")
    if group == 0xFFFE:
        (length,) = _length.unpack_from(data, position + 4)
    return group << 16 | number, vr, length, position + 8


def _implicit(data: bytes, position: int) -> tuple[int, bytes, int, int]:
    group, number, length = _plain_element.unpack_from(data, position)
    return group << 16 | number, b"", length, position + 8


def _skip_sequence(data: bytes, position: int, element: _Element, depth: int) -> int:
    """Return the place behind a sequence of undefined length that begins at `position`."""
    if depth == 0:
        raise NotPlainError("nested too deep")
    while True:
        group, number, length = _plain_element.unpack_from(data, position)
        position += 8
        tag = group << 16 | number
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise NotPlainError("a sequence without items")
        if length == UNDEFINED:
            position = _skip_item(data, position, element, depth)
        else:
            position += length


def _skip_item(data: bytes, position: int, element: _Element, depth: int) -> int:
    while True:
        tag, vr, length, position = element(data, position)
        if tag == _ITEM_END:
            return position
        if length != UNDEFINED:
            position += length
        elif vr == b"UN":
            raise NotPlainError("a sequence of unknown encoding")
        else:
            position = _skip_sequence(data, position, element, depth - 1)
