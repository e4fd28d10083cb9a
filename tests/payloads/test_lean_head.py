"""The lean parser agrees with pydicom wherever it reads, and reads what is usual."""

from __future__ import annotations

import io
import tarfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.payloads.filemeta import file_meta, read_origin
from gateway.payloads.head import Head, Unusable, read_head
from gateway.payloads.lean import lean_head
from gateway.payloads.receiving import Arrival
from tests.support.dicom import encode, slice_

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def arrival(syntax: str) -> Arrival:
    return Arrival("a" * 32, "AI", "CT1", "127.0.0.1", "1.2.3", "1.2.4", syntax)


def general(data: bytes, syntax: str) -> Head | str:
    """What pydicom reads of a data set, or why it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read_head(io.BytesIO(file_meta(arrival(syntax), 1.0) + data))
        except Unusable as fault:
            return str(fault)


def agree(data: bytes, syntax: str) -> Head | None:
    lean = lean_head(memoryview(data), syntax)
    if lean is not None:
        assert lean == general(data, syntax)
    return lean


def some(**changes: Any) -> Dataset:
    return slice_(
        3,
        IssuerOfPatientID="HOSPITAL",
        SpacingBetweenSlices=2.5,
        NumberOfPatientRelatedInstances=9,
        NumberOfStudyRelatedInstances=7,
        NumberOfSeriesRelatedInstances=5,
        **changes,
    )


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_usual_data_sets_are_read(syntax: str) -> None:
    head = agree(encode(some(), syntax), syntax)
    assert head is not None
    assert head.related == {"patient": 9, "study": 7, "series": 5}
    assert head.geometry is not None
    assert head.geometry["spacing_between_slices"] == 2.5


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined"])
def test_sequences_are_skipped(syntax: str, undefined: bool) -> None:
    inner, outer = Dataset(), Dataset()
    inner.PatientID, inner.StudyInstanceUID = "OTHER", "9.9.9"
    outer.ReferencedSOPInstanceUID = "1.2.3"
    outer.ReferencedImageSequence = Sequence([inner, inner])
    ds = some(ReferencedStudySequence=Sequence([outer, Dataset()]))
    for holder in (ds["ReferencedStudySequence"], outer["ReferencedImageSequence"]):
        holder.is_undefined_length = undefined
        for item in holder.value:
            item.is_undefined_length_sequence_item = undefined
    head = agree(encode(ds, syntax), syntax)
    assert head is not None
    assert head.patient_id == "P1"


@pytest.mark.parametrize(
    "changes",
    [
        {"PatientID": "Ä1", "SpecificCharacterSet": "ISO_IR 100"},
        {"PatientID": "山田", "SpecificCharacterSet": "ISO_IR 192"},
        {"PatientID": None},
        {"StudyInstanceUID": None},
        {"SeriesInstanceUID": ""},
        {"PixelSpacing": None, "ImagePositionPatient": None, "InstanceNumber": None},
        {"AccessionNumber": ""},
        {"SliceThickness": ""},
    ],
    ids=str,
)
def test_what_is_odd_or_absent_agrees(changes: dict[str, Any]) -> None:
    for syntax in SYNTAXES:
        agree(encode(slice_(**changes), syntax), syntax)


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"))
DECIMAL = st.floats(-1e6, 1e6).map(lambda v: f"{v:.6g}")
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "PatientID": TEXT.map(lambda t: t[:64]),
        "IssuerOfPatientID": TEXT.map(lambda t: t[:64]),
        "AccessionNumber": TEXT.map(lambda t: t[:16]),
        "InstanceNumber": st.integers(-(2**31), 2**31 - 1),
        "SliceThickness": DECIMAL,
        "SpacingBetweenSlices": DECIMAL,
        "PixelSpacing": st.lists(DECIMAL, min_size=1, max_size=3),
        "ImagePositionPatient": st.lists(DECIMAL, min_size=2, max_size=4),
        "ImageOrientationPatient": st.lists(DECIMAL, min_size=6, max_size=6),
        "NumberOfStudyRelatedInstances": st.integers(-5, 100000),
    },
)


@settings(max_examples=120, deadline=None)
@given(values=VALUES, syntax=st.sampled_from(SYNTAXES))
def test_any_values_agree(values: dict[str, Any], syntax: str) -> None:
    agree(encode(slice_(**values), syntax), syntax)


@settings(max_examples=250, deadline=None)
@given(
    syntax=st.sampled_from(SYNTAXES),
    at=st.integers(0, 600),
    patch=st.binary(min_size=1, max_size=6),
    cut=st.one_of(st.none(), st.integers(0, 600)),
)
def test_damaged_data_sets_never_read_as_another(
    syntax: str, at: int, patch: bytes, cut: int | None
) -> None:
    whole = encode(some(), syntax)
    damaged = (whole[:at] + patch + whole[at + len(patch) :])[: cut if cut is not None else None]
    lean = lean_head(memoryview(damaged), syntax)
    if lean is None:
        return
    # What follows the last attribute wanted is not looked at: there pydicom may give up.
    read = general(damaged, syntax)
    assert isinstance(read, str) or lean == read


@pytest.mark.data
def test_real_data_sets_agree(data: Path) -> None:
    read, lean = 0, 0
    for archive in sorted(data.rglob("*.tar.gz")):
        with tarfile.open(archive) as files:
            for member in files:
                file = files.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                found = _data_set(file.read())
                if found is not None and isinstance(general(*found), Head):
                    read += 1
                    lean += agree(*found) is not None
    assert read > 500
    assert lean / read > 0.9, "the lean parser gives up on real images"


def _data_set(whole: bytes) -> tuple[bytes, str] | None:
    """Data set and transfer syntax of a file; None when it is no DICOM file."""
    if whole[128:132] != b"DICM":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = io.BytesIO(whole)
        read_preamble(file, force=False)
        meta = _read_file_meta_info(file)
    syntax = str(meta.get("TransferSyntaxUID", ""))
    return (whole[file.tell() :], syntax) if syntax else None


def test_the_file_says_how_it_arrived() -> None:
    came = arrival(ExplicitVRLittleEndian)
    meta = file_meta(came, 1234.5)
    origin = read_origin(io.BytesIO(meta + b"data"))
    assert origin.arrival == came
    assert origin.received_at == 1234.5
    assert origin.data_offset == len(meta)
