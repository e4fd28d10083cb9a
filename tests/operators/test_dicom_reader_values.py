"""Values and geometry: every encoding gives the same volume, and NIfTI and MHD say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

BOTH = {"formats": ("nifti", "mhd"), "level": 0}


def noise(
    index: int, dtype: str = "uint16", low: int = 0, high: int = 4096, size: int = 8
) -> np.ndarray:
    return np.random.default_rng(index).integers(low, high, (size - 2, size)).astype(dtype)


def nifti(reading: Any, entry: dict[str, Any]) -> Any:
    return nibabel.load(reading.target / entry["files"]["nifti"])


def add(
    reading: Any, make_slice: Any, count: int = 6, dtype: str = "uint16", **changes: Any
) -> np.ndarray:
    """Write noisy slices and return what was stored as `[k, j, i]`."""
    pixels = [noise(index, dtype) for index in range(count)]
    for index in np.random.default_rng(1).permutation(count):
        reading.add(make_slice(int(index), pixels[index], **changes))
    return np.array(pixels)


def test_order_comes_from_positions(reading: Any, make_slice: Any) -> None:
    """Instance numbers run against the normal and files lie in no order."""
    pixels = [noise(index) for index in range(6)]
    for index in (3, 0, 5, 1, 4, 2):
        reading.add(make_slice(index, pixels[index], InstanceNumber=100 - index))
    entry = reading.only()
    data = np.asanyarray(nifti(reading, entry).dataobj)
    assert data.dtype == np.int16
    assert np.array_equal(data.T, np.array(pixels).astype(int) - 1024)
    uids = [source["sop_instance_uid"].rsplit(".", 1)[1] for source in entry["sources"][0]]
    assert uids == ["1", "2", "3", "4", "5", "6"]
    assert entry["affine_lps"] == [[0.75, 0, 0, -10], [0, 0.5, 0, -20], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("position", ["FFS", "HFP"])
def test_reversed_axes_keep_place(position: str, reading: Any, make_slice: Any) -> None:
    """Row or column directions that run backwards give a normal that does too."""
    orientation = {"FFS": [-1, 0, 0, 0, 1, 0], "HFP": [-1, 0, 0, 0, -1, 0]}[position]
    stored = add(reading, make_slice, ImageOrientationPatient=orientation)
    entry = reading.only(**BOTH)
    first = 5 if position == "FFS" else 0
    assert entry["origin"] == [-10, -20, first]
    data = np.asanyarray(nifti(reading, entry).dataobj).T
    expected = stored.astype(int) - 1024
    assert np.array_equal(data, expected[::-1] if position == "FFS" else expected)
    assert np.linalg.det(np.array(entry["direction"])) == pytest.approx(1)


@pytest.mark.parametrize("level", [0, 1])
def test_nifti_and_mhd_say_the_same(level: int, reading: Any, make_slice: Any) -> None:
    turned = [0.8, 0.6, 0, 0, 0, -1]
    normal = np.cross(turned[:3], turned[3:])
    for index in range(6):
        place = (np.array([5, 6, 7]) + 2.5 * index * normal).tolist()
        reading.add(
            make_slice(
                index, noise(index), ImagePositionPatient=place, ImageOrientationPatient=turned
            )
        )
    entry = reading.only(formats=("nifti", "mhd"), level=level)
    assert Path(entry["files"]["nifti"]).suffix == (".gz" if level else ".nii")
    image = SimpleITK.ReadImage(str(reading.target / entry["files"]["mhd"]))
    loaded = nifti(reading, entry)
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), np.asanyarray(loaded.dataobj).T)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    assert np.allclose(direction, entry["direction"])
    assert np.allclose(image.GetSpacing(), [0.75, 0.5, 2.5])
    assert np.allclose(image.GetOrigin(), [5, 6, 7])
    corner = image.TransformIndexToPhysicalPoint((7, 5, 5))
    assert np.allclose(
        loaded.affine @ [7, 5, 5, 1], [-corner[0], -corner[1], corner[2], 1], atol=1e-4
    )
    assert np.allclose(loaded.get_qform(), loaded.get_sform(), atol=1e-4)


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
)
def test_every_encoding_gives_the_same_values(syntax: Any, reading: Any, make_slice: Any) -> None:
    for index in range(6):
        pixels = noise(index, size=66)
        dataset = make_slice(index, pixels, BitsStored=12, HighBit=11)
        if syntax.is_compressed and syntax.is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = pixels.astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"
        reading.add(dataset)
    data = np.asanyarray(nifti(reading, reading.only()).dataobj)
    expected = np.array([noise(index, size=66) for index in range(6)]).astype(int) - 1024
    assert np.array_equal(data.T, expected)


def test_sign_is_extended_and_overlay_bits_dropped(reading: Any, make_slice: Any) -> None:
    wanted = np.array([noise(index, "int16", -2048, 2048) for index in range(6)])
    for index in range(6):
        raw = (wanted[index].view(np.uint16) & 0x0FFF) | 0x5000
        reading.add(
            make_slice(
                index, raw, BitsStored=12, HighBit=11, PixelRepresentation=1, RescaleIntercept=0
            )
        )
    data = np.asanyarray(nifti(reading, reading.only()).dataobj)
    assert np.array_equal(data.T, wanted)


def test_unsigned_bits_below_the_high_bit(reading: Any, make_slice: Any) -> None:
    for index in range(6):
        raw = (noise(index) << 4) | 0x3
        reading.add(make_slice(index, raw, BitsStored=12, HighBit=15, RescaleIntercept=0))
    data = np.asanyarray(nifti(reading, reading.only()).dataobj)
    assert np.array_equal(data.T, np.array([noise(index) for index in range(6)]))


@pytest.mark.parametrize(
    ("slope", "intercept", "top", "dtype"),
    [
        (1, -1024, 4095, "int16"),
        (1, -1024, 40000, "uint16"),
        (1, 0, 40000, "uint16"),
        (2, 0, 40000, "int32"),
        (-1, 100, 60000, "int32"),
        (0.5, -3, 4095, "float32"),
    ],
)
def test_type_of_values(
    slope: float, intercept: float, top: int, dtype: str, reading: Any, make_slice: Any
) -> None:
    """Integers as long as the result is one, wide enough for what is really there."""
    low = 2000
    pixels = [np.full((6, 8), low, np.uint16) for _ in range(6)]
    pixels[3][2, 1] = top
    for index, stored in enumerate(pixels):
        reading.add(make_slice(index, stored, RescaleSlope=slope, RescaleIntercept=intercept))
    entry = reading.only(**BOTH)
    assert entry["dtype"] == dtype
    data = np.asanyarray(nifti(reading, entry).dataobj).T
    assert np.array_equal(data, np.array(pixels) * float(slope) + intercept)
    image = SimpleITK.ReadImage(str(reading.target / entry["files"]["mhd"]))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), data)


def test_whole_slopes_that_differ_stay_integers(reading: Any, make_slice: Any) -> None:
    for index in range(6):
        reading.add(
            make_slice(index, noise(index), RescaleSlope=index + 1, BitsStored=12, HighBit=11)
        )
    entry = reading.only()
    assert entry["dtype"] == "int16"
    data = np.asanyarray(nifti(reading, entry).dataobj).T
    assert np.array_equal(data, [noise(k).astype(int) * (k + 1) - 1024 for k in range(6)])


def test_eight_and_thirty_two_bits(reading: Any, make_slice: Any) -> None:
    stored = add(reading, make_slice, dtype="uint8", RescaleIntercept=0)
    entry = reading.only(**BOTH)
    assert entry["dtype"] == "uint8"
    assert np.array_equal(np.asanyarray(nifti(reading, entry).dataobj).T, stored)


def test_thirty_two_bits(reading: Any, make_slice: Any) -> None:
    for index in range(6):
        reading.add(make_slice(index, noise(index, "int32", -(10**9), 10**9), RescaleIntercept=5))
    entry = reading.only(**BOTH)
    assert entry["dtype"] == "int32"
    expected = [noise(k, "int32", -(10**9), 10**9).astype(np.int64) + 5 for k in range(6)]
    assert np.array_equal(np.asanyarray(nifti(reading, entry).dataobj).T, expected)


def test_tilt_is_sheared_in_nifti_and_refused_in_mhd(reading: Any, make_slice: Any) -> None:
    angle = np.radians(20)
    orientation = [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))]
    add(reading, make_slice, ImageOrientationPatient=orientation, GantryDetectorTilt=20)
    entry = reading.only(**BOTH)
    assert entry["tilt_degrees"] == pytest.approx(20)
    assert set(entry["files"]) == {"nifti"}
    assert entry["refused_formats"]["mhd"]["code"] == "GANTRY_TILT"
    assert [odd["code"] for odd in entry["warnings"]] == ["GANTRY_TILT"]
    assert np.allclose(nifti(reading, entry).affine @ [0, 0, 5, 1], [10, 20, 5, 1], atol=1e-5)
    alone = reading.only(formats=("mhd",))
    assert (alone["status"], alone["code"]) == ("refused", "FORMAT_REFUSED")


def test_tilt_that_positions_do_not_show_is_a_warning(reading: Any, make_slice: Any) -> None:
    add(reading, make_slice, GantryDetectorTilt=20)
    entry = reading.only()
    assert entry["tilt_degrees"] == 0
    assert [odd["code"] for odd in entry["warnings"]] == ["GANTRY_TILT_UNCONFIRMED"]


def test_instance_numbers_with_gaps_are_a_warning(reading: Any) -> None:
    reading.add_slices(6, InstanceNumber=lambda index: 2 * index)
    assert [odd["code"] for odd in reading.only()["warnings"]] == ["INSTANCE_NUMBER_GAPS"]


@pytest.mark.parametrize(
    "labels",
    [
        {"TemporalPositionIdentifier": lambda index: 1 + index // 3},
        {"AcquisitionTime": lambda index: f"12000{index // 3}"},
        {"NumberOfTemporalPositions": 2},
    ],
)
def test_time_points_become_volumes(labels: dict[str, Any], reading: Any) -> None:
    reading.add_slices(6, ImagePositionPatient=lambda index: [0, 0, index % 3], **labels)
    entry = reading.only(**BOTH)
    assert entry["shape"] == [8, 6, 3, 2]
    data = np.asanyarray(nifti(reading, entry).dataobj)
    assert data[0, 0].tolist() == [[-1024, -1021], [-1023, -1020], [-1022, -1019]]
    image = SimpleITK.ReadImage(str(reading.target / entry["files"]["mhd"]))
    assert image.GetSize() == (8, 6, 3, 2)
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), data.T)


def test_small_wobble_of_the_table_is_allowed(reading: Any) -> None:
    wobble = [0, 1.02, 2, 2.97, 4, 5]
    reading.add_slices(6, ImagePositionPatient=lambda index: [0, 0, wobble[index]])
    assert reading.only()["status"] == "volume"


def test_tree_of_the_payload_is_read(reading: Any, make_slice: Any) -> None:
    for index in range(6):
        reading.add(make_slice(index), f"dcm/PHANTOM/1.2/1.2.3/{index}.dcm")
    assert reading.only()["sources"][0][0]["file"] == "dcm/PHANTOM/1.2/1.2.3/0.dcm"


def test_private_sequences_are_walked_over(reading: Any, make_slice: Any) -> None:
    """Sequences of undefined length, nested, before the wanted attributes."""
    for index in range(6):
        dataset = make_slice(index, noise(index))
        inner, outer = Dataset(), Dataset()
        inner.CodeValue, inner.InstanceNumber = "x", 99
        outer.PurposeOfReferenceCodeSequence = Sequence([inner])
        outer.InstanceNumber = 99
        dataset.ReferencedImageSequence = Sequence([outer])
        for sequence in (
            dataset["ReferencedImageSequence"],
            outer["PurposeOfReferenceCodeSequence"],
        ):
            sequence.is_undefined_length = True
            sequence.value[0].is_undefined_length_sequence_item = True
        reading.add(dataset)
    entry = reading.only()
    assert entry["status"] == "volume"
    assert entry["warnings"] == []
