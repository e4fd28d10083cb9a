"""A small data set from untrusted bytes, as positions of values (PS3.5 7.1, 7.5).

For what a peer sends to a receiver: no object per element, limits on elements and depth, no
conversion, so nothing it holds can warn, recurse or fill the memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gateway.dicom.errors import NotDicom

MOST_ELEMENTS = 200_000
"""Most elements of one data set, nested ones among them."""

_HEAD = struct.Struct("<HHL")
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEPTH = 8


@dataclass(frozen=True)
class Flat:
    """A data set or item: where in ``data`` each value begins and ends, by tag."""

    data: bytes
    implicit: bool
    values: dict[int, tuple[int, int]]

    def raw(self, tag: int) -> bytes:
        """The bytes of a value, empty when absent."""
        start, stop = self.values.get(tag, (0, 0))
        return self.data[start:stop]

    def text(self, tag: int) -> str:
        """The ASCII text of a value without padding; raises NotDicom for other bytes."""
        try:
            return self.raw(tag).decode("ascii").strip(" \0")
        except UnicodeDecodeError as error:
            raise NotDicom("a value is no ASCII text") from error

    def items(self, tag: int) -> list[Flat]:
        """The items of a sequence, none when absent; raises NotDicom."""
        start, stop = self.values.get(tag, (0, 0))
        walk = _Walk(self.data, implicit=self.implicit)
        found, _ = walk.sequence(start, stop, 0)
        return [Flat(self.data, self.implicit, values) for values in found]


def flat(data: bytes, *, implicit: bool) -> Flat:
    """Walk a little-endian data set; raises NotDicom when it is none or exceeds the limits."""
    values, _ = _Walk(data, implicit=implicit).data_set(0, len(data), 0, delimited=False)
    return Flat(data, implicit, values)


class _Walk:
    """Counts what one data set holds while walking it."""

    def __init__(self, data: bytes, *, implicit: bool) -> None:
        self._data = data
        self._implicit = implicit
        self._left = MOST_ELEMENTS

    def data_set(
        self, at: int, end: int, depth: int, *, delimited: bool
    ) -> tuple[dict[int, tuple[int, int]], int]:
        """Values by tag, and the position after the data set."""
        if depth > _DEPTH:
            raise NotDicom("a data set is nested too deep")
        found: dict[int, tuple[int, int]] = {}
        while at < end:
            tag, length, value = self._head(at, end)
            if delimited and tag == _ITEM_END:
                return found, value
            if length == _UNDEFINED:
                _, at = self.sequence(value, end, depth + 1)
            else:
                at = _within(value + length, end)
            found[tag] = (value, at)
        if delimited:
            raise NotDicom("an item has no end")
        return found, at

    def sequence(
        self, at: int, end: int, depth: int
    ) -> tuple[list[dict[int, tuple[int, int]]], int]:
        """The items of a sequence, and the position after it."""
        items: list[dict[int, tuple[int, int]]] = []
        while at < end:
            tag, length, value = self._head(at, end)
            if tag == _SEQUENCE_END:
                return items, value
            if tag != _ITEM:
                raise NotDicom("a sequence holds something else than items")
            if length == _UNDEFINED:
                item, at = self.data_set(value, end, depth, delimited=True)
            else:
                at = _within(value + length, end)
                item, _ = self.data_set(value, at, depth, delimited=False)
            items.append(item)
        return items, at

    def _head(self, at: int, end: int) -> tuple[int, int, int]:
        """Tag and length of an element, and where its value begins."""
        self._left -= 1
        if self._left < 0:
            raise NotDicom(f"a data set has over {MOST_ELEMENTS} elements")
        _within(at + _HEAD.size, end)
        group, element, length = _HEAD.unpack_from(self._data, at)
        tag = group << 16 | element
        if self._implicit or group == 0xFFFE:
            return tag, length, at + 8
        vr = self._data[at + 4 : at + 6]
        if vr in _LONG:
            _within(at + 12, end)
            return tag, int.from_bytes(self._data[at + 8 : at + 12], "little"), at + 12
        if not (vr.isalpha() and vr.isupper()):
            raise NotDicom("an element has no value representation")
        return tag, length >> 16, at + 8


def _within(position: int, end: int) -> int:
    if position > end:
        raise NotDicom("a data set is cut off")
    return position
