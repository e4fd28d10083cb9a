"""The head of a usual data set, read from memory in some tens of microseconds.

:func:`lean_head` takes only what is beyond doubt: ascending tags, known VRs, plain ASCII values,
well-formed numbers.  At the first oddity it gives up, and the general parser
(:mod:`gateway.payloads.head`) decides.  Where both read a data set, they agree: a property test
holds them together.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from gateway.payloads.head import Head

_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.8.1"}

_WANTED: dict[int, bytes] = {
    0x00080016: b"UI",
    0x00080018: b"UI",
    0x00080050: b"SH",
    0x00100020: b"LO",
    0x00100021: b"LO",
    0x00180050: b"DS",
    0x00180088: b"DS",
    0x0020000D: b"UI",
    0x0020000E: b"UI",
    0x00200013: b"IS",
    0x00200032: b"DS",
    0x00200037: b"DS",
    0x00201204: b"IS",
    0x00201208: b"IS",
    0x00201209: b"IS",
    0x00280030: b"DS",
}
_LAST = 0x00280030
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_LAST_PIXELS = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_DEPTH = 16

_UID = re.compile(rb"[0-9.]{1,64}\0?")
_TEXT = re.compile(rb"[\x20-\x5b\x5d-\x7e]*")
_DS = re.compile(rb" *[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,2})? *")
_IS = re.compile(rb" *[-+]?[0-9]{1,9} *")
_MAX_TEXT = 1024
_MAX_NUMBER = 1e12


class _Odd(Exception):  # noqa: N818 - caught here: a way out of the walk, not a fault
    """Not beyond doubt: the general parser decides."""


def lean_head(data: memoryview, transfer_syntax: str) -> Head | None:
    """The head of the data set that begins with ``data``; None when it is not beyond doubt."""
    if transfer_syntax in _DEFLATED:
        return None
    form = _FORMS[">" if transfer_syntax == _BIG_ENDIAN else "<"]
    try:
        return _head(_values(data, form, implicit=transfer_syntax == _IMPLICIT))
    except (_Odd, struct.error, ValueError):
        return None


def _values(  # noqa: C901 - one flat loop: calls would double its cost
    data: memoryview, form: _Form, *, implicit: bool
) -> dict[int, bytes]:
    """Raw values of the wanted tags that are there.

    One flat loop, since this is most of what an instance costs the processor.  It goes on to the
    pixel data only to see that the tags still ascend, as far as the buffer reaches.
    """
    header, long, item = form.header.unpack_from, form.long.unpack_from, form.item.unpack_from
    wanted, short, size = _WANTED, _SHORT, len(data)
    found: dict[int, bytes] = {}
    at, last, vr = 0, 0x0007FFFF, b""
    while at < size:
        if last > _LAST and at + 12 > size:
            return found
        if implicit:
            group, element, length = item(data, at)
        else:
            group, element, vr, length = header(data, at)
        tag = group << 16 | element
        if tag <= last or tag > _LAST_PIXELS:
            raise _Odd
        last = tag
        at += 8
        if vr and vr not in short:
            if vr not in _LONG:
                raise _Odd
            (length,) = long(data, at)
            at += 4
        if tag > _LAST:
            if length == _UNDEFINED or tag in _PIXELS:
                return found
        elif length == _UNDEFINED:
            at = _Sequences(data, form, implicit=implicit).end_of(tag, vr, at)
            continue
        elif length & 1 or at + length > size:
            raise _Odd
        if tag in wanted:
            if vr and vr != wanted[tag]:
                raise _Odd
            found[tag] = bytes(data[at : at + length])
        at += length
    return found


class _Form:
    """How elements are laid out in one byte order."""

    def __init__(self, order: str) -> None:
        self.tag = struct.Struct(f"{order}HH")
        self.header = struct.Struct(f"{order}HH2sH")
        self.item = struct.Struct(f"{order}HHL")
        self.long = struct.Struct(f"{order}L")


_FORMS = {order: _Form(order) for order in "<>"}


class _Sequences:
    """Moves behind sequences of undefined length."""

    def __init__(self, data: memoryview, form: _Form, *, implicit: bool) -> None:
        self._data = data
        self._form = form
        self._implicit = implicit
        self._at = 0

    def end_of(self, tag: int, vr: bytes, at: int) -> int:
        """Where the sequence ends whose first item is at ``at``."""
        self._at = at
        self._skip_sequence(tag, vr, 0)
        return self._at

    def _header(self) -> tuple[int, bytes, int]:
        """Tag, VR (empty when implicit) and length; moves behind them."""
        if self._implicit:
            group, element, length = self._form.item.unpack_from(self._data, self._at)
            self._at += 8
            return group << 16 | element, b"", length
        group, element, vr, length = self._form.header.unpack_from(self._data, self._at)
        self._at += 8
        if vr in _LONG:
            (length,) = self._form.long.unpack_from(self._data, self._at)
            self._at += 4
        elif vr not in _SHORT:
            raise _Odd
        return group << 16 | element, vr, length

    def _skip_sequence(self, tag: int, vr: bytes, depth: int) -> None:
        """Move behind a sequence of undefined length."""
        if tag in _WANTED or vr not in (b"SQ", b"") or depth > _DEPTH:
            raise _Odd
        while True:
            item, length = self._item()
            if item == _SEQUENCE_END:
                if length:
                    raise _Odd
                return
            if item != _ITEM:
                raise _Odd
            if length == _UNDEFINED:
                self._skip_item(depth)
            else:
                self._move(length)

    def _skip_item(self, depth: int) -> None:
        while True:
            group, element = self._form.tag.unpack_from(self._data, self._at)
            if group << 16 | element == _ITEM_END:
                _, length = self._item()
                if length:
                    raise _Odd
                return
            tag, vr, length = self._header()
            if length == _UNDEFINED:
                self._skip_nested(tag, vr, depth)
            else:
                self._move(length)

    def _skip_nested(self, tag: int, vr: bytes, depth: int) -> None:
        if vr not in (b"SQ", b"") or depth > _DEPTH:
            raise _Odd
        self._skip_sequence(0 if tag in _WANTED else tag, vr, depth + 1)

    def _item(self) -> tuple[int, int]:
        group, element, length = self._form.item.unpack_from(self._data, self._at)
        self._at += 8
        return group << 16 | element, length

    def _move(self, length: int) -> None:
        self._at += length
        if self._at > len(self._data):
            raise _Odd


def _head(values: dict[int, bytes]) -> Head:
    number = _numbers(values, 0x00200013, 1, _IS)
    thickness = _numbers(values, 0x00180050, 1, _DS)
    between = _numbers(values, 0x00180088, 1, _DS)
    geometry: dict[str, Any] = {
        "position": _numbers(values, 0x00200032, 3, _DS),
        "orientation": _numbers(values, 0x00200037, 6, _DS),
        "spacing": _numbers(values, 0x00280030, 2, _DS),
        "number": int(number[0]) if number else None,
        "thickness": thickness[0] if thickness else None,
        "spacing_between_slices": between[0] if between else None,
    }
    geometry = {key: value for key, value in geometry.items() if value is not None}
    return Head(
        sop_class_uid=_uid(values, 0x00080016),
        sop_instance_uid=_uid(values, 0x00080018),
        study_instance_uid=_uid(values, 0x0020000D),
        series_instance_uid=_uid(values, 0x0020000E),
        patient_id=_text(values, 0x00100020),
        issuer_of_patient_id=_text(values, 0x00100021),
        accession_number=_text(values, 0x00080050),
        geometry=geometry or None,
        related=_related(values),
    )


def _uid(values: dict[int, bytes], tag: int) -> str:
    value = values.get(tag, b"")
    if not _UID.fullmatch(value):
        raise _Odd
    return value.rstrip(b"\0").decode("ascii")


def _text(values: dict[int, bytes], tag: int) -> str:
    value = values.get(tag, b"")
    if not _TEXT.fullmatch(value) or len(value) > _MAX_TEXT:
        raise _Odd
    return value.decode("ascii").strip(" ")


def _related(values: dict[int, bytes]) -> dict[str, int]:
    found = {}
    for level, tag in (("patient", 0x00201204), ("study", 0x00201208), ("series", 0x00201209)):
        count = _numbers(values, tag, 1, _IS)
        if count and count[0] > 0:
            found[level] = int(count[0])
    return found


def _numbers(
    values: dict[int, bytes], tag: int, count: int, form: re.Pattern[bytes]
) -> list[float] | None:
    """Exactly ``count`` numbers, or None when absent, empty or another count."""
    value = values.get(tag, b"")
    if not value.strip(b" "):
        if value:
            raise _Odd
        return None
    parts = value.split(b"\\")
    if not all(form.fullmatch(part) for part in parts):
        raise _Odd
    if len(parts) != count:
        return None
    numbers = [float(part) for part in parts]
    return numbers if all(abs(n) < _MAX_NUMBER for n in numbers) else None
