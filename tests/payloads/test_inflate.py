"""Deflated data sets are looked into without being inflated as a whole."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from gateway.payloads.head import Unusable, read_head
from gateway.payloads.inflate import MOST_INFLATED, beginning
from tests.support.dicom import encode, slice_
from tests.support.instances import file_meta


def meta(syntax: str) -> bytes:
    return file_meta("1.2", "1.2.3", syntax)


def deflated(data: bytes, more: int = 0) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = [packer.compress(data)]
    pieces += [packer.compress(bytes(1 << 20)) for _ in range(more >> 20)]
    return b"".join(pieces) + packer.flush()


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.4.95"])
def test_a_deflated_head_is_that_of_the_plain_one(tmp_path: Path, syntax: str) -> None:
    ds = slice_()
    path = tmp_path / "a.dcm"
    path.write_bytes(meta(syntax) + deflated(encode(ds)))
    found = read_head(path)
    assert found == read_head(io.BytesIO(meta(ExplicitVRLittleEndian) + encode(ds)))
    assert found.sop_instance_uid == ds.SOPInstanceUID
    assert found.geometry is not None


def test_a_bomb_is_inflated_in_part_only(tmp_path: Path) -> None:
    ds = slice_()
    ds.PixelData = b""
    path = tmp_path / "bomb.dcm"
    path.write_bytes(meta(DeflatedExplicitVRLittleEndian) + deflated(encode(ds), 128 << 20))
    tracemalloc.start()
    try:
        assert read_head(path).sop_instance_uid == ds.SOPInstanceUID
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST_INFLATED
    finally:
        tracemalloc.stop()


def test_what_is_not_deflated_is_read_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(meta(ExplicitVRLittleEndian) + encode(slice_()))
    with beginning(path) as file:
        assert not isinstance(file, io.BytesIO)
        assert pydicom.dcmread(file).Modality == "CT"


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"no deflate at all" * 9], ids=len)
def test_what_cannot_be_inflated_is_unusable(data: bytes) -> None:
    with pytest.raises(Unusable):
        read_head(io.BytesIO(meta(DeflatedExplicitVRLittleEndian) + data))


def test_a_sequence_that_never_ends_is_the_peers_fault_not_the_disks() -> None:
    data = encode(slice_(PixelData=None))
    item = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with pytest.raises(Unusable):
        read_head(io.BytesIO(meta(ExplicitVRLittleEndian) + item + data[:40]))
