"""The file meta information in front of each stored data set (PS3.10 7.1).

Private information (0002,0102) says what the data set cannot: how it arrived.  With it the index
can be built again from the files alone.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import BinaryIO

from gateway.errors import Permanent
from gateway.payloads.receiving import Arrival

IMPLEMENTATION_CLASS_UID = "2.25.229451600072090404564844894284998027172"
"""Our implementation class UID, from a UUID as PS3.5 B.2 allows."""
IMPLEMENTATION_VERSION_NAME = "GATEWAY_0_1"
PRIVATE_CREATOR_UID = IMPLEMENTATION_CLASS_UID
"""Private Information Creator UID (0002,0100): whose (0002,0102) it is."""

_JSON = json.JSONEncoder(separators=(",", ":"))
_PREAMBLE = 132
_MAX_META = 64 * 1024


class NotOurs(Permanent):
    """The file does not say how it arrived: this gateway did not write it."""


@dataclass(frozen=True)
class Origin:
    """How a stored data set arrived, as its file says."""

    arrival: Arrival
    received_at: float
    data_offset: int
    """Where the data set begins in the file."""


def file_meta(arrival: Arrival, received_at: float) -> bytes:
    """Preamble, prefix and group 0002 in explicit little endian; the data set follows."""
    how = {
        "called": arrival.called_ae,
        "calling": arrival.calling_ae,
        "host": arrival.host,
        "association": arrival.association_id,
        "received": round(received_at, 6),
    }
    elements = b"".join(
        (
            _long(0x0001, b"OB", b"\x00\x01"),
            _element(0x0002, b"UI", arrival.sop_class_uid),
            _element(0x0003, b"UI", arrival.sop_instance_uid),
            _element(0x0010, b"UI", arrival.transfer_syntax_uid),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _element(0x0016, b"AE", arrival.calling_ae),
            _element(0x0100, b"UI", PRIVATE_CREATOR_UID),
            _long(0x0102, b"OB", _JSON.encode(how).encode("ascii")),
        )
    )
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(elements))
    return bytes(128) + b"DICM" + length + elements


def read_origin(file: BinaryIO) -> Origin:
    """How the data set of an open spool file arrived; raises :class:`NotOurs`."""
    start = file.read(_PREAMBLE + 12)
    if len(start) < _PREAMBLE + 12 or start[128:132] != b"DICM":
        raise NotOurs("it does not begin as a DICOM file")
    (length,) = struct.unpack_from("<I", start, _PREAMBLE + 8)
    if length > _MAX_META:
        raise NotOurs("its file meta information is too long")
    values = _values(file.read(length))
    try:
        how = json.loads(values[0x0102].rstrip(b"\0"))
        arrival = Arrival(
            association_id=how["association"],
            called_ae=how["called"],
            calling_ae=how["calling"],
            host=how["host"],
            sop_class_uid=_text(values[0x0002]),
            sop_instance_uid=_text(values[0x0003]),
            transfer_syntax_uid=_text(values[0x0010]),
        )
        return Origin(arrival, float(how["received"]), _PREAMBLE + 12 + length)
    except (KeyError, ValueError, TypeError) as error:
        raise NotOurs("it does not say how it arrived") from error


def _values(group: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 8 <= len(group):
        _, number, vr, length = struct.unpack_from("<HH2sH", group, at)
        at += 8
        if vr == b"OB":
            (length,) = struct.unpack_from("<I", group.ljust(at + 4, b"\0"), at)
            at += 4
        found[number] = group[at : at + length]
        at += length
    return found


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").rstrip("\0 ")


def _element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def _long(number: int, vr: bytes, value: bytes) -> bytes:
    """An element with two reserved bytes and a 32-bit length."""
    return struct.pack("<HH2sHI", 0x0002, number, vr, 0, len(value) + len(value) % 2) + value.ljust(
        len(value) + len(value) % 2, b"\0"
    )
