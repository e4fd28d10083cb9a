"""Tells the left lung from the right, also where the two touch.

Sides come from patient coordinates (axis 0 runs to the patient's left). Lungs that hang together
(the anterior junction line is thinner than a voxel in many patients) are cut where the bridge
between them is narrowest: a watershed from the cores of both lungs over the distance to what is
not clear lung, so that a junction line which is only faintly brighter still draws the cut.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 -- the name everybody knows it by
from scipy import ndimage

from gateway.operators.lung_density.working import Labels, Mask, Working, bounding_box
from gateway.operators.sdk import InputRefusedError

Distances = npt.NDArray[np.float32]

RIGHT: Final = 1
LEFT: Final = 2
CLEAR_LUNG_HU: Final = -650.0
SECOND_LUNG: Final = 0.15
SMALLEST_LUNG_ML: Final = 60.0
LUNG_HU: Final = (-985.0, -450.0)
CORES_MM: Final = (1.5, 3.0, 4.5, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0)


def separate(working: Working, air: Mask) -> Labels:
    """Label right (1) and left (2) lung in a mask of air inside the body without airways.

    Raises:
        InputRefusedError: NO_LUNGS_FOUND or ONE_LUNG_FOUND.
    """
    components, count = ndimage.label(air)
    major = _major_components(working, components, count)
    if not major:
        raise InputRefusedError(
            "NO_LUNGS_FOUND", "no air-filled lung was found in the volume (is it a chest CT?)"
        )
    if len(major) == 1:
        return _split(working, components == major[0])
    return _by_side(components, major)


def _major_components(working: Working, components: Labels, count: int) -> list[int]:
    """Name the components that are big enough and of a lung's density, the largest first."""
    if count == 0:
        return []
    indices = np.arange(1, count + 1)
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    big = indices[sizes * working.voxel_mm3 / 1000.0 >= SMALLEST_LUNG_ML]
    means = ndimage.mean(working.hu, components, big)
    lungs = [int(i) for i, m in zip(big, means, strict=True) if LUNG_HU[0] < m < LUNG_HU[1]]
    lungs.sort(key=lambda i: -int(sizes[i - 1]))
    return [i for i in lungs if sizes[i - 1] >= SECOND_LUNG * sizes[lungs[0] - 1]]


def _by_side(components: Labels, major: list[int]) -> Labels:
    """Label separate components by the side of the patient on which their centroids lie."""
    lungs = np.isin(components, major)
    middle = _middle(lungs)
    labels = np.zeros(lungs.shape, dtype=np.uint8)
    for index in major:
        part = components == index
        x = float(np.mean(np.flatnonzero(part.any(axis=(1, 2)))))
        labels[part] = LEFT if x > middle else RIGHT
    if not ((labels == RIGHT).any() and (labels == LEFT).any()):
        raise _one_lung()
    return labels


def _middle(lungs: Mask) -> float:
    """Give the middle of the lungs' extent along the patient's left-right axis, as an index."""
    hit = np.flatnonzero(lungs.any(axis=(1, 2)))
    return (float(hit[0]) + float(hit[-1])) / 2


def _split(working: Working, lungs: Mask) -> Labels:
    """Cut one component into right and left where it is narrowest."""
    box = bounding_box(lungs, (1, 1, 1))
    clear = lungs[box] & (working.hu[box] < CLEAR_LUNG_HU)
    distance = ndimage.distance_transform_edt(clear, sampling=working.spacing).astype(np.float32)
    markers = _cores(distance, _middle(lungs[box]))
    if markers is None:
        raise _one_lung()
    relief = sitk.GetImageFromArray(-distance)
    flooded = sitk.MorphologicalWatershedFromMarkers(
        relief, sitk.GetImageFromArray(markers), markWatershedLine=False, fullyConnected=False
    )
    labels = np.zeros(lungs.shape, dtype=np.uint8)
    labels[box] = np.where(lungs[box], sitk.GetArrayFromImage(flooded), 0)
    return labels


def _cores(distance: Distances, middle: float) -> Labels | None:
    """Find the cores of both lungs: the first depth at which they fall apart, one on each side."""
    for depth in CORES_MM:
        components, count = ndimage.label(distance > depth)
        if count < 2:
            continue
        sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
        first, second = np.argsort(sizes)[::-1][:2] + 1
        if sizes[second - 1] < SECOND_LUNG * sizes[first - 1]:
            continue
        centres = ndimage.center_of_mass(distance > depth, components, [first, second])
        if (centres[0][0] - middle) * (centres[1][0] - middle) >= 0:
            continue
        right, left = (first, second) if centres[0][0] < centres[1][0] else (second, first)
        markers = np.zeros(distance.shape, dtype=np.uint8)
        markers[components == right] = RIGHT
        markers[components == left] = LEFT
        return markers
    return None


def _one_lung() -> InputRefusedError:
    return InputRefusedError(
        "ONE_LUNG_FOUND", "only one lung was found; left and right cannot be reported apart"
    )
