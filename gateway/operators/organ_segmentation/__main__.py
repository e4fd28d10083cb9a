"""The command of the organ-segmentation operator; see the package for its contract."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError

from gateway.operators.lung_density.orientation import Frame, frame_of
from gateway.operators.organ_segmentation.models import MODELS, Model
from gateway.operators.organ_segmentation.segment import Found, Ranges, segment
from gateway.operators.sdk import Context, InputRefusedError, run

ALGORITHM: Final = {"name": "Gateway Organ Segmentation", "version": "1.0.0"}
ROI_FILE: Final = "roi.json"
VOLUME_FILE: Final = "roi.nii.gz"
MASK_FILE: Final = "mask.nii.gz"
RECORD_FILE: Final = "mask.json"
JSON_LIMIT: Final = 2**20


def main(context: Context) -> None:
    """Segment the organ of the input's region; write the mask, then its record.

    Raises:
        InputRefusedError: the input is no region of an organ that is known, by name.
    """
    folder = context.input()
    region = _region(folder)
    organ = str(region["organ"])
    model = MODELS.get(organ)
    if model is None:
        raise InputRefusedError("UNKNOWN_ORGAN", f"no organ of {', '.join(MODELS)} is asked for")
    image, voxels = _voxels(folder)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(image.affine, dtype=np.float64)
    try:
        frame = frame_of(affine)
        where = _where(region, frame, model)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputRefusedError("NO_ROI", "roi.json is not complete") from error
    found = segment(voxels, frame, model, where)
    output = context.output()
    output.mkdir(parents=True, exist_ok=True)
    header = image.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    nibabel.save(nibabel.Nifti1Image(found.mask, image.affine, header), output / MASK_FILE)
    record = _record(context, region, model, found, output / MASK_FILE)
    (output / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    context.log.info("organ.segmented", organ=organ, found=record["found"], code=found.code)


def _region(folder: Path) -> dict[str, Any]:
    path = folder / ROI_FILE
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise InputRefusedError("NO_ROI", f"{ROI_FILE} is too big")
        region = json.loads(path.read_bytes())
        return {**region, "organ": region["organ"], "source": dict(region["source"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputRefusedError("NO_ROI", f"the input holds no {ROI_FILE} of ours") from error


def _voxels(folder: Path) -> tuple[Any, Any]:
    try:
        image = nibabel.load(folder / VOLUME_FILE)
        voxels = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise InputRefusedError(
            "ROI_UNREADABLE", f"the region is no NIfTI ({type(error).__name__})"
        ) from error
    if voxels.ndim != 3 or min(voxels.shape) < 2:
        raise InputRefusedError("ROI_UNREADABLE", f"the region's shape is {voxels.shape}")
    return image, voxels


def _where(region: dict[str, Any], frame: Frame, model: Model) -> Ranges:
    """Turn the core's place from fractions of the trunk into fractions of the region."""
    spans = []
    for axis, wanted in ((0, model.across), (1, model.deep)):
        array_axis = frame.order[axis]
        low, high = (int(value) for value in region["box"][array_axis])
        first, last = (int(value) for value in region["body"][array_axis])
        size, length = last - first, high - low
        if frame.flips[axis]:
            start, begin = high, last
            values = [(start - (begin - w * size)) / length for w in wanted]
        else:
            values = [(first + w * size - low) / length for w in wanted]
        spans.append((values[0], values[1]))
    return spans[0], spans[1]


def _record(
    context: Context, region: dict[str, Any], model: Model, found: Found, path: Path
) -> dict[str, Any]:
    mask = found.mask
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1])
    return {
        "version": 1,
        "organ": region["organ"],
        "stage": context.stage_name,
        "found": found.code is None,
        "code": found.code,
        "message": found.message,
        "algorithm": ALGORITHM,
        "parameters": model.record(),
        "measured": {"core_hu": None if found.core_hu is None else round(found.core_hu, 1)},
        "source": region["source"],
        "box": region["box"],
        "shape": region["shape"],
        "file": MASK_FILE,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "voxels": int(np.count_nonzero(mask)),
        "at_edge": any(bool(edge.any()) for edge in edges),
    }


if __name__ == "__main__":
    raise SystemExit(
        run("organ-segmentation", main, description="Find one organ in its region of a CT.")
    )
