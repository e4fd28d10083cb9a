"""What is kept of an instance's header for rules: keyword → value, as JSON.

:func:`extract` is handed to the payload room by the composition root; it knows no database.  The
values have the CEL types of :mod:`gateway.routing.keywords`, and JSON keeps them apart: an int is
written without, a double with a decimal point.  Bytes are decoded here, not by pydicom, because
headers of strangers must neither raise nor warn: a value that is not what its VR says is absent.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pydicom
from pydicom.charset import decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue

from gateway.routing.keywords import DOUBLE_VR, INT_VR, VISIBLE_VR, is_list, keyword_for_tag

Value = int | float | str | list[int] | list[float] | list[str]

MAX_TEXT = 4096
"""Longest text that is kept, in characters; a longer one is absent."""
MAX_VALUES = 256
"""Most values of one element; an element with more is absent."""
MAX_TOTAL = 256 * 1024
"""Most characters of all values together; what comes later in tag order is absent."""

_PACKED = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_WHOLE_TEXT = frozenset({"LT", "ST", "UT", "UR"})
"""VRs in which a backslash is an ordinary character (PS3.5 6.2)."""
_OWN_CHARSET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs that Specific Character Set applies to (PS3.5 6.1.2.3)."""
_RESETS = {0x0D, 0x0A, 0x09, 0x0C, 0x5C}
"""Characters that end the effect of an ISO 2022 escape (PS3.5 6.1.2.5.3)."""


def extract(dataset: pydicom.Dataset) -> dict[str, Value]:
    """Map every keyword of ``dataset`` that a rule can see to its value.

    Sequences, bulk data, private and repeating elements, empty values and values over the limits
    above are left out.  Never raises for what an element holds; does not change ``dataset``.
    """
    found: dict[str, Value] = {}
    total = 0
    for tag in sorted(dataset.keys()):
        keyword = keyword_for_tag(tag)
        if not keyword:
            continue
        value = _value(dataset, tag)
        if value is None:
            continue
        total += len(value) if isinstance(value, str) else 16
        total += sum(len(v) for v in value if isinstance(v, str)) if isinstance(value, list) else 0
        if total > MAX_TOTAL:
            break
        found[keyword] = value
    return found


def _value(dataset: pydicom.Dataset, tag: int) -> Value | None:
    """The element's value in its CEL type, None when there is none to see."""
    element: Any = dataset.get_item(tag)
    if element is None:
        return None
    vr = element.VR
    if vr is None or vr == "UN":
        vr = dictionary_VR(tag)
    vr = "US" if vr == "US or SS" else vr
    if vr not in VISIBLE_VR:
        return None
    try:
        if isinstance(element, RawDataElement):
            values = list(_decoded(dataset, element, vr))
        else:
            values = list(_converted(getattr(element, "value", None), vr))
    except (ArithmeticError, LookupError, TypeError, UnicodeError, ValueError, struct.error):
        return None
    return _bounded(values, listed=is_list(tag))


def _bounded(values: list[Any], *, listed: bool) -> Value | None:
    if not values or len(values) > MAX_VALUES or all(v == "" for v in values):
        return None
    if any(isinstance(v, str) and len(v) > MAX_TEXT for v in values):
        return None
    if any(isinstance(v, float) and not math.isfinite(v) for v in values):
        return None
    if listed or len(values) > 1:
        return values
    value: Value = values[0]
    return value


def _converted(value: Any, vr: str) -> Iterator[int | float | str]:
    """Values of an element that pydicom, or its author, made already."""
    if value is None:
        return
    many = isinstance(value, MultiValue | list | tuple)
    for item in value if many else [value]:
        if vr in INT_VR:
            yield int(item)
        elif vr in DOUBLE_VR:
            yield float(item)
        elif vr == "AT":
            yield f"{int(item):08X}"
        else:
            yield _clean(str(item), vr)


def _decoded(
    dataset: pydicom.Dataset, element: RawDataElement, vr: str
) -> Iterator[int | float | str]:
    """Values of an element as it stands in the file (PS3.5 6.2, 7.3)."""
    raw = element.value or b""
    order = "<" if element.is_little_endian else ">"
    if vr in _PACKED:
        code = _PACKED[vr]
        count = len(raw) // struct.calcsize(code)
        yield from struct.unpack_from(f"{order}{min(count, MAX_VALUES + 1)}{code}", raw)
    elif vr == "AT":
        count = min(len(raw) // 4, MAX_VALUES + 1)
        numbers = struct.unpack_from(f"{order}{count * 2}H", raw)
        for group, number in zip(numbers[::2], numbers[1::2], strict=True):
            yield f"{group:04X}{number:04X}"
    elif vr in {"IS", "DS"}:
        for part in raw.decode("ascii").strip(" \0").split("\\"):
            if part.strip(" \0"):
                yield _integer(part.strip(" \0")) if vr == "IS" else float(part.strip(" \0"))
    else:
        text = _text(raw, dataset.original_character_set, vr)
        for part in [text] if vr in _WHOLE_TEXT else text.split("\\"):
            yield _clean(part, vr)


def _integer(text: str) -> int:
    """IS as it should be, and ``12.0`` as some senders write it."""
    number = float(text)
    if not number.is_integer():
        raise ValueError("no integer string")
    return int(text) if text.lstrip("+-").isdigit() else int(number)


def _text(raw: bytes, charset: str | Sequence[str], vr: str) -> str:
    if vr not in _OWN_CHARSET:
        return raw.decode("ascii", "replace")
    encodings = [charset] if isinstance(charset, str) else list(charset)
    if b"\x1b" not in raw or len(encodings) == 1:
        return raw.decode(encodings[0] if encodings else "iso8859", "replace")
    resets = _RESETS | {0x5E, 0x3D} if vr == "PN" else _RESETS
    return str(decode_bytes(raw, encodings, resets))


def _clean(text: str, vr: str) -> str:
    """Without padding (PS3.5 6.2): leading spaces count in the long texts only."""
    text = text.rstrip(" \0")
    return text if vr in _WHOLE_TEXT else text.lstrip(" ")
