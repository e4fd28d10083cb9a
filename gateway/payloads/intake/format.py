"""Records of the intake log, byte for byte.

A segment is a preallocated file of fixed size that is overwritten again and again.  A record
begins at a multiple of :data:`PAGE` and is padded to one, so that writing it never reads::

    header   magic, format, kind, sequence, lengths, digest of the data set, check
    meta     JSON: what the index needs
    prefix   preamble and file meta information, as the spool file begins
    data     the data set's bytes as sent

``check`` covers the header and ``meta`` and ``prefix``; the digest covers the data.  A record is
whole when both agree, and belongs to the log when its sequence is the next one: what a segment
held before it was recycled has lower ones.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import xxhash

from gateway.errors import Permanent

PAGE = 4096
"""Alignment of records in bytes: whole pages are overwritten without reading them first."""

_HEADER = struct.Struct("<4sHHQIIQ16s")
_CHECK = struct.Struct("<Q")
HEADER_SIZE = _HEADER.size + _CHECK.size
_MAGIC = b"GWLG"
_FORMAT = 1
# Made once: json.dumps() makes one per call when it is given separators.
_JSON = json.JSONEncoder(separators=(",", ":"))


class Kind(IntEnum):
    """What a record tells."""

    INSTANCE = 1
    """A data set to be indexed."""
    QUARANTINE = 2
    """A data set that cannot be indexed."""
    OPENED = 3
    """An association was accepted."""
    CLOSED = 4
    """An association ended."""
    REJECTED = 5
    """An association was refused."""
    IGNORED = 6
    """An instance was answered Success and not kept."""
    REFUSED = 7
    """An instance was answered with a failure and not kept."""


class Torn(Permanent):
    """The bytes are no whole record: overwritten, cut off, or never one."""


@dataclass(frozen=True)
class Header:
    """The fixed part of a record."""

    kind: Kind
    seq: int
    meta_length: int
    prefix_length: int
    data_length: int
    digest: bytes

    @property
    def length(self) -> int:
        """Bytes that the record takes in its segment, padding included."""
        used = HEADER_SIZE + self.meta_length + self.prefix_length + self.data_length
        return used + padding(used)


@dataclass(frozen=True)
class Record:
    """A whole record and where its bytes lie."""

    header: Header
    meta: dict[str, Any]
    segment: int
    offset: int
    """Of the header in its segment."""

    @property
    def seq(self) -> int:
        """Its place in the order of the log."""
        return self.header.seq

    @property
    def file_offset(self) -> int:
        """Where the bytes of its spool file begin in the segment."""
        return self.offset + HEADER_SIZE + self.header.meta_length

    @property
    def file_length(self) -> int:
        """Bytes of its spool file."""
        return self.header.prefix_length + self.header.data_length


def padding(length: int) -> int:
    """Bytes from ``length`` to the next page."""
    return -length % PAGE


def encode(
    kind: Kind, seq: int, meta: dict[str, Any], prefix: bytes, data_length: int, digest: bytes
) -> bytes:
    """Everything of a record before its data."""
    body = _JSON.encode(meta).encode("ascii")
    fixed = _HEADER.pack(
        _MAGIC, _FORMAT, kind, seq, len(body), len(prefix), data_length, digest.ljust(16, b"\0")
    )
    return fixed + _CHECK.pack(xxhash.xxh3_64_intdigest(fixed + body + prefix)) + body + prefix


def decode_header(page: bytes) -> Header:
    """The header at the start of ``page``; raises :class:`Torn`.  Its check is not verified."""
    if len(page) < HEADER_SIZE:
        raise Torn("cut off")
    magic, version, kind, seq, meta, prefix, data, digest = _HEADER.unpack_from(page)
    if magic != _MAGIC or version != _FORMAT or kind not in Kind.__members__.values():
        raise Torn("no record begins here")
    return Header(Kind(kind), seq, meta, prefix, data, digest)


def decode_meta(header: Header, head: bytes) -> dict[str, Any]:
    """The meta of a record from its bytes before the data; raises :class:`Torn`."""
    if len(head) < HEADER_SIZE + header.meta_length + header.prefix_length:
        raise Torn("cut off")
    (check,) = _CHECK.unpack_from(head, _HEADER.size)
    body = head[HEADER_SIZE : HEADER_SIZE + header.meta_length + header.prefix_length]
    if xxhash.xxh3_64_intdigest(head[: _HEADER.size] + body) != check:
        raise Torn("the check of the header does not agree")
    found = json.loads(body[: header.meta_length])
    if not isinstance(found, dict):  # pragma: no cover - we wrote it and the check agrees
        raise Torn("the meta is no object")
    return found
