"""A DICOM Segmentation (PS3.3 A.51) as one label map with names and colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt

from gateway.operators.sdk import InputRefusedError
from gateway.render.making.colours import palette
from gateway.render.making.grid import RAS_OF_LPS, Grid, Segment

MOST_SEGMENTS = 255
"""Most segments of one object; the browser keeps a table of colours for each."""
_HALF = 0.5


def read_segmentation(folder: Path, most_bytes: int) -> Grid:
    """The label map of the one file in ``folder``.

    Voxels are segment numbers.  Where segments overlap the one with the highest number is seen;
    a fractional segment counts from one half on.  Raises InputRefusedError.
    """
    (path,) = sorted(folder.iterdir())
    found = highdicom.seg.segread(path)
    count = int(found.number_of_segments)
    if count > MOST_SEGMENTS:
        raise InputRefusedError("TOO_MANY_SEGMENTS", f"{count} segments, {MOST_SEGMENTS} at most")
    geometry = found.get_volume_geometry()
    if geometry is None:
        raise InputRefusedError("NO_VOLUME", "the segments do not lie on a regular grid")
    voxels = int(np.prod(geometry.spatial_shape))
    if voxels > most_bytes:
        raise InputRefusedError("TOO_LARGE", f"{voxels} voxels, {most_bytes} at most")
    labels, affine = _labels(found)
    # highdicom: slices, rows, columns; the affine of the same order.
    turned = affine[:, [2, 1, 0, 3]]
    segments = tuple(_segment(found, number) for number in found.segment_numbers)
    return Grid(labels, RAS_OF_LPS @ turned, "SEG", segments)


def _labels(found: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    if str(found.SegmentationType) != "FRACTIONAL":
        volume = found.get_volume(combine_segments=True, skip_overlap_checks=True, dtype=np.uint8)
        return np.ascontiguousarray(volume.array), np.asarray(volume.affine, dtype=np.float64)
    labels: npt.NDArray[np.uint8] | None = None
    affine = np.eye(4)
    for number in found.segment_numbers:
        part = found.get_volume(segment_numbers=[number], rescale_fractional=True)
        inside = np.asarray(part.array)[..., 0] >= _HALF
        if labels is None:
            labels, affine = np.zeros(inside.shape, np.uint8), np.asarray(part.affine)
        labels[inside] = number
    if labels is None:
        raise InputRefusedError("NO_VOLUME", "there is no segment")
    return labels, affine


def _segment(found: Any, number: int) -> Segment:
    described = found.get_segment_description(number)
    colour = palette(number)
    value = described.get("RecommendedDisplayCIELabValue")
    if value is not None:
        red, green, blue = highdicom.color.CIELabColor.from_dicom_value(tuple(value)).to_rgb()
        colour = f"#{red:02x}{green:02x}{blue:02x}"
    kind = described.get("SegmentedPropertyTypeCodeSequence")
    meaning = str(kind[0].get("CodeMeaning", "")) if kind else ""
    label = str(described.get("SegmentLabel") or meaning or f"Segment {number}")
    return Segment(int(number), label[:64], colour, meaning[:64])
