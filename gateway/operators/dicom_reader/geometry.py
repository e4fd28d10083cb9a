"""Put the frames of a series in order along the slice normal and find their one affine.

Order comes from positions only: instance numbers may run either way or be reused. What does not
make one evenly spaced stack is refused by its own name, never repaired. Tolerances are those below;
within them the affine is exact to the tolerance at every slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.frames import Frame
from gateway.operators.dicom_reader.volumes import split_volumes

Array = npt.NDArray[np.float64]

SAME_DIRECTION = 5e-4
"""Largest difference of two direction cosines that are still one orientation."""
SAME_PLACE = 0.01
"""Distance along the normal (mm) within which two frames are at one position."""
MOST_DRIFT = 0.1
"""Sideways drift over the whole stack (mm) above which a volume counts as tilted."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames in order, `frames[volume][slice]`, with the affine of index (i, j, k) to mm in LPS."""

    frames: tuple[tuple[Frame, ...], ...]
    affine: Array
    tilt_degrees: float

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Return the length in mm of one step along i, j and k."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @property
    def direction(self) -> Array:
        """Return the unit vectors of i, j, k as columns; orthonormal if there is no tilt."""
        unit: Array = self.affine[:3, :3] / np.array(self.spacing)
        return unit


def arrange(frames: list[Frame], least: int, declared_volumes: int) -> Stack:
    """Order frames into one stack, or several volumes on one stack.

    `least` is how many frames a series needs; `declared_volumes` the Number of Temporal Positions,
    0 if unknown.

    Raises:
        InputRefusedError: a geometric name of `SeriesRefusal`.
    """
    if len(frames) < max(least, 2):
        raise refused(
            SeriesRefusal.TOO_FEW_SLICES,
            f"{len(frames)} images, a volume needs at least {max(least, 2)}",
        )
    axes = _axes(frames)
    places = _places(frames, axes[2])
    if len(places) < 2:
        raise refused(SeriesRefusal.TOO_FEW_SLICES, "all images lie at one position")
    volumes = split_volumes(places, declared_volumes)
    points = np.array([frame.position for frame in volumes[0]])
    step = _step(points, axes[2])
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * frames[0].spacing[0]
    affine[:3, 1] = axes[1] * frames[0].spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = points[0]
    return Stack(volumes, affine, _tilt(step, axes[2], len(points)))


def _axes(frames: list[Frame]) -> Array:
    """Return the unit vectors of columns, rows and normal that all frames share."""
    first = frames[0]
    orientations = np.array([frame.orientation for frame in frames])
    spacings = np.array([frame.spacing for frame in frames])
    positions = np.array([frame.position for frame in frames])
    if not all(np.isfinite(values).all() for values in (orientations, spacings, positions)):
        raise refused(SeriesRefusal.NO_GEOMETRY, "a position, orientation or spacing is no number")
    if np.abs(orientations - orientations[0]).max() > SAME_DIRECTION:
        raise refused(
            SeriesRefusal.MIXED_ORIENTATION, f"{_kinds(orientations)} orientations in one series"
        )
    if (spacings <= 0).any():
        raise refused(SeriesRefusal.NO_GEOMETRY, "the pixel spacing is not positive")
    if np.abs(spacings / spacings[0] - 1).max() > 1e-4:
        raise refused(SeriesRefusal.MIXED_SPACING, "pixel spacing differs within the series")
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    if np.abs([row @ row - 1, column @ column - 1, row @ column]).max() > 2e-3:
        raise refused(SeriesRefusal.BAD_ORIENTATION, "the direction cosines are not orthonormal")
    row, column = row / np.linalg.norm(row), column / np.linalg.norm(column)
    normal = np.cross(row, column)
    return np.array([row, column, normal / np.linalg.norm(normal)])


def _kinds(orientations: Array) -> int:
    return len(np.unique(np.round(orientations, 3), axis=0))


def _places(frames: list[Frame], normal: Array) -> list[list[Frame]]:
    """Group frames by position along the normal, in its direction."""
    depths = np.array([frame.position for frame in frames]) @ normal
    places: list[list[Frame]] = []
    start = -np.inf
    for index in np.argsort(depths, kind="stable"):
        if depths[index] - start > SAME_PLACE:
            places.append([])
            start = depths[index]
        places[-1].append(frames[index])
    return places


def _step(points: Array, normal: Array) -> Array:
    """Return the vector from one slice to the next.

    Raises:
        InputRefusedError: MISSING_SLICES, UNEVEN_SPACING, SLICES_OUT_OF_LINE.
    """
    gaps = np.diff(points @ normal)
    step: Array = (points[-1] - points[0]) / (len(points) - 1)
    away = points - points[0] - np.outer(np.arange(len(points)), step)
    along = away @ normal
    allowed = _allowed(float(step @ normal))
    if np.abs(along).max() > allowed:
        raise _uneven(gaps)
    if np.linalg.norm(away - np.outer(along, normal), axis=1).max() > allowed:
        raise refused(SeriesRefusal.SLICES_OUT_OF_LINE, "the slices do not lie along one line")
    return step


def _allowed(step: float) -> float:
    """Return how far (mm) a slice may lie from its place on the grid."""
    return min(0.1, max(0.01, 0.05 * step))


def _uneven(gaps: Array) -> Exception:
    """Tell missing slices (gaps that are multiples of the usual one) from uneven spacing."""
    values, counts = np.unique(np.round(gaps, 2), return_counts=True)
    usual = float(values[np.argmax(counts)]) or float(np.median(gaps))
    multiples = gaps / usual
    whole = np.round(multiples)
    if (whole >= 1).all() and (whole > 1).any() and np.abs(multiples - whole).max() <= 0.1:
        missing = int((whole - 1).sum())
        where = int(np.argmax(whole > 1))
        return refused(
            SeriesRefusal.MISSING_SLICES,
            f"{missing} slices are missing at {int((whole > 1).sum())} places, "
            f"the first after slice {where + 1}; slices are {usual:.2f} mm apart",
        )
    return refused(
        SeriesRefusal.UNEVEN_SPACING,
        f"slices are between {gaps.min():.3f} and {gaps.max():.3f} mm apart",
    )


def _tilt(step: Array, normal: Array, count: int) -> float:
    """Return the angle of the step against the normal in degrees, 0 for what is only rounding."""
    along = float(step @ normal)
    sideways = float(np.linalg.norm(step - along * normal))
    if sideways * (count - 1) <= MOST_DRIFT:
        return 0.0
    return float(np.degrees(np.arctan2(sideways, along)))
