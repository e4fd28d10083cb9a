"""Every way in which a series is no volume is told apart, by its own name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.uid import RLELossless

SCOUT = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
SC_CLASS = "1.2.840.10008.5.1.4.1.1.7"
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.22"


def at(positions: list[float]) -> Callable[[int], list[float]]:
    return lambda index: [-10, -20, positions[index]]


def last(value: object, other: object) -> Callable[[int], object]:
    """Give `other` to the sixth slice, `value` to the rest."""
    return lambda index: other if index == 5 else value


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "secondary capture": ("NOT_A_VOLUME_CLASS", {"SOPClassUID": SC_CLASS}),
    "report": ("NOT_A_VOLUME_CLASS", {"SOPClassUID": SR_CLASS}),
    "other class within": (
        "MIXED_CLASSES",
        {"SOPClassUID": last("1.2.840.10008.5.1.4.1.1.2", SC_CLASS)},
    ),
    "localizer": ("LOCALIZER", {"ImageType": SCOUT}),
    "palette": ("COLOUR", {"PhotometricInterpretation": "PALETTE COLOR"}),
    "two studies": ("MIXED_STUDIES", {"StudyInstanceUID": last("1.2.3", "1.2.4")}),
    "same instance": ("DUPLICATE_INSTANCES", {"SOPInstanceUID": last("1.2.3", "1.2.4")}),
    "no pixels": ("NO_PIXEL_DATA", {"PixelData": None}),
    "cut pixels": ("TRUNCATED_PIXEL_DATA", {"PixelData": last(b"\0" * 96, b"\0" * 94)}),
    "no position": ("NO_GEOMETRY", {"ImagePositionPatient": last([0, 0, 0], None)}),
    "no spacing": ("NO_GEOMETRY", {"PixelSpacing": None}),
    "zero spacing": ("NO_GEOMETRY", {"PixelSpacing": [0, 0]}),
    "skewed orientation": ("BAD_ORIENTATION", {"ImageOrientationPatient": [1, 0, 0, 0.5, 1, 0]}),
    "no frame of reference": ("NO_FRAME_OF_REFERENCE", {"FrameOfReferenceUID": None}),
    "one without frame of reference": (
        "SEVERAL_FRAMES_OF_REFERENCE",
        {"FrameOfReferenceUID": last("1.2.3", None)},
    ),
    "two frames of reference": (
        "SEVERAL_FRAMES_OF_REFERENCE",
        {"FrameOfReferenceUID": last("1.2.3", "1.2.4")},
    ),
    "one slice turned": (
        "MIXED_ORIENTATION",
        {"ImageOrientationPatient": last([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1])},
    ),
    "one slice finer": ("MIXED_SPACING", {"PixelSpacing": last([0.5, 0.5], [0.4, 0.4])}),
    "one slice smaller": ("MIXED_SIZE", {"Rows": last(6, 5)}),
    "a slice is missing": (
        "MISSING_SLICES",
        {"ImagePositionPatient": at([0, 1, 2, 4, 5, 6])},
    ),
    "three slices are missing at two places": (
        "MISSING_SLICES",
        {"ImagePositionPatient": at([0, 1, 2, 4, 5, 8])},
    ),
    "uneven": ("UNEVEN_SPACING", {"ImagePositionPatient": at([0, 1, 2, 3.4, 4.4, 5.4])}),
    "one slice doubled": ("DOUBLED_SLICES", {"ImagePositionPatient": at([0, 1, 2, 3, 4, 4])}),
    "all slices doubled": ("DOUBLED_SLICES", {"ImagePositionPatient": at([0, 1, 2, 0, 1, 2])}),
    "a time point is not complete": (
        "INCOMPLETE_VOLUME",
        {
            "ImagePositionPatient": at([0, 1, 2, 0, 1, 0]),
            "TemporalPositionIdentifier": lambda index: [1, 1, 1, 2, 2, 3][index],
        },
    ),
    "out of line": (
        "SLICES_OUT_OF_LINE",
        {"ImagePositionPatient": lambda index: [[-10, -10, -9, -10, -10, -10][index], 0, index]},
    ),
    "all at one place": ("TOO_FEW_SLICES", {"ImagePositionPatient": [0, 0, 0]}),
    "slope of zero": ("BAD_RESCALE", {"RescaleSlope": 0}),
    "twelve bits above sixteen": ("UNSUPPORTED_PIXELS", {"BitsStored": 12, "HighBit": 17}),
}


@pytest.mark.parametrize("case", CASES)
def test_series_is_refused_by_name(case: str, reading: Any) -> None:
    code, changes = CASES[case]
    if changes.get("SOPInstanceUID"):
        changes = {**changes, "InstanceNumber": 1}
    reading.add_slices(6, **changes)
    report = reading.read()
    (entry,) = report["series"]
    assert (entry["status"], entry["code"]) == ("refused", code)
    assert entry["message"]
    assert entry["files"] == {}
    assert report["code"] == "NO_VOLUME"
    assert [path.name for path in reading.target.iterdir()] == ["series.json"]


def test_uid_that_is_a_path_names_no_file(reading: Any) -> None:
    reading.add_slices(6, SeriesInstanceUID="1.2.3.4.5.6.7.8")
    for path in reading.source.iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.2.3.4.5.6.7.8", b"../../../../etc"))
    assert reading.only()["code"] == "BAD_UID"


def test_number_of_missing_slices_is_said(reading: Any) -> None:
    reading.add_slices(6, ImagePositionPatient=at([0, 1, 2, 4, 5, 8]))
    assert reading.only()["message"].startswith(
        "3 slices are missing at 2 places, the first after slice 3"
    )


def test_too_few_slices(reading: Any) -> None:
    reading.add_slices(5)
    assert reading.only()["code"] == "TOO_FEW_SLICES"
    assert reading.only(least=5)["status"] == "volume"


def test_too_large_is_refused_before_memory_is_taken(reading: Any) -> None:
    reading.add_slices(6)
    assert reading.only(most_bytes=575)["code"] == "TOO_LARGE"
    assert reading.only(most_bytes=576)["status"] == "volume"


def test_bad_numbers_are_named_without_their_value(reading: Any) -> None:
    reading.add_slices(6)
    path = next(reading.source.iterdir())
    data = path.read_bytes()
    assert data.count(b"0.5\\0.75") == 1
    path.write_bytes(data.replace(b"0.5\\0.75", b"DOE^JOHN"))
    entry = reading.only()
    assert entry["code"] == "BAD_ATTRIBUTE"
    assert "PixelSpacing" in entry["message"]
    assert "DOE" not in entry["message"] + reading.log.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"PatientID": last("PHANTOM", "OTHER")},
        {"PatientID": last("PHANTOM", None)},
        {"PatientBirthDate": last("19700101", "19710101")},
        {"IssuerOfPatientID": last("here", "there")},
    ],
)
def test_mixed_patients_refuse_the_whole_run(changes: dict[str, Any], reading: Any) -> None:
    reading.add_slices(6, **changes)
    report = reading.read()
    assert (report["code"], report["series"]) == ("MIXED_PATIENTS", [])


def test_patients_differ_between_series(reading: Any, make_slice: Any) -> None:
    reading.add_slices(6)
    reading.add(make_slice(7, SeriesInstanceUID="1.2.9", PatientID="OTHER"), "other.dcm")
    assert reading.read()["code"] == "MIXED_PATIENTS"


def test_a_good_series_stands_beside_refused_ones(reading: Any, make_slice: Any) -> None:
    reading.add_slices(6)
    reading.add(make_slice(9, SeriesInstanceUID="1.2.9", ImageType=SCOUT), "scout.dcm")
    report = reading.read()
    assert report["code"] is None
    assert [entry["code"] for entry in report["series"]] == [None, "LOCALIZER"]


def test_files_that_are_no_instance_are_listed(reading: Any) -> None:
    reading.add_slices(6)
    (reading.source / "notes.txt").write_text("nothing")
    (reading.source / "empty.dcm").write_bytes(b"")
    report = reading.read()
    assert [(item["file"], item["code"]) for item in report["skipped"]] == [
        ("empty.dcm", "NOT_DICOM"),
        ("notes.txt", "NOT_DICOM"),
    ]
    assert report["series"][0]["status"] == "volume"


def test_no_instance_at_all(reading: Any) -> None:
    (reading.source / "notes.txt").write_text("nothing")
    assert reading.read()["code"] == "NO_INSTANCES"


def test_cut_headers_never_crash(reading: Any, make_slice: Any) -> None:
    """A file cut anywhere in its header is skipped or refused, never read as something else."""
    reading.add(make_slice(0, pixels=np.zeros((2, 2), np.uint16)))
    path = next(reading.source.iterdir())
    data = path.read_bytes()
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        report = reading.read(least=2)
        assert report["code"] in ("NO_INSTANCES", "NO_VOLUME")


def test_flipped_bytes_never_crash(reading: Any) -> None:
    reading.add_slices(6)
    path = next(reading.source.iterdir())
    data = path.read_bytes()
    generator = np.random.default_rng(6)
    for _ in range(150):
        broken = bytearray(data)
        for place in generator.integers(128, len(data) - 96, 3):
            broken[place] = int(generator.integers(256))
        path.write_bytes(broken)
        report = reading.read()
        assert report["code"] or report["series"]


def add_broken_rle(reading: Any, make_slice: Any, fill: bytes) -> None:
    for index in range(6):
        dataset = make_slice(index, np.arange(1024, dtype=np.uint16).reshape(32, 32) * 61)
        dataset.compress(RLELossless, generate_instance_uid=False)
        broken = bytearray(dataset.PixelData)
        broken[-400:-40] = fill * 360
        dataset.PixelData = bytes(broken)
        reading.add(dataset)


def test_compressed_frame_that_is_too_short_is_refused(reading: Any, make_slice: Any) -> None:
    add_broken_rle(reading, make_slice, b"\x80")
    entry = reading.only()
    assert (entry["code"], entry["files"]) == ("UNDECODABLE", {})


def test_runs_beyond_the_frame_do_not_end_the_process(reading: Any, make_slice: Any) -> None:
    """The native RLE decoder panics on these, past every `except Exception`."""
    add_broken_rle(reading, make_slice, b"\xff")
    assert reading.only()["instances"] == 6


def test_log_and_report_name_no_patient(reading: Any) -> None:
    reading.add_slices(6)
    (reading.source / "Phantom^Paula.txt").write_text("x")
    reading.read()
    text = reading.log.getvalue()
    assert "series.volume" in text
    assert "PHANTOM" not in text.upper().replace("series", "")
    assert "Paula" not in text
    for entry in reading.report()["series"]:
        assert "Paula" not in str(entry)
