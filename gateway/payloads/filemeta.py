"""The file meta information in front of each stored data set (PS3.10 7.1)."""

from __future__ import annotations

import struct

from gateway.payloads.receiving import Arrival

IMPLEMENTATION_CLASS_UID = "2.25.229451600072090404564844894284998027172"
"""Our implementation class UID, from a UUID as PS3.5 B.2 allows."""
IMPLEMENTATION_VERSION_NAME = "GATEWAY_0_1"


def file_meta(arrival: Arrival) -> bytes:
    """Preamble, prefix and group 0002 in explicit little endian; the data set follows."""
    elements = b"".join(
        (
            # OB: two reserved bytes, 32-bit length.
            struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
            _element(0x0002, b"UI", arrival.sop_class_uid),
            _element(0x0003, b"UI", arrival.sop_instance_uid),
            _element(0x0010, b"UI", arrival.transfer_syntax_uid),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _element(0x0016, b"AE", arrival.calling_ae),
        )
    )
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(elements))
    return bytes(128) + b"DICM" + length + elements


def _element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value
