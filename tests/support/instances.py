"""DICOM files for tests, in any transfer syntax, without needing codecs."""

from __future__ import annotations

import struct
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"


def file_meta(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    """A preamble and file meta information."""

    def ui(element: int, value: str) -> bytes:
        raw = value.encode() + b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", 2, element, b"UI", len(raw)) + raw

    body = struct.pack("<HH2s2xL2s", 2, 1, b"OB", 2, b"\0\1")
    body += ui(2, sop_class) + ui(3, sop_instance) + ui(0x10, syntax) + ui(0x12, "1.2.3")
    return bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


def explicit(tag: int, vr: bytes, value: bytes) -> bytes:
    """One element in Explicit VR Little Endian."""
    group, element = tag >> 16, tag & 0xFFFF
    if vr in (b"OB", b"OW", b"UN", b"SQ"):
        return struct.pack("<HH2s2xL", group, element, vr, len(value)) + value
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def synthetic(
    sop_class: str, sop_instance: str, payload: bytes = b"", *, encapsulated: bool = False
) -> bytes:
    """A data set that holds UIDs and ``payload`` as pixel data, plain or in one fragment."""

    def padded(value: str) -> bytes:
        return value.encode() + b"\0" * (len(value) % 2)

    body = explicit(0x00080016, b"UI", padded(sop_class))
    body += explicit(0x00080018, b"UI", padded(sop_instance))
    if not encapsulated:
        return body + explicit(0x7FE00010, b"OB", payload)
    pixels = struct.pack("<HH2s2xL", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF)
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    items += struct.pack("<HHL", 0xFFFE, 0xE000, len(payload)) + payload
    return body + pixels + items + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def write(
    path: Path,
    number: int = 1,
    *,
    sop_class: str = CT,
    syntax: str = ExplicitVRLittleEndian,
    size: int = 200,
    data: bytes | None = None,
) -> Path:
    """Write one instance ``1.2.826.<number>``; returns its path."""
    uid = f"1.2.826.{number}"
    if data is None:
        if syntax == ImplicitVRLittleEndian:
            raise ValueError("give the data of an implicit data set")
        payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
        encapsulated = syntax != ExplicitVRLittleEndian
        data = synthetic(sop_class, uid, payload, encapsulated=encapsulated)
    path.write_bytes(file_meta(sop_class, uid, syntax) + data)
    return path
