"""The chest phantom: a proper CT series whose anatomy lies where the patient position says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from gateway.demo import phantom
from gateway.demo.phantom import Identity, Options, write_series
from gateway.demo.phantom_anatomy import HEART, STOMACH_GAS
from gateway.demo.phantom_voxels import Tissue
from tests.support.lungs import dciodvfy_errors
from tests.support.programs import program

SMALL = {"matrix": 64, "slices": 24}
AIR_IN_STOMACH = STOMACH_GAS.centre
HEART_MIDDLE = HEART.centre
LEFT_LUNG = (100.0, 5.0, 60.0)


def hu_at(files: tuple[Path, ...], point: tuple[float, float, float]) -> float:
    """The HU of the voxel nearest to a point of the thorax, found through the headers alone."""
    wanted = np.asarray(point) + phantom.THORAX_CENTRE
    best: tuple[float, Dataset, int, int] | None = None
    for path in files:
        ds = dcmread(path)
        row, column = np.split(np.asarray(ds.ImageOrientationPatient, dtype=float), 2)
        offset = wanted - np.asarray(ds.ImagePositionPatient, dtype=float)
        away = abs(float(offset @ np.cross(row, column)))
        i = round(float(offset @ column) / float(ds.PixelSpacing[0]))
        j = round(float(offset @ row) / float(ds.PixelSpacing[1]))
        if best is None or away < best[0]:
            best = (away, ds, i, j)
    assert best is not None
    _, ds, i, j = best
    return float(ds.pixel_array[i, j]) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "FFP"])
@pytest.mark.parametrize("tilt", [0.0, 12.0])
def test_anatomy_stays_with_the_patient(tmp_path: Path, position: str, tilt: float) -> None:
    files = write_series(tmp_path, Options(**SMALL, position=position, tilt=tilt)).files
    assert dcmread(files[0]).PatientPosition == position
    assert hu_at(files, HEART_MIDDLE) > 0
    assert hu_at(files, (-HEART_MIDDLE[0] - 60, *HEART_MIDDLE[1:])) < -800
    assert hu_at(files, AIR_IN_STOMACH) < -950
    assert hu_at(files, (-AIR_IN_STOMACH[0], *AIR_IN_STOMACH[1:])) > 0
    assert -950 < hu_at(files, LEFT_LUNG) < -800


@pytest.mark.parametrize(
    ("position", "orientation", "head_first"),
    [
        ("HFS", [1, 0, 0, 0, 1, 0], True),
        ("FFS", [-1, 0, 0, 0, 1, 0], False),
        ("HFP", [-1, 0, 0, 0, -1, 0], True),
        ("FFP", [1, 0, 0, 0, -1, 0], False),
    ],
)
def test_the_gantry_stays_and_the_patient_turns(
    tmp_path: Path, position: str, orientation: list[int], head_first: bool
) -> None:
    files = write_series(tmp_path, Options(**SMALL, position=position)).files
    first, last = dcmread(files[0]), dcmread(files[-1])
    assert [float(v) for v in first.ImageOrientationPatient] == orientation
    rises = float(last.ImagePositionPatient[2]) > float(first.ImagePositionPatient[2])
    assert rises == head_first
    # The table lies at the bottom of the picture, whichever side of the patient that is.
    beside_the_body = first.pixel_array[:, 3]
    assert beside_the_body[53:55].mean() > 60 > beside_the_body[8:13].mean()


def test_truth_is_different_per_side_and_plausible(tmp_path: Path) -> None:
    truth = write_series(tmp_path, Options(**SMALL)).truth
    right, left, total = truth["right"], truth["left"], truth["total"]
    assert 2500 < right.volume_ml < 2700
    assert 2100 < left.volume_ml < 2300
    assert total.voxels == right.voxels + left.voxels
    assert total.volume_ml == pytest.approx(right.volume_ml + left.volume_ml)
    assert 6 < right.laa950_percent < 13
    assert 2 < left.laa950_percent < 6
    assert -900 < right.mean_hu < left.mean_hu < -830


def test_truth_hardly_depends_on_grid_and_position() -> None:
    volumes = [
        phantom.build(Options(matrix=m, slices=s, position=p)).truth()["right"].volume_ml
        for m, s, p in ((128, 60, "HFS"), (96, 50, "FFS"), (128, 60, "HFP"))
    ]
    assert max(volumes) / min(volumes) < 1.005


def test_equal_options_give_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    first = write_series(tmp_path / "a", Options(**SMALL))
    again = write_series(tmp_path / "b", Options(**SMALL))
    other = write_series(tmp_path / "c", Options(**SMALL, tissue=Tissue(seed=2)))
    assert [p.read_bytes() for p in first.files] == [p.read_bytes() for p in again.files]
    assert first.series_uid != other.series_uid
    assert dcmread(first.files[3]).PixelData != dcmread(other.files[3]).PixelData


def test_reversed_instance_numbers_change_numbers_only(tmp_path: Path) -> None:
    plain = write_series(tmp_path / "a", Options(**SMALL)).files
    turned = write_series(tmp_path / "b", Options(**SMALL, reverse_instance_numbers=True)).files
    assert [dcmread(p).InstanceNumber for p in turned] == list(range(24, 0, -1))
    assert dcmread(plain[5]).PixelData == dcmread(turned[5]).PixelData
    assert dcmread(plain[5]).ImagePositionPatient == dcmread(turned[5]).ImagePositionPatient


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
def test_every_transfer_syntax_holds_the_same_pixels(tmp_path: Path, syntax: str) -> None:
    options = {"matrix": 32, "slices": 2}
    plain = dcmread(write_series(tmp_path / "a", Options(**options)).files[0])
    other = dcmread(
        write_series(tmp_path / "b", Options(**options, transfer_syntax=syntax)).files[0]
    )
    assert other.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(plain.pixel_array, other.pixel_array)


def test_identity_and_uids_can_be_given(tmp_path: Path) -> None:
    identity = Identity(
        patient_id="77", patient_name="Wang=王^小东", character_set="GB18030", accession_number="A9"
    )
    options = Options(matrix=32, slices=1, identity=identity, study_uid="1.2.3", series_uid="1.2.4")
    (path,) = write_series(tmp_path, options).files
    ds = dcmread(path)
    assert (ds.StudyInstanceUID, ds.SeriesInstanceUID) == ("1.2.3", "1.2.4")
    assert (ds.PatientID, str(ds.PatientName), ds.AccessionNumber) == ("77", "Wang=王^小东", "A9")
    assert "王".encode("gb18030") in path.read_bytes()


@pytest.mark.parametrize(
    "wrong", [{"position": "HFX"}, {"slices": 0}, {"matrix": 4}, {"tilt": 60.0}]
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"position|slice|tilt"):
        Options(**wrong)  # type: ignore[arg-type]


def test_the_command_writes_and_tells_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path), "--matrix", "64", "--slices", "24", "--position", "FFS"]
    assert phantom.main([*arguments, "--accession", "A7"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["instances"] == len(list(tmp_path.glob("*.dcm"))) == 24
    assert record["truth"]["right"]["volume_ml"] > record["truth"]["left"]["volume_ml"]
    first = dcmread(tmp_path / "ct-0001.dcm")
    assert first.StudyInstanceUID == record["study_uid"]
    assert (first.AccessionNumber, first.PatientPosition) == ("A7", "FFS")


@pytest.mark.peers
def test_dciodvfy_finds_no_error(tmp_path: Path) -> None:
    dciodvfy = program("dciodvfy")
    for position, tilt in (("HFS", 0.0), ("FFP", 12.0)):
        folder = tmp_path / position
        files = write_series(folder, Options(**SMALL, position=position, tilt=tilt)).files
        assert dciodvfy_errors(dciodvfy, files[0]) == []
        assert dciodvfy_errors(dciodvfy, files[11]) == []
