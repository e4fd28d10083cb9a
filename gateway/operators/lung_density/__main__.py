"""The command of the lung-density operator; see the package for its contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from gateway.operators.lung_density.measure import LAA_HU, PERCENTILE, measure
from gateway.operators.lung_density.orientation import frame_of
from gateway.operators.lung_density.segment import AIR_HU, CLOSING_MM, Segmentation, segment
from gateway.operators.lung_density.separate import LEFT, RIGHT
from gateway.operators.lung_density.source import Source, load_source
from gateway.operators.lung_density.working import Labels
from gateway.operators.sdk import Context, InputRefusedError, run

ALGORITHM = {"name": "Gateway Lung Density", "version": "1.0.0"}
LABELS_FILE = "lungs.nii.gz"
MEASUREMENTS_FILE = "measurements.json"


def main(context: Context) -> None:
    """Segment and measure the input's CT volume; write labels, then measurements.

    Raises:
        InputRefusedError: the input holds no CT volume with two lungs, by name.
    """
    source = load_source(context.input())
    context.log.info("volume.chosen", series=source.series_uid, shape=list(source.voxels.shape))
    try:
        frame = frame_of(source.affine_lps)
    except ValueError as error:
        raise InputRefusedError("VOLUME_UNREADABLE", str(error)) from error
    found = segment(source.voxels, frame)
    lungs = measure(source.voxels, found.labels, frame.voxel_ml, source.affine_lps)
    warnings = _warnings(found, frame.turned(found.labels))
    for warning in warnings:
        context.log.warning("lungs.odd", **warning)
    output = context.output()
    output.mkdir(parents=True, exist_ok=True)
    _write_labels(output / LABELS_FILE, found.labels, source)
    record = _record(source, warnings, lungs)
    (output / MEASUREMENTS_FILE).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    context.log.info("lungs.measured", series=source.series_uid)


def _warnings(found: Segmentation, turned: Labels) -> list[dict[str, str]]:
    warnings = []
    if not found.airways_found:
        warnings.append(
            {
                "code": "NO_AIRWAYS_FOUND",
                "message": "no trachea was found; main bronchi may count as lung",
            }
        )
    if bool(turned[:, :, 0].any() or turned[:, :, -1].any()):
        warnings.append(
            {
                "code": "LUNGS_AT_EDGE",
                "message": "the lungs reach the first or last slice; the scan may cut them off",
            }
        )
    return warnings


def _record(
    source: Source, warnings: list[dict[str, str]], lungs: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    return {
        "version": 1,
        "algorithm": ALGORITHM,
        "source": {
            "study_instance_uid": source.study_uid,
            "series_instance_uid": source.series_uid,
            "frame_of_reference_uid": source.frame_of_reference_uid,
            "volume": source.file,
        },
        "labels": {"file": LABELS_FILE, "right": RIGHT, "left": LEFT},
        "parameters": {
            "air_hu": AIR_HU,
            "closing_mm": CLOSING_MM,
            "laa_hu": LAA_HU,
            "percentile": PERCENTILE,
        },
        "warnings": warnings,
        "lungs": lungs,
    }


def _write_labels(path: Path, labels: Labels, source: Source) -> None:
    """Write the label map with the source's own sform and qform."""
    header = source.image.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    image = nibabel.Nifti1Image(labels, source.image.affine, header)
    nibabel.save(image, path)


if __name__ == "__main__":
    raise SystemExit(run("lung-density", main, description="Measure the lungs of a chest CT."))
