from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gateway.dicom.errors import NotDicom
from gateway.dicom.files import find, read_instance, sop_uids
from tests.support.dicom import encode, slice_
from tests.support.instances import CT, explicit, file_meta, synthetic, write


def test_meta_information_and_data_set_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a", 5)
    instance = read_instance(path)
    assert instance.sop_instance_uid == "1.2.826.5"
    assert instance.transfer_syntax_uid == ExplicitVRLittleEndian
    data = path.read_bytes()[instance.offset :]
    assert data[:4] == b"\x08\x00\x16\x00"
    assert len(data) == instance.length


def test_a_wrong_group_length_and_long_meta_information_are_walked(tmp_path: Path) -> None:
    meta = bytearray(file_meta(CT, "1.2.3", ExplicitVRLittleEndian))
    struct.pack_into("<L", meta, 140, 7)
    meta += explicit(0x00020102, b"OB", bytes(70_000))
    path = tmp_path / "a"
    path.write_bytes(meta + synthetic(CT, "1.2.3"))
    assert read_instance(path).offset == len(meta)


def test_the_data_set_wins_over_its_meta_information(tmp_path: Path) -> None:
    path = write(tmp_path / "a", 1, data=synthetic(CT, "1.2.3.4"))
    assert read_instance(path).sop_instance_uid == "1.2.3.4"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("preamble", [b"", bytes(128) + b"DICM"])
def test_files_without_meta_information(tmp_path: Path, syntax: str, preamble: bytes) -> None:
    ds = slice_()
    path = tmp_path / "bare"
    path.write_bytes(preamble + encode(ds, syntax))
    instance = read_instance(path)
    assert instance.sop_instance_uid == ds.SOPInstanceUID
    assert instance.transfer_syntax_uid == syntax
    assert instance.offset == len(preamble)


def test_meta_information_without_preamble(tmp_path: Path) -> None:
    whole = write(tmp_path / "a").read_bytes()
    (tmp_path / "b").write_bytes(whole[132:])
    assert read_instance(tmp_path / "b").offset == read_instance(tmp_path / "a").offset - 132


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_uids_are_found_in_every_encoding(syntax: str) -> None:
    ds = slice_()
    if syntax == DeflatedExplicitVRLittleEndian:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = packer.compress(encode(ds)) + packer.flush()
    else:
        data = encode(ds, syntax)
    assert sop_uids(data, syntax) == (CT, ds.SOPInstanceUID)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"hello, world" * 100,
        bytes(1000),
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + b"\x02\x00",
        file_meta("", "", ""),
        file_meta("1.2.840.10008.1.3.10", "1.2", ExplicitVRLittleEndian),
        file_meta(CT, "../../etc", ExplicitVRLittleEndian) + explicit(0x00100010, b"PN", b"A  "),
        b"\x08\x00" + bytes(range(256)) * 4,
    ],
    ids=map(str, range(10)),
)
def test_what_is_no_instance_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(NotDicom):
        read_instance(path)


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/3", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(p.relative_to(tmp_path)) for p in find([tmp_path / "c", tmp_path])]
    assert found == ["c", "c", "a/3", "b/1", "b/2"]


@pytest.mark.data
def test_real_files_agree_with_pydicom(unpacked: Callable[[str], list[Path]]) -> None:
    read = 0
    for archive in ("odd-files/nifti-hard-a", "transfer-syntaxes/ct-one-slice-15-syntaxes"):
        for path in unpacked(archive):
            instance = read_instance(path)
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            assert instance.sop_instance_uid == ds.SOPInstanceUID
            assert instance.sop_class_uid == ds.SOPClassUID
            assert instance.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID
            read += 1
    assert read > 30


def test_what_no_parser_understands_is_no_instance(tmp_path: Path) -> None:
    # Found by fuzzing: a group length of a wrong size, and no transfer syntax.
    path = tmp_path / "odd.dcm"
    path.write_bytes(bytes(128) + b"DICM\x02\x00\x00\x00UL\x06\x00abcdef" + bytes(range(200)))
    with pytest.raises(NotDicom):
        read_instance(path)
