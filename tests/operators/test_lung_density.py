"""lung-density: right lungs, right numbers, right sides, and clear refusals."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from gateway.demo.phantom import THORAX_CENTRE, Options, Series, write_series
from gateway.demo.phantom_anatomy import CARINA, RIGHT_HILUM
from gateway.demo.phantom_voxels import Tissue
from tests.support import lungs

ROOT = Path(__file__).resolve().parents[2]
MIDDLE: dict[str, Any] = {"matrix": 128, "slices": 60}


def measured(tmp_path: Path, options: Options) -> tuple[Series, dict[str, Any]]:
    """Write a phantom, read and measure it."""
    series = write_series(tmp_path / "dcm", options)
    return series, lungs.density(tmp_path / "dcm", tmp_path)


def agree(series: Series, found: dict[str, Any]) -> None:
    """Volumes within 2 % and LAA-950 within 1 percentage point of the truth."""
    for side, truth in series.truth.items():
        values = found["lungs"][side]
        assert values["volume_ml"] == pytest.approx(truth.volume_ml, rel=0.02), side
        assert values["laa950_percent"] == pytest.approx(truth.laa950_percent, abs=1.0), side
        assert values["mean_hu"] == pytest.approx(truth.mean_hu, abs=3.0), side
        assert values["perc15_hu"] == pytest.approx(truth.perc15_hu, abs=3.0), side


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"position": "FFS"},
        {"position": "HFP"},
        {"position": "FFP"},
        {"reverse_instance_numbers": True},
        {"tilt": 15.0},
    ],
    ids=["HFS", "FFS", "HFP", "FFP", "reversed", "tilted"],
)
def test_agrees_with_the_truth_in_every_position(tmp_path: Path, change: dict[str, Any]) -> None:
    series, found = measured(tmp_path, Options(**MIDDLE, **change))
    agree(series, found)
    # The same patient in every position: the right lung is the bigger one by construction.
    assert found["lungs"]["right"]["volume_ml"] == pytest.approx(2583, rel=0.02)
    assert found["lungs"]["left"]["volume_ml"] == pytest.approx(2179, rel=0.02)
    right, left = (found["lungs"][side]["centroid_lps"][0] for side in ("right", "left"))
    assert right < THORAX_CENTRE[0] - 40 < THORAX_CENTRE[0] + 40 < left
    # Tilted planes leave the block of slices before the lungs do.
    warned = ["LUNGS_AT_EDGE"] if "tilt" in change else []
    assert [warning["code"] for warning in found["warnings"]] == warned


@pytest.mark.parametrize(
    "tissue",
    [
        Tissue(junction_mm=0.0),
        Tissue(junction_mm=0.6, noise_hu=25.0),
        Tissue(junction_mm=4.0, emphysema_right=0.0, emphysema_left=0.17, seed=5),
    ],
    ids=["touching", "thin and noisy", "left emphysema"],
)
def test_lungs_that_touch_are_told_apart(tmp_path: Path, tissue: Tissue) -> None:
    series, found = measured(tmp_path, Options(**MIDDLE, tissue=tissue))
    agree(series, found)


def test_demo_size_holds_in_time_and_memory(tmp_path: Path) -> None:
    series = write_series(tmp_path / "dcm", Options())
    assert lungs.read(tmp_path / "dcm", tmp_path / "volume") == 0
    command = [sys.executable, "-m", "gateway.operators.lung_density"]
    paths = ["--input", str(tmp_path / "volume"), "--output", str(tmp_path / "lungs")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, *paths], check=True, cwd=ROOT, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    pipeline = yaml.safe_load((ROOT / "pipelines" / "lung-density.yaml").read_text())
    (operator,) = [o for o in pipeline["operators"] if o["name"] == "lung-density"]
    assert after.ru_maxrss / 1024 < operator["requests"]["memory"]
    assert after.ru_utime - before.ru_utime < 12
    agree(series, json.loads((tmp_path / "lungs" / "measurements.json").read_text()))


def label_at(image: Any, point: tuple[float, float, float]) -> int:
    """The label at a point of the thorax."""
    lps = np.asarray(point) + THORAX_CENTRE
    index = np.linalg.inv(image.affine) @ [-lps[0], -lps[1], lps[2], 1.0]
    i, j, k = np.rint(index[:3]).astype(int)
    return int(image.dataobj[i, j, k])


def test_labels_lie_where_the_lungs_lie(tmp_path: Path) -> None:
    _, found = measured(tmp_path, Options(**MIDDLE))
    image = nibabel.load(tmp_path / "lungs" / found["labels"]["file"])
    source = nibabel.load(tmp_path / "volume" / found["source"]["volume"])
    assert np.array_equal(image.affine, source.affine)
    assert image.shape == source.shape
    assert image.get_data_dtype() == np.uint8
    assert label_at(image, (-78.0, 5.0, 60.0)) == found["labels"]["right"] == 1
    assert label_at(image, (78.0, 5.0, 60.0)) == found["labels"]["left"] == 2
    halfway = tuple(np.mean([CARINA, RIGHT_HILUM], axis=0))
    for airway in ((2.0, 15.0, 80.0), CARINA, halfway):
        assert label_at(image, airway) == 0
    counts = np.bincount(np.asarray(image.dataobj).ravel(), minlength=3)
    assert counts[1] == found["lungs"]["right"]["voxels"]
    assert counts[2] == found["lungs"]["left"]["voxels"]


@pytest.mark.parametrize("axes", ["PIR", "ASL", "RSP"])
def test_sides_never_hang_on_array_axes(tmp_path: Path, axes: str) -> None:
    _, plain = measured(tmp_path, Options(**MIDDLE))
    path = tmp_path / "volume" / plain["source"]["volume"]
    image = nibabel.load(path)
    wanted = nibabel.orientations.axcodes2ornt(tuple(axes))
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(image.affine), wanted
    )
    nibabel.save(image.as_reoriented(turn), path)
    assert lungs.measure(tmp_path / "volume", tmp_path / "turned") == 0
    turned = json.loads((tmp_path / "turned" / "measurements.json").read_text())
    for side in ("right", "left"):
        for key in ("volume_ml", "mean_hu", "laa950_percent", "centroid_lps"):
            assert turned["lungs"][side][key] == pytest.approx(plain["lungs"][side][key], rel=1e-3)


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The code of the last log line."""
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    return str(last["code"])


def test_a_scan_without_lungs_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "dcm", Options(**MIDDLE, tissue=Tissue(lungs=False)))
    assert lungs.read(tmp_path / "dcm", tmp_path / "volume") == 0
    assert lungs.measure(tmp_path / "volume", tmp_path / "lungs") == 3
    assert refused(capsys) == "NO_LUNGS_FOUND"
    assert not (tmp_path / "lungs" / "measurements.json").exists()


def test_a_single_lung_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = measured(tmp_path, Options(**MIDDLE))
    path = tmp_path / "volume" / found["source"]["volume"]
    image, labels = nibabel.load(path), nibabel.load(tmp_path / "lungs" / "lungs.nii.gz")
    voxels = np.asarray(image.dataobj).copy()
    voxels[np.asarray(labels.dataobj) == 2] = 40
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine, image.header), path)
    assert lungs.measure(tmp_path / "volume", tmp_path / "again") == 3
    assert refused(capsys) == "ONE_LUNG_FOUND"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"modality": "MR"}, "NO_CT_VOLUME"),
        ({"status": "refused", "code": "MISSING_SLICES"}, "NO_CT_VOLUME"),
        ({"shape": [128, 128, 60, 2]}, "NO_CT_VOLUME"),
        ({"files": {"nifti": "../volume/x.nii.gz"}}, "VOLUME_UNREADABLE"),
        ({"files": {"nifti": "series.json"}}, "VOLUME_UNREADABLE"),
    ],
)
def test_what_is_no_ct_volume_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "dcm", Options(matrix=64, slices=24))
    assert lungs.read(tmp_path / "dcm", tmp_path / "volume") == 0
    listing = json.loads((tmp_path / "volume" / "series.json").read_text())
    listing["series"][0].update(change)
    (tmp_path / "volume" / "series.json").write_text(json.dumps(listing))
    assert lungs.measure(tmp_path / "volume", tmp_path / "lungs") == 3
    assert refused(capsys) == code


@pytest.mark.parametrize("text", [None, "", "[]", '{"series": 1}'])
def test_a_missing_series_list_is_refused_by_name(
    tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "series.json").write_text(text)
    assert lungs.measure(tmp_path, tmp_path / "lungs") == 3
    assert refused(capsys) == "NO_SERIES_LIST"


def test_of_several_volumes_the_one_with_most_slices_is_measured(tmp_path: Path) -> None:
    write_series(tmp_path / "dcm" / "few", Options(matrix=64, slices=24, study_uid="1.2.3"))
    many = write_series(tmp_path / "dcm" / "many", Options(matrix=64, slices=30, study_uid="1.2.3"))
    found = lungs.density(tmp_path / "dcm", tmp_path)
    assert found["source"]["series_instance_uid"] == many.series_uid


def test_lungs_cut_off_by_the_scan_are_warned_of(tmp_path: Path) -> None:
    _, found = measured(tmp_path, Options(matrix=96, slices=30, spacing=4.0))
    assert "LUNGS_AT_EDGE" in [warning["code"] for warning in found["warnings"]]


@pytest.mark.data
def test_real_chest_ct(tmp_path: Path, data: Path) -> None:
    with tarfile.open(data / "ct-chest-8mm" / "ct-thorax-8mm.tar.gz") as archive:
        archive.extractall(tmp_path / "dcm", filter="data")
    found = lungs.density(tmp_path / "dcm", tmp_path)
    right, left = (found["lungs"][side] for side in ("right", "left"))
    # The patient lies near x = 0; the heart takes room on the left, the tumour on the right.
    assert right["centroid_lps"][0] < -30
    assert left["centroid_lps"][0] > 30
    for lung in (right, left):
        assert 800 < lung["volume_ml"] < 4000
    assert -920 < found["lungs"]["total"]["mean_hu"] < -650
    assert -920 < right["mean_hu"] < -650
    assert -920 < left["mean_hu"] < -650


@pytest.mark.data
def test_a_head_is_no_chest(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(data / "ct-head-phantom-tilt" / "S2010-tilt-minus18.5.tar.gz") as archive:
        archive.extractall(tmp_path / "dcm", filter="data")
    assert lungs.read(tmp_path / "dcm", tmp_path / "volume") == 0
    assert lungs.measure(tmp_path / "volume", tmp_path / "lungs") == 3
    # This head is hollow, so its one big space of air may pass for one lung, never for two.
    assert refused(capsys) in {"NO_LUNGS_FOUND", "ONE_LUNG_FOUND"}
