"""Finds the lungs in a chest CT: which voxel is right lung, left lung, or neither.

1. Air is below -400 HU. Air that touches the image's edge within its slice is outside the body
   (also under and inside the table, and down an open mouth).
2. Trachea and main bronchi with their walls go out (`airways`).
3. What is left is told into right and left (`separate`).
4. Vessels come back in: each lung is closed with a ball of 5 mm, so vessels up to about 10 mm
   across count as lung, the great vessels of the hila do not; enclosed holes (nodules, vessels
   in cross-section) are filled.
5. The border is drawn on the volume's own voxels at -400 HU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import SimpleITK as sitk  # noqa: N813 -- the name everybody knows it by
from scipy import ndimage

from gateway.operators.lung_density.airways import find_airways
from gateway.operators.lung_density.orientation import Frame, Volume
from gateway.operators.lung_density.separate import LEFT, RIGHT, separate
from gateway.operators.lung_density.working import (
    Labels,
    Mask,
    Working,
    bounding_box,
    make_working,
)

AIR_HU: Final = -400.0
CLOSING_MM: Final = 5.0


@dataclass(frozen=True)
class Segmentation:
    """Labels on the file's own axes (0 none, 1 right, 2 left) and what was noticed on the way."""

    labels: Labels
    airways_found: bool


def segment(volume: Volume, frame: Frame) -> Segmentation:
    """Label both lungs of a volume in HU.

    Raises:
        InputRefusedError: NO_LUNGS_FOUND or ONE_LUNG_FOUND.
    """
    turned = frame.turned(volume)
    working = make_working(turned, frame)
    air = working.hu < AIR_HU
    body = _remove_outside(air)
    middle = _middle_of(body)
    airways = find_airways(working, air, middle)
    if airways is not None:
        air &= ~airways
    blocked = ~body if airways is None else ~body | airways
    lungs = separate(working, air, middle)
    solid = _closed(working, lungs, blocked)
    labels = np.zeros(volume.shape, dtype=np.uint8)
    _draw(turned, working, lungs, solid, blocked, frame.turned(labels))
    return Segmentation(labels, airways is not None)


def _remove_outside(air: Mask) -> Mask:
    """Take the air outside the body out of `air`, in place; return what is not outside."""
    body = np.ones(air.shape, dtype=np.bool_)
    for z in range(air.shape[2]):
        components, _ = ndimage.label(air[:, :, z])
        edge = (components[0], components[-1], components[:, 0], components[:, -1])
        names = np.unique(np.concatenate(edge))
        outside = np.isin(components, names[names > 0])
        air[:, :, z] &= ~outside
        body[:, :, z] = ~outside
    return body


def _middle_of(body: Mask) -> float:
    """Give the body's middle along the left-right axis, as an index of axis 0."""
    profile = np.asarray(body.sum(axis=(1, 2)), dtype=np.float64)
    if not profile.any():
        return (profile.size - 1) / 2
    return float(np.average(np.arange(profile.size), weights=profile))


def _closed(working: Working, lungs: Labels, blocked: Mask) -> Labels:
    """Close each lung over its vessels and fill its holes, clear of airways and the other."""
    result = lungs.copy()
    radius = [
        max(1, int(CLOSING_MM / s + 0.3)) if s < 2 * CLOSING_MM else 0 for s in working.spacing
    ]
    margin = (radius[0] + 1, radius[1] + 1, radius[2] + 1)
    for side in (RIGHT, LEFT):
        own = lungs == side
        box = bounding_box(own, margin)
        closed = _close_ball(own[box], radius)
        free = (result[box] == 0) & ~blocked[box]
        result[box][closed & free] = side
    return result


def _close_ball(mask: Mask, radius: list[int]) -> Mask:
    """Close a mask with a ball, then fill its holes."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).astype(np.uint8))
    image = sitk.BinaryMorphologicalClosing(image, radius[::-1], sitk.sitkBall, 1.0, True)
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryFillhole(image)), dtype=np.bool_)


def _draw(
    turned: Volume, working: Working, lungs: Labels, solid: Labels, blocked: Mask, out: Labels
) -> None:
    """Draw the lungs on the full grid: solid inside, at the threshold along the border."""
    reach = _one_further(solid, blocked) if max(working.factors) > 1 else lungs
    inside = np.zeros(solid.shape, dtype=np.uint8)
    for side in (RIGHT, LEFT):
        inside[ndimage.binary_erosion(solid == side, border_value=1)] = side
    for z in range(turned.shape[2]):
        near = working.upsampled(reach, turned.shape, z)
        core = working.upsampled(inside, turned.shape, z)
        air = turned[:, :, z] < AIR_HU
        out[:, :, z] = np.where(core > 0, core, np.where(air, near, 0))


def _one_further(labels: Labels, blocked: Mask) -> Labels:
    """Let labels grow by one working voxel into free space, so no border voxel is missed."""
    grown = ndimage.grey_dilation(labels, footprint=ndimage.generate_binary_structure(3, 1))
    return np.where((labels == 0) & ~blocked, grown, labels).astype(np.uint8)
