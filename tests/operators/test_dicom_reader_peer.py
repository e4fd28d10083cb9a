"""The reader against dcm2niix on real series: same voxels, same place; the rest refused by name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest

from gateway.operators.dicom_reader.codes import SeriesRefusal
from gateway.operators.dicom_reader.header import read_header
from gateway.operators.sdk import InputRefusedError

pytestmark = [pytest.mark.peers, pytest.mark.data]
Unpack = Callable[[str], Path]


def canonical(path: Path) -> Any:
    return nibabel.as_closest_canonical(nibabel.load(path))


@pytest.fixture
def theirs(dcm2niix: str, tmp_path: Path) -> Callable[[Path], list[Path]]:
    """Return a function that converts a folder by dcm2niix, Philips in display units."""

    def convert(source: Path) -> list[Path]:
        target = tmp_path / "theirs"
        target.mkdir()
        command = [dcm2niix, "-z", "n", "-b", "n", "-p", "n", "-f", "%j", "-o", target, source]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return sorted(target.glob("*.nii"))

    return convert


def assert_same(ours: Any, other: Any) -> None:
    assert ours.shape == other.shape
    # Its slopes are float32: 500 Hz times half a unit in the last place.
    np.testing.assert_allclose(ours.get_fdata(), other.get_fdata(), rtol=1e-6, atol=3e-5)
    np.testing.assert_allclose(ours.affine, other.affine, rtol=0, atol=1e-3)


def assert_places(source: Path, entry: dict[str, Any]) -> None:
    """Check every classic slice's corner against its own Image Position."""
    affine = np.array(entry["affine_lps"])
    for volume in entry["sources"]:
        for k, item in enumerate(volume):
            dataset = pydicom.dcmread(source / item["file"], stop_before_pixels=True)
            corner = affine @ [0, 0, k, 1]
            np.testing.assert_allclose(corner[:3], dataset.ImagePositionPatient, atol=0.01)
            assert item["sop_instance_uid"] == dataset.SOPInstanceUID


@pytest.mark.parametrize(
    ("archive", "shape"),
    [
        ("ct-chest-8mm/ct-thorax-8mm", [512, 512, 30]),
        ("mr-fruit-ge-deid/sag-ir-spgr", [256, 256, 196]),
        ("mr-phantom-ge-oblique/ax-t1-mprage", [256, 256, 130]),
        ("mr-epi-4d/ge-epi-15sl-10vol", [64, 64, 15, 10]),
        ("mr-phantom-ge-oblique/ax-dwi-2loc-7vol", [256, 256, 2, 7]),
    ],
)
def test_agrees_with_dcm2niix(
    archive: str, shape: list[int], unpack: Unpack, theirs: Any, reading: Any
) -> None:
    source = unpack(archive)
    entry = reading.only(source)
    assert (entry["status"], entry["shape"]) == ("volume", shape)
    (other,) = theirs(source)
    assert_same(canonical(reading.target / entry["files"]["nifti"]), canonical(other))
    assert_places(source, entry)


def test_mosaic_agrees_with_dcm2niix(unpack: Unpack, theirs: Any, reading: Any) -> None:
    source = unpack("mr-epi-4d/siemens-mosaic-2vol")
    entry = reading.only(source)
    assert entry["shape"] == [72, 72, 5, 2]
    (other,) = theirs(source)
    assert_same(canonical(reading.target / entry["files"]["nifti"]), canonical(other))
    assert [len({item["file"] for item in volume}) for volume in entry["sources"]] == [1, 1]


@pytest.mark.parametrize(
    ("folder", "shape"),
    [
        ("Siemens", [64, 64, 6, 4]),
        ("dicom2nifti/hyperfine", [112, 138, 8]),
        ("dicom2nifti/philips_enhanced", [256, 256, 8]),
    ],
)
def test_enhanced_mr_agrees_with_dcm2niix(
    folder: str, shape: list[int], unpack: Unpack, theirs: Any, reading: Any
) -> None:
    source = unpack("enhanced-multiframe/enhanced") / "enhanced" / folder
    entry = reading.only(source)
    assert (entry["status"], entry["shape"]) == ("volume", shape)
    (other,) = theirs(source)
    assert_same(canonical(reading.target / entry["files"]["nifti"]), canonical(other))
    assert entry["sources"][0][0]["frame"] >= 1


def test_philips_with_two_slopes_agrees_volume_by_volume(
    unpack: Unpack, theirs: Any, reading: Any
) -> None:
    source = unpack("enhanced-multiframe/enhanced") / "enhanced/Philips"
    entry = reading.only(source)
    assert entry["shape"] == [64, 64, 32, 2]
    assert [volume["image_type"][3] for volume in entry["volumes"]] == ["M", "FIELD_MAP"]
    ours = canonical(reading.target / entry["files"]["nifti"])
    others = theirs(source)
    assert len(others) == 2
    for number, path in enumerate(others):
        assert_same(ours.slicer[..., number], canonical(path))


@pytest.mark.parametrize(
    ("archive", "tilt"), [("S2010-tilt-minus18.5", -18.5), ("S3010-tilt-plus16.5", 16.5)]
)
def test_tilted_ct_agrees_with_the_uncorrected_output(
    archive: str, tilt: float, unpack: Unpack, theirs: Any, reading: Any
) -> None:
    """Same voxels; the affine is exact where dcm2niix's is not, and by how much is known.

    dcm2niix shears its orthogonal matrix along the patient's axis (y += tan(tilt) z) and not along
    the rows, so its uncorrected affine puts no slice but a corner where the header says. Ours puts
    each slice at its Image Position; both come from the same rotation and step.
    """
    source = unpack(f"ct-head-phantom-tilt/{archive}")
    entry = reading.only(source, formats=("nifti", "mhd"))
    assert entry["tilt_degrees"] == pytest.approx(abs(tilt), abs=0.01)
    assert entry["refused_formats"]["mhd"]["code"] == "GANTRY_TILT"
    assert set(entry["files"]) == {"nifti"}
    assert_places(source, entry)

    ours = canonical(reading.target / entry["files"]["nifti"])
    other, corrected = (canonical(path) for path in theirs(source))
    assert ours.shape == other.shape
    assert np.array_equal(ours.get_fdata(), other.get_fdata())
    matrix, normal = ours.affine[:3, :3], np.cross(ours.affine[:3, 0], ours.affine[:3, 1])
    normal /= np.linalg.norm(normal)
    straight = matrix.copy()
    straight[:, 2] = normal * (matrix[:, 2] @ normal)
    np.testing.assert_allclose(straight, corrected.affine[:3, :3], atol=1e-3)
    straight[1] -= np.tan(np.radians(tilt)) * straight[2]
    np.testing.assert_allclose(straight, other.affine[:3, :3], atol=1e-3)


EXPECTED = {
    "ct-head-phantom-tilt/S1000-localizer": {"LOCALIZER"},
    "ct-head-phantom-tilt/S4010-exam-summary-sc": {"NOT_A_VOLUME_CLASS"},
    "radiographs/cr-dx": {"NOT_A_VOLUME_CLASS"},
    "ultrasound/us": {"NOT_A_VOLUME_CLASS"},
    "charsets/charsets-a": {"NOT_A_VOLUME_CLASS"},
    "transfer-syntaxes/ct-one-slice-15-syntaxes": {"DUPLICATE_INSTANCES"},
    "transfer-syntaxes/test-pattern-colour": {"NOT_A_VOLUME_CLASS"},
    "transfer-syntaxes/nema-raw-vs-htj2k": {"NOT_A_VOLUME_CLASS", "DUPLICATE_INSTANCES"},
    "seg-sr/ct-3slice-with-seg": {"NOT_A_VOLUME_CLASS", "TOO_FEW_SLICES"},
    "seg-sr/small-seg-sr-pm-rt": {"NOT_A_VOLUME_CLASS", "TOO_FEW_SLICES", "MIXED_CLASSES"},
    "odd-files/odd-a": {"NOT_A_VOLUME_CLASS", "TOO_FEW_SLICES", "DUPLICATE_INSTANCES"},
    "odd-files/nifti-hard-a": {"NOT_A_VOLUME_CLASS", "TOO_FEW_SLICES"},
    "odd-files/dicomdir-filesets": {
        "NOT_A_VOLUME_CLASS",
        "LOCALIZER",
        "TOO_FEW_SLICES",
        "MIXED_ORIENTATION",
    },
    "enhanced-multiframe/enhanced": {"TOO_FEW_SLICES"},
}


def by_patient(source: Path, target: Path) -> list[Path]:
    """Link the files of each patient into a folder of its own."""
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        try:
            patient = read_header(path).patient()
        except InputRefusedError:
            continue
        folder = target / patient.digest()[:8] / f"{patient.birth_date}-{patient.sex}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.dcm").hardlink_to(path)
    return sorted({path.parent for path in target.rglob("*.dcm")})


@pytest.mark.parametrize("archive", sorted(EXPECTED))
def test_everything_else_is_refused_by_name(
    archive: str, unpack: Unpack, reading: Any, tmp_path: Path
) -> None:
    source = unpack(archive)
    codes = set()
    for folder in by_patient(source, tmp_path / "patients"):
        report = reading.read(folder)
        for entry in report["series"]:
            if entry["status"] == "volume":
                assert archive == "enhanced-multiframe/enhanced"
            else:
                codes.add(entry["code"])
                assert entry["message"]
    assert codes <= set(SeriesRefusal)
    assert codes == EXPECTED[archive]


def test_every_slice_has_its_own_slope(unpack: Unpack, reading: Any) -> None:
    source = unpack("odd-files/nifti-hard-a")
    slopes = set()
    for path in sorted(source.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        if dataset.Modality == "MR" and "RescaleSlope" in dataset:
            slopes.add(dataset.RescaleSlope)
            dataset.FrameOfReferenceUID = "1.2.3"
            reading.add(dataset)
    assert len(slopes) == 4
    entry = reading.only(least=4)
    assert entry["dtype"] == "float32"
    data = nibabel.load(reading.target / entry["files"]["nifti"]).get_fdata()
    for k, item in enumerate(entry["sources"][0]):
        dataset = pydicom.dcmread(reading.source / item["file"])
        values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_allclose(data[:, :, k].T, values, rtol=1e-6)


def test_mixed_patients_refuse_everything(unpack: Unpack, reading: Any) -> None:
    report = reading.read(unpack("odd-files/nifti-hard-a"))
    assert (report["code"], report["series"]) == ("MIXED_PATIENTS", [])
    assert report["patient_digest"] is None
    assert [path.name for path in reading.target.iterdir()] == ["series.json"]
    assert json.dumps(report)
