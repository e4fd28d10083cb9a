"""The operators of multi-ai: every organ where it is, on its own side, whatever way one lies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from gateway.demo import abdomen
from gateway.demo.abdomen import Abdomen, AbdomenSeries, build_abdomen, write_abdomen
from gateway.demo.abdomen_anatomy import ORGANS
from gateway.operators.roi_generator import __main__ as roi_generator
from gateway.operators.sdk import run
from tests.support import lungs, organs
from tests.support.programs import program

SMALL = {"matrix": 112, "slices": 36}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[AbdomenSeries, Path]:
    """A phantom gone through all steps up to the merge; tests copy before they change."""
    work = tmp_path_factory.mktemp("case")
    series = write_abdomen(work / "dcm", Abdomen(**SMALL))
    organs.labelled(work / "dcm", work)
    return series, work


@pytest.mark.parametrize(("seed", "position"), [(2, "HFS"), (3, "FFS"), (4, "HFP"), (5, "FFP")])
def test_every_organ_is_found_on_its_side(tmp_path: Path, seed: int, position: str) -> None:
    series = write_abdomen(tmp_path / "dcm", Abdomen(**SMALL, seed=seed, position=position))
    found = organs.labelled(tmp_path / "dcm", tmp_path)
    scores = organs.dice(series, organs.label_map(tmp_path))
    assert min(scores.values()) >= 0.9, scores
    assert found["missing"] == []
    assert organs.write(tmp_path / "dcm", tmp_path, tmp_path / "out") == 0
    (file,) = (tmp_path / "out").rglob("*.dcm")
    labels = organs.seg_labels(dcmread(file), series)
    written = organs.overlaps(series.labels, labels)
    assert written == pytest.approx(scores)
    for organ in ("spleen", "right-kidney", "left-kidney"):
        assert organs.wrong_side(series, labels, organ) == 0.0
    for segment in found["segments"]:
        truth = series.volumes_ml[segment["organ"]]
        assert segment["volume_ml"] == pytest.approx(truth, rel=0.08)


@pytest.mark.parametrize("missing", [("spleen",), ("right-kidney", "left-kidney")])
def test_an_organ_that_is_not_there_is_told_and_not_invented(
    tmp_path: Path, missing: tuple[str, ...]
) -> None:
    series = write_abdomen(tmp_path / "dcm", Abdomen(**SMALL, seed=6, missing=missing))
    found = organs.labelled(tmp_path / "dcm", tmp_path)
    assert {gone["organ"] for gone in found["missing"]} == set(missing)
    assert {gone["code"] for gone in found["missing"]} == {"NOT_FOUND"}
    codes = [warning["code"] for warning in found["warnings"]]
    assert codes.count("ORGAN_NOT_FOUND") == len(missing)
    assert organs.write(tmp_path / "dcm", tmp_path, tmp_path / "out") == 0
    (file,) = (tmp_path / "out").rglob("*.dcm")
    seg = dcmread(file)
    assert [int(s.SegmentNumber) for s in seg.SegmentSequence] == list(range(1, 5 - len(missing)))
    assert seg.ContentDescription == f"Not found: {', '.join(missing)}"
    scores = organs.overlaps(series.labels, organs.seg_labels(seg, series))
    assert all(score >= 0.9 for organ, score in scores.items() if organ not in missing), scores


def test_the_written_segmentation_keeps_patient_and_study(
    case: tuple[AbdomenSeries, Path], tmp_path: Path
) -> None:
    series, work = case
    assert organs.write(work / "dcm", work, tmp_path) == 0
    (file,) = tmp_path.rglob("*.dcm")
    seg, source = dcmread(file), dcmread(series.files[0])
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
        assert seg[keyword].value == source[keyword].value
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert (seg.Modality, seg.SegmentationType, seg.BodyPartExamined) == (
        "SEG", "BINARY", "ABDOMEN"
    )  # fmt: skip
    assert [s.SegmentLabel for s in seg.SegmentSequence] == [
        "Liver", "Spleen", "Right kidney", "Left kidney"
    ]  # fmt: skip
    assert {s.SegmentAlgorithmType for s in seg.SegmentSequence} == {"AUTOMATIC"}
    referenced = {
        i.ReferencedSOPInstanceUID
        for s in seg.ReferencedSeriesSequence
        for i in s.ReferencedInstanceSequence
    }
    assert referenced <= {dcmread(f).SOPInstanceUID for f in series.files}


@pytest.mark.peers
def test_dciodvfy_finds_no_error(case: tuple[AbdomenSeries, Path], tmp_path: Path) -> None:
    _, work = case
    assert organs.write(work / "dcm", work, tmp_path) == 0
    (file,) = tmp_path.rglob("*.dcm")
    assert lungs.dciodvfy_errors(program("dciodvfy"), file) == []


def test_provenance_names_each_step(case: tuple[AbdomenSeries, Path]) -> None:
    series, work = case
    found = organs.record(work)
    assert found["source"]["series_instance_uid"] == series.series_uid
    for segment in found["segments"]:
        organ, told = segment["organ"], segment["provenance"]
        mask = json.loads((work / "mask" / organ / "mask.json").read_text())
        assert told["stage"] == f"{organ}-segmentation"
        assert told["sha256"] == mask["sha256"]
        assert told["parameters"]["least_ml"] > 0
        assert told["algorithm"]["version"] == "1.0.0"
    labels = organs.label_map(work)
    counts = np.bincount(np.asarray(labels.dataobj).ravel(), minlength=5)
    assert [s["voxels"] for s in found["segments"]] == list(counts[1:])


@pytest.mark.parametrize("axes", ["PIR", "RSP"])
def test_sides_never_hang_on_array_axes(
    case: tuple[AbdomenSeries, Path], tmp_path: Path, axes: str
) -> None:
    _, work = case
    shutil.copytree(work / "volume", tmp_path / "volume")
    (path,) = (tmp_path / "volume").glob("*.nii.gz")
    image = nibabel.load(path)
    wanted = nibabel.orientations.axcodes2ornt(tuple(axes))
    own = nibabel.orientations.io_orientation(image.affine)
    turn = nibabel.orientations.ornt_transform(own, wanted)
    nibabel.save(image.as_reoriented(turn), path)
    assert organs.split(tmp_path) == 0
    for organ in ORGANS:
        assert organs.segment(tmp_path, organ) == 0
    assert organs.merge(tmp_path) == 0
    plain, turned = organs.record(work), organs.record(tmp_path)
    for one, other in zip(plain["segments"], turned["segments"], strict=True):
        assert one["organ"] == other["organ"]
        assert one["volume_ml"] == pytest.approx(other["volume_ml"], rel=0.01)
        assert np.allclose(one["centroid_lps"], other["centroid_lps"], atol=1.0)


def test_contested_voxels_go_to_the_nearer_density_and_are_told(
    case: tuple[AbdomenSeries, Path], tmp_path: Path
) -> None:
    _, work = case
    copied(work, tmp_path)
    # A liver that claims the right kidney too: the kidney's voxels stay its own.
    liver, kidney = (tmp_path / "mask" / o for o in ("liver", "right-kidney"))
    edit_mask(liver, kidney)
    assert organs.merge(tmp_path) == 0
    found = {s["organ"]: s for s in organs.record(tmp_path)["segments"]}
    before = {s["organ"]: s for s in organs.record(work)["segments"]}
    assert found["right-kidney"]["provenance"]["overlap_voxels"] > 100
    assert found["right-kidney"]["voxels"] > 0.95 * before["right-kidney"]["voxels"]
    assert "OVERLAP" in [w["code"] for w in organs.record(tmp_path)["warnings"]]


def copied(work: Path, target: Path) -> None:
    for name in ("volume", "roi", "mask"):
        shutil.copytree(work / name, target / name)


def edit_mask(folder: Path, other: Path) -> None:
    """Let the mask in `folder` hold the one in `other`, too."""
    import hashlib

    told, more = (json.loads((f / "mask.json").read_text()) for f in (folder, other))
    image, extra = nibabel.load(folder / "mask.nii.gz"), nibabel.load(other / "mask.nii.gz")
    whole = np.zeros(told["shape"], dtype=np.uint8)
    for record, mask in ((told, image), (more, extra)):
        place = tuple(slice(*span) for span in record["box"])
        whole[place] |= np.asarray(mask.dataobj)
    place = tuple(slice(*span) for span in told["box"])
    nibabel.save(
        nibabel.Nifti1Image(whole[place], image.affine, image.header), folder / "mask.nii.gz"
    )
    told["sha256"] = hashlib.sha256((folder / "mask.nii.gz").read_bytes()).hexdigest()
    (folder / "mask.json").write_text(json.dumps(told))


def other_series(work: Path) -> None:
    path = work / "mask" / "spleen" / "mask.json"
    told = json.loads(path.read_text())
    told["source"]["series_instance_uid"] = "1.2.3"
    path.write_text(json.dumps(told))


def other_place(work: Path) -> None:
    path = work / "mask" / "spleen" / "mask.json"
    told = json.loads(path.read_text())
    told["box"][0] = [value - 1 for value in told["box"][0]]
    path.write_text(json.dumps(told))


def swapped(work: Path) -> None:
    one, other = work / "mask" / "left-kidney", work / "mask" / "right-kidney"
    one.rename(work / "x")
    other.rename(one)
    (work / "x").rename(other)


def other_bytes(work: Path) -> None:
    shutil.copy(work / "mask" / "liver" / "mask.nii.gz", work / "mask" / "spleen" / "mask.nii.gz")


def no_config(work: Path) -> None:
    (work / "roi" / "config" / "rois.json").unlink()


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (other_series, "SOURCE_DIFFERS"),
        (other_place, "GEOMETRY_MISMATCH"),
        (swapped, "NO_MASK"),
        (other_bytes, "NO_MASK"),
        (no_config, "NO_CONFIG"),
    ],
)
def test_masks_that_do_not_belong_together_are_refused(
    case: tuple[AbdomenSeries, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    code: str,
) -> None:
    copied(case[1], tmp_path)
    damage(tmp_path)
    assert organs.merge(tmp_path) == 3
    assert refusal(capsys) == code
    assert not (tmp_path / "labels").exists()


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The code of the last log line."""
    return str(json.loads(capsys.readouterr().err.splitlines()[-1])["code"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"number": 9}, "BAD_LABELS"),
        ({"label": "x" * 65}, "BAD_LABELS"),
        ({"type": {"value": "1", "scheme": "SCT"}}, "BAD_LABELS"),
        ({"category": None}, "BAD_LABELS"),
    ],
)
def test_a_label_map_that_dicom_cannot_hold_is_refused(
    case: tuple[AbdomenSeries, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    code: str,
) -> None:
    _, work = case
    shutil.copytree(work / "labels", tmp_path / "labels")
    shutil.copytree(work / "volume", tmp_path / "volume")
    path = tmp_path / "labels" / "labels.json"
    told = json.loads(path.read_text())
    told["segments"][1].update(change)
    path.write_text(json.dumps(told))
    assert organs.write(work / "dcm", tmp_path, tmp_path / "out") == 3
    assert refusal(capsys) == code


def test_a_volume_without_a_patient_is_refused(
    case: tuple[AbdomenSeries, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(case[1] / "volume", tmp_path / "volume")
    (path,) = (tmp_path / "volume").glob("*.nii.gz")
    image = nibabel.load(path)
    empty = np.full(image.shape, -1000, dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(empty, image.affine, image.header), path)
    assert organs.split(tmp_path) == 3
    assert refusal(capsys) == "NO_BODY_FOUND"


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--output", "pancreas:out"], "UNKNOWN_ORGAN"),
        (["--operation", "glue", "--output", "liver:out"], "UNKNOWN_OPERATION"),
    ],
)
def test_wrong_use_is_named(
    case: tuple[AbdomenSeries, Path],
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    code: str,
) -> None:
    argv = ["--input", str(case[1] / "volume"), *argv]
    options = roi_generator._options
    assert run("roi", roi_generator.main, options=options, argv=argv, environ={}) == 2
    assert refusal(capsys) == code


def test_the_phantom_is_one_patient_per_seed(tmp_path: Path) -> None:
    one = write_abdomen(tmp_path / "a", Abdomen(matrix=64, slices=12))
    same = write_abdomen(tmp_path / "b", Abdomen(matrix=64, slices=12))
    other = write_abdomen(tmp_path / "c", Abdomen(matrix=64, slices=12, seed=2))
    assert [p.read_bytes() for p in one.files] == [p.read_bytes() for p in same.files]
    assert one.series_uid != other.series_uid
    assert one.volumes_ml != other.volumes_ml
    first = dcmread(one.files[0])
    assert (first.BodyPartExamined, first.PatientID) == ("ABDOMEN", "PHANTOM-2")
    with pytest.raises(ValueError, match="pancreas"):
        build_abdomen(Abdomen(missing=("pancreas",)))


def test_the_phantoms_command_tells_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "truth.nii.gz"
    arguments = [str(tmp_path), "--matrix", "64", "--slices", "12", "--labels", str(labels)]
    assert abdomen.main([*arguments, "--missing", "spleen"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["volumes_ml"]["spleen"] == 0.0
    assert 1200 < told["volumes_ml"]["liver"] < 2200
    assert set(np.unique(np.asarray(nibabel.load(labels).dataobj))) == {0, 1, 3, 4}


@pytest.mark.prove
def test_prove_organs_of_twenty_patients(tmp_path: Path) -> None:
    """Many seeds, grids, noises and positions; the worst Dice is printed."""
    random = np.random.default_rng(20)
    worst: dict[str, float] = dict.fromkeys(ORGANS, 1.0)
    for seed in range(100, 120):
        options = Abdomen(
            matrix=int(random.integers(128, 256)),
            slices=int(random.integers(30, 80)),
            noise_hu=float(random.uniform(5, 25)),
            position=str(random.choice(["HFS", "FFS", "HFP", "FFP"])),
            seed=seed,
        )
        series = write_abdomen(tmp_path / "dcm", options)
        organs.labelled(tmp_path / "dcm", tmp_path)
        for organ, score in organs.dice(series, organs.label_map(tmp_path)).items():
            worst[organ] = min(worst[organ], score)
        for folder in tmp_path.iterdir():
            shutil.rmtree(folder)
    print("worst Dice of 20 patients:", {o: round(v, 3) for o, v in worst.items()})  # noqa: T201
    assert min(worst.values()) >= 0.9
