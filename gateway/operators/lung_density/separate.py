"""Tells the left lung from the right, also where the two touch.

Sides come from patient coordinates (axis 0 runs to the patient's left). Lungs that hang together
(the anterior junction line is thinner than a voxel in many patients) are cut by a watershed over
their density, flooded from the cores of both lungs: a junction line that is only faintly brighter
than lung holds back the flood. Where nothing is seen of it, a low ridge along the body's middle
decides.
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
LONE_LUNG_ML: Final = 300.0
LUNG_HU: Final = (-985.0, -450.0)
MIDDLE_RIDGE_HU: Final = 60.0
MIDDLE_RIDGE_MM: Final = 8.0
RELIEF_STEP_HU: Final = 8.0
AIR_LIMIT_HU: Final = -400.0
CENTRAL_MM: Final = 70.0
NEAR_MIDDLE_MM: Final = 10.0
CORES_MM: Final = (1.5, 3.0, 4.5, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0)


def separate(working: Working, air: Mask, middle: float) -> Labels:
    """Label right (1) and left (2) lung in a mask of air inside the body without airways.

    `middle` is the body's middle as an index of axis 0.

    Raises:
        InputRefusedError: NO_LUNGS_FOUND or ONE_LUNG_FOUND.
    """
    components, count = ndimage.label(air)
    major = _major_components(working, components, count)
    lungs = np.isin(components, major)
    if len(major) > 1:
        labels = _by_side(components, major, middle)
    else:
        labels = _split(working, lungs, middle) if major else None
    if labels is None:
        raise _refusal(np.count_nonzero(lungs) * working.voxel_mm3 / 1000.0)
    return labels


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


def _by_side(components: Labels, major: list[int], middle: float) -> Labels | None:
    """Label components by the side of the patient on which their centroids lie; None = one side."""
    labels = np.zeros(components.shape, dtype=np.uint8)
    for index in major:
        part = components == index
        profile = part.sum(axis=(1, 2))
        x = float(np.average(np.arange(profile.size), weights=profile))
        labels[part] = LEFT if x > middle else RIGHT
    return labels if bool((labels == RIGHT).any() and (labels == LEFT).any()) else None


def _split(working: Working, lungs: Mask, middle: float) -> Labels | None:
    """Cut one component into right and left along the junction line, or else the middle.

    Only what lies within 70 mm of the middle is in question. None = there are no two lungs in it.
    """
    labels = np.zeros(lungs.shape, dtype=np.uint8)
    across = np.asarray((np.arange(lungs.shape[0]) - middle) * working.spacing[0], dtype=np.float64)
    labels[lungs & (across > 0)[:, None, None]] = LEFT
    labels[lungs & (across < 0)[:, None, None]] = RIGHT
    central = lungs & (np.abs(across) <= CENTRAL_MM)[:, None, None]
    if not central.any():
        return None
    box = bounding_box(central, (0, 0, 0))
    hu, away = working.hu[box], across[box[0]]
    clear = lungs[box] & (hu < CLEAR_LUNG_HU)
    distance = ndimage.distance_transform_edt(clear, sampling=working.spacing).astype(np.float32)
    markers = _cores(distance, away)
    if markers is None:
        return None
    flooded = sitk.MorphologicalWatershedFromMarkers(
        sitk.GetImageFromArray(_relief(hu, away)),
        sitk.GetImageFromArray(markers),
        markWatershedLine=False,
        fullyConnected=False,
    )
    labels[box] = np.where(lungs[box], sitk.GetArrayFromImage(flooded), 0)
    return labels


def _relief(hu: Distances, away: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    """Give what the flood must climb: density, smooth along the junction line but not across it.

    In few levels, for the flood runs level by level.
    """
    smooth = ndimage.gaussian_filter(hu, sigma=(0.0, 0.8, 0.8))
    ridge = MIDDLE_RIDGE_HU * np.exp(-0.5 * (away / MIDDLE_RIDGE_MM) ** 2)
    relief = np.clip(smooth, -1000.0, AIR_LIMIT_HU) + ridge[:, None, None]
    return np.asarray(np.rint(relief / RELIEF_STEP_HU), dtype=np.int16)


def _cores(distance: Distances, away: npt.NDArray[np.float64]) -> Labels | None:
    """Find the cores of both lungs: the first depth at which they fall apart, one on each side.

    `away` is each index's distance from the middle, negative to the right. Near the middle and
    beyond it nothing is core: what lies there may hang on the other lung by a wider bridge.
    """
    for depth in CORES_MM:
        components, count = ndimage.label(distance > depth)
        if count < 2:
            continue
        sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
        first, second = np.argsort(sizes)[::-1][:2] + 1
        if sizes[second - 1] < SECOND_LUNG * sizes[first - 1]:
            continue
        markers = np.zeros(distance.shape, dtype=np.uint8)
        markers[(components == first) | (components == second)] = RIGHT
        one, other = (_mean_away(components == index, away) for index in (first, second))
        if one * other >= 0:
            continue
        markers[components == (first if one > 0 else second)] = LEFT
        markers[(markers == RIGHT) & (away > -NEAR_MIDDLE_MM)[:, None, None]] = 0
        markers[(markers == LEFT) & (away < NEAR_MIDDLE_MM)[:, None, None]] = 0
        return markers
    return None


def _mean_away(part: Mask, away: npt.NDArray[np.float64]) -> float:
    """Give how far to the left of the middle a part lies on average, in mm."""
    return float(np.average(away, weights=part.sum(axis=(1, 2))))


def _refusal(found_ml: float) -> InputRefusedError:
    """Say what is missing: a second lung, or any (cavities of a head are no lung)."""
    if found_ml >= LONE_LUNG_ML:
        return InputRefusedError(
            "ONE_LUNG_FOUND", "only one lung was found; left and right cannot be reported apart"
        )
    return InputRefusedError(
        "NO_LUNGS_FOUND", "no air-filled lungs were found in the volume (is it a chest CT?)"
    )
