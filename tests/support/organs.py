"""Runs the operators of multi-ai on a folder, in this process, and measures what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from pydicom.dataset import Dataset

from gateway.demo.abdomen import AbdomenSeries
from gateway.demo.abdomen_anatomy import ORGANS
from gateway.operators.dicom_writer import __main__ as dicom_writer
from gateway.operators.organ_segmentation import __main__ as organ_segmentation
from gateway.operators.roi_generator import __main__ as roi_generator
from gateway.operators.sdk import run
from tests.support import lungs

CODES = {
    ("10200004",): "liver",
    ("78961009",): "spleen",
    ("64033007", "24028007"): "right-kidney",
    ("64033007", "7771000"): "left-kidney",
}
JOB = {"NVIDIA_CLARA_JOBID": "0123456789abcdef0123456789abcdef"}


def split(work: Path) -> int:
    """Run roi-generator on what the reader left in `work/volume`; its exit code."""
    argv = ["--input", str(work / "volume")]
    for name in (*ORGANS, "config"):
        argv += ["--output", f"{name}:{work / 'roi' / name}"]
    return run("roi", roi_generator.main, options=roi_generator._options, argv=argv, environ={})


def segment(work: Path, organ: str) -> int:
    """Run organ-segmentation on one region; its exit code."""
    argv = ["--input", str(work / "roi" / organ), "--output", str(work / "mask" / organ)]
    stage = {"NVIDIA_CLARA_STAGENAME": f"{organ}-segmentation"}
    return run("organ", organ_segmentation.main, argv=argv, environ=stage)


def merge(work: Path) -> int:
    """Run roi-generator's merge; its exit code."""
    argv = ["--input", f"config:{work / 'roi' / 'config'}", "--input", f"volume:{work / 'volume'}"]
    for organ in ORGANS:
        argv += ["--input", f"{organ}:{work / 'mask' / organ}"]
    argv += ["--output", str(work / "labels")]
    told = {"ROI_OPERATION": "merge"}
    return run("roi", roi_generator.main, options=roi_generator._options, argv=argv, environ=told)


def write(source: Path, work: Path, target: Path) -> int:
    """Run dicom-writer on the merged labels; its exit code."""
    argv = ["--output", str(target)]
    for name, path in (("dcm", source), ("labels", work / "labels"), ("volume", work / "volume")):
        argv += ["--input", f"{name}:{path}"]
    return run("dicom-writer", dicom_writer.main, argv=argv, environ=JOB)


def labelled(source: Path, work: Path) -> dict[str, Any]:
    """Read, split, segment and merge a folder; what labels.json says."""
    assert lungs.read(source, work / "volume") == 0
    assert split(work) == 0
    for organ in ORGANS:
        assert segment(work, organ) == 0
    assert merge(work) == 0
    return record(work)


def record(work: Path) -> dict[str, Any]:
    """What labels.json of a folder says."""
    found: dict[str, Any] = json.loads((work / "labels" / "labels.json").read_text())
    return found


def dice(series: AbdomenSeries, image: Any) -> dict[str, float]:
    """Overlap of a label map (NIfTI) with the truth, in the patient's own coordinates."""
    found = np.asarray(image.dataobj)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(image.affine)
    truth = series.labels.transpose(2, 1, 0)
    # Both are grids of the same voxels; only the order of slices may differ.
    turn = np.linalg.inv(series.affine_lps) @ affine
    if turn[2, 2] < 0:
        truth = truth[:, :, ::-1]
        turn = np.diag([1.0, 1.0, -1.0, 1.0]) @ turn
        turn[2, 3] += truth.shape[2] - 1
    assert np.allclose(turn, np.eye(4), atol=0.02), turn
    return overlaps(truth, found)


def overlaps(truth: Any, found: Any) -> dict[str, float]:
    """Dice coefficient of each organ of two label arrays on one grid."""
    scores = {}
    for name, number in ORGANS.items():
        one, other = truth == number, found == number
        both = int(np.count_nonzero(one & other))
        scores[name] = 2 * both / max(1, int(np.count_nonzero(one) + np.count_nonzero(other)))
    return scores


def label_map(work: Path) -> Any:
    """The merged label map of a folder."""
    return nibabel.load(work / "labels" / "labels.nii.gz")


def seg_labels(seg: Dataset, series: AbdomenSeries) -> Any:
    """The labels of a SEG on the grid of the phantom, found by its frames' own positions.

    Segments are told by their codes, not by their numbers.
    """
    numbers = {int(s.SegmentNumber): ORGANS[_organ(s)] for s in seg.SegmentSequence}
    labels = np.zeros_like(series.labels)
    across = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    row, column = np.split(np.asarray(across.ImageOrientationPatient, dtype=float), 2)
    affine = series.affine_lps
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    assert np.allclose(row, unit[:, 0], atol=1e-4)
    assert np.allclose(column, unit[:, 1], atol=1e-4)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for pixels, frame in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        place = np.asarray(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        index = np.linalg.inv(affine) @ [*place, 1.0]
        assert np.allclose(index[:2], 0, atol=0.02), index
        assert abs(index[2] - round(index[2])) < 0.02, index
        number = int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        plane = labels[round(index[2])]
        assert not plane[pixels > 0].any(), "segments overlap"
        plane[pixels > 0] = numbers[number]
    return labels


def _organ(segment: Dataset) -> str:
    """The organ of a segment by type and laterality (SNOMED CT)."""
    (category,) = segment.SegmentedPropertyCategoryCodeSequence
    (kind,) = segment.SegmentedPropertyTypeCodeSequence
    assert (category.CodeValue, category.CodingSchemeDesignator) == ("123037004", "SCT")
    sides = [m.CodeValue for m in kind.get("SegmentedPropertyTypeModifierCodeSequence", [])]
    return CODES[(kind.CodeValue, *sides)]


def wrong_side(series: AbdomenSeries, found: Any, organ: str) -> float:
    """Share of an organ's voxels that lie on the other side of the body than it does."""
    index = np.argwhere(found == ORGANS[organ])
    x = (series.affine_lps @ [index[:, 2], index[:, 1], index[:, 0], np.ones(len(index))])[0]
    middle = (series.affine_lps @ [(found.shape[2] - 1) / 2, 0, 0, 1])[0]
    left = organ in {"spleen", "left-kidney"}
    return float(np.mean(x < middle if left else x > middle))
