"""Cuts the region of each organ out of the volume."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel
import numpy as np

from gateway.operators.lung_density.orientation import Frame, frame_of
from gateway.operators.lung_density.source import Source, load_source
from gateway.operators.roi_generator.atlas import ATLAS, Entry
from gateway.operators.roi_generator.body import Trunk, find_trunk
from gateway.operators.sdk import Context, InputRefusedError, Mount, UsageError

CONFIG: Final = "config"
CONFIG_FILE: Final = "rois.json"
ROI_FILE: Final = "roi.json"
VOLUME_FILE: Final = "roi.nii.gz"
Box = list[list[int]]


@dataclass(frozen=True)
class _Case:
    source: Source
    frame: Frame
    trunk: Trunk


def split(context: Context) -> None:
    """Write a region into every output named as an organ, and the list of them into `config`.

    Raises:
        InputRefusedError: the input holds no CT volume of a trunk, by name.
        UsageError: UNKNOWN_ORGAN, an output is neither `config` nor of the atlas.
    """
    outputs = [mount for mount in context.outputs if mount.name.lower() != CONFIG]
    entries = [_entry(mount) for mount in outputs]
    source = load_source(context.input())
    context.log.info("volume.chosen", series=source.series_uid, shape=list(source.voxels.shape))
    try:
        frame = frame_of(source.affine_lps)
    except ValueError as error:
        raise InputRefusedError("VOLUME_UNREADABLE", str(error)) from error
    trunk = find_trunk(frame.turned(source.voxels), frame.spacing)
    case = _Case(source, frame, trunk)
    regions = []
    for mount, entry in zip(outputs, entries, strict=True):
        region = _region(case, entry)
        _write_region(mount.path, case, region)
        regions.append(region)
        context.log.info("roi.written", organ=entry.name, box=region["box"])
    if any(mount.name.lower() == CONFIG for mount in context.outputs):
        folder = next(m.path for m in context.outputs if m.name.lower() == CONFIG)
        _write_json(folder / CONFIG_FILE, {"version": 1, "rois": regions})


def _entry(mount: Mount) -> Entry:
    entry = ATLAS.get(mount.name.lower())
    if entry is None:
        known = ", ".join(ATLAS)
        raise UsageError("UNKNOWN_ORGAN", f"the output {mount.name!r} is none of {known}, {CONFIG}")
    return entry


def _region(case: _Case, entry: Entry) -> dict[str, Any]:
    """Describe the region of an organ; its box is in the file's own index order."""
    source, frame, trunk = case.source, case.frame, case.trunk
    ranges = (trunk.part(entry.across, "across"), trunk.part(entry.deep, "deep"), trunk.along)
    return {
        "version": 1,
        "organ": entry.name,
        "source": {
            "study_instance_uid": source.study_uid,
            "series_instance_uid": source.series_uid,
            "frame_of_reference_uid": source.frame_of_reference_uid,
            "volume": source.file,
        },
        "box": _file_box(frame, ranges, source.voxels.shape),
        "shape": list(source.voxels.shape),
        "body": _file_box(frame, (trunk.across, trunk.deep, trunk.along), source.voxels.shape),
    }


def _file_box(
    frame: Frame, ranges: tuple[tuple[int, int], ...], shape: tuple[int, ...]
) -> list[list[int]]:
    """Turn index ranges of the patient's axes into those of the file."""
    box: Box = [[0, 0], [0, 0], [0, 0]]
    for axis, (low, high) in enumerate(ranges):
        array_axis = frame.order[axis]
        length = shape[array_axis]
        turned = (length - high, length - low) if frame.flips[axis] else (low, high)
        box[array_axis] = [max(0, turned[0]), min(length, turned[1])]
    return box


def _write_region(folder: Path, case: _Case, region: dict[str, Any]) -> None:
    """Write the voxels of a region, with an affine that leaves them where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    image = case.source.image
    lows = [low for low, _ in region["box"]]
    part = case.source.voxels[tuple(slice(low, high) for low, high in region["box"])]
    affine = np.asarray(image.affine, dtype=np.float64).copy()
    affine[:3, 3] = (affine @ [*lows, 1.0])[:3]
    header = image.header.copy()
    cut = nibabel.Nifti1Image(np.ascontiguousarray(part), affine, header)
    cut.header.set_slope_inter(1, 0)
    nibabel.save(cut, folder / VOLUME_FILE)
    _write_json(folder / ROI_FILE, region)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
