"""What is kept of a header, and in which type."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.routing.attributes import MAX_TEXT, MAX_TOTAL, MAX_VALUES, extract
from tests.support.dicom import encode

EXPECTED: dict[str, Any] = {
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "StudyDate": "20240229",
    "StudyTime": "101112.5",
    "Modality": "CT",
    "PatientName": "Müller^Jörg",
    "PatientAge": "063Y",
    "SliceThickness": 2.0,
    "KVP": 120.5,
    "InstanceNumber": 7,
    "PixelSpacing": [0.5, 1.0],
    "Rows": 512,
    "WindowCenter": [-600.0],
    "PixelRepresentation": 1,
    "SmallestImagePixelValue": 3,
    "FrameIncrementPointer": ["00181063"],
    "ImageComments": "a\\b",
    "DiffusionBValue": 1000.0,
    "RealWorldValueFirstValueMapped": -5,
}


def header() -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    for keyword, value in EXPECTED.items():
        if keyword == "FrameIncrementPointer":
            ds.FrameIncrementPointer = 0x00181063
        elif keyword == "RealWorldValueFirstValueMapped":
            ds.add_new(0x00409216, "SS", value)
        elif keyword == "SmallestImagePixelValue":
            ds.add_new(0x00280106, "US", value)
        else:
            setattr(ds, keyword, value)
    ds.AccessionNumber = ""
    ds.RequestAttributesSequence = Sequence([Dataset()])
    ds.add_new(0x00091001, "LO", "private")
    ds.add_new(0x60000010, "US", 5)
    ds.add_new(0x7FE00010, "OW", b"\0\0")
    return ds


def written(ds: Dataset, transfer_syntax: str) -> Dataset:
    implicit = transfer_syntax == ImplicitVRLittleEndian
    little = transfer_syntax != ExplicitVRBigEndian
    buffer = io.BytesIO(encode(ds, transfer_syntax))
    return pydicom.filereader.read_dataset(buffer, implicit, little)


@pytest.mark.parametrize(
    "transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_every_representation_gets_its_type(transfer_syntax: str) -> None:
    found = extract(written(header(), transfer_syntax))
    assert found.pop("SpecificCharacterSet") == ["ISO_IR 100"]
    # Implicit VR cannot tell US from SS: what is not negative is the same in both.
    found["RealWorldValueFirstValueMapped"] = EXPECTED["RealWorldValueFirstValueMapped"]
    assert found == EXPECTED
    for keyword, value in EXPECTED.items():
        assert type(found[keyword]) is type(value), keyword


def test_a_data_set_made_in_memory_gives_the_same() -> None:
    found = extract(header())
    assert found.pop("SpecificCharacterSet") == ["ISO_IR 100"]
    assert found == EXPECTED


def test_json_keeps_int_and_double_apart() -> None:
    back = json.loads(json.dumps(extract(header())))
    assert type(back["SliceThickness"]) is float
    assert type(back["InstanceNumber"]) is int


def raw(vr: str, tag: int, value: bytes) -> Dataset:
    """An explicit little endian data set of one element with exactly these bytes."""
    group, element = tag >> 16, tag & 0xFFFF
    data = group.to_bytes(2, "little") + element.to_bytes(2, "little") + vr.encode()
    data += len(value).to_bytes(2, "little") + value
    return pydicom.filereader.read_dataset(io.BytesIO(data), False, True)


@pytest.mark.parametrize(
    ("vr", "tag", "value"),
    [
        ("DS", 0x00180050, b"1,25"), ("DS", 0x00180050, b"nan "), ("DS", 0x00180050, b"1e999 "),
        ("DS", 0x00180050, b"\xff\xfe"), ("IS", 0x00200013, b"seven "), ("IS", 0x00200013, b"1.5 "),
        ("US", 0x00280010, b"\1"), ("US", 0x00280010, b""), ("UI", 0x0020000D, b"\0\0"),
        ("LO", 0x00081030, b"    "), ("SH", 0x00080050, b"\\\\"),
    ],
)  # fmt: skip
def test_what_is_not_what_its_vr_says_is_absent(vr: str, tag: int, value: bytes) -> None:
    assert extract(raw(vr, tag, value)) == {}


@pytest.mark.parametrize(
    ("vr", "tag", "value", "expected"),
    [
        ("IS", 0x00200013, b" 12.0 ", {"InstanceNumber": 12}),
        ("UI", 0x0020000D, b"1.2.03.not a uid\0", {"StudyInstanceUID": "1.2.03.not a uid"}),
        ("DA", 0x00080020, b"2024.02.29", {"StudyDate": "2024.02.29"}),
        ("DS", 0x00180050, b"1\\2 ", {"SliceThickness": [1.0, 2.0]}),
        ("CS", 0x00080060, b"ct! ", {"Modality": "ct!"}),
    ],
)
def test_odd_values_that_can_be_read_are_kept(
    vr: str, tag: int, value: bytes, expected: dict[str, Any]
) -> None:
    assert extract(raw(vr, tag, value)) == expected


def test_sizes_are_bounded() -> None:
    ds = Dataset()
    ds.ImageComments = "x" * (MAX_TEXT + 1)
    ds.PatientComments = "x" * MAX_TEXT
    ds.ImageType = ["A"] * (MAX_VALUES + 1)
    assert set(extract(ds)) == {"PatientComments"}
    full = Dataset()
    texts = [k for k, tag in keyword_dict.items() if dictionary_VR(tag) in {"LT", "UT"}]
    for keyword in texts:
        setattr(full, keyword, "x" * MAX_TEXT)
    assert len(texts) * MAX_TEXT > MAX_TOTAL
    assert len(extract(full)) == MAX_TOTAL // MAX_TEXT


def test_japanese_names_are_decoded() -> None:
    text = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"
    charset = b"\\ISO 2022 IR 87"
    data = b"\x08\0\x05\0CS" + len(charset).to_bytes(2, "little") + charset
    data += b"\x10\0\x10\0PN" + len(text).to_bytes(2, "little") + text
    ds = pydicom.filereader.read_dataset(io.BytesIO(data), False, True)
    assert extract(ds)["PatientName"] == "Yamada^Tarou=山田^太郎"


@pytest.mark.data
def test_real_headers_of_every_kind_are_read(data: Path, tmp_path: Path) -> None:
    """Odd files, character sets and implicit VR: nothing raises, warns or cannot be JSON."""
    looked = 0
    for archive in [*data.glob("odd-files/*.tar.gz"), *data.glob("charsets/*.tar.gz")]:
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path / archive.name, filter="data")
        for path in (tmp_path / archive.name).rglob("*"):
            if path.is_file():
                looked += _read(path)
    assert looked > 50


def _read(path: Path) -> bool:
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            keys = list(ds.keys())
    except Exception:  # noqa: BLE001 - what pydicom cannot open is not this test's subject
        return False
    json.dumps(extract(ds), allow_nan=False)
    return bool(keys)
