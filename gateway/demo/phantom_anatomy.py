"""The chest of the phantom: shapes in patient coordinates, sampled on any CT grid.

Every shape is given in millimetres relative to the thorax centre along the patient's own axes
(LPS: +x left, +y posterior, +z head, PS3.3 C.7.6.2.1.1), so the anatomy stays the same whatever
way the patient lies on the table. Only two things follow gravity instead: the table, and the
density gradient of the lungs.

What is in it: body with a fat layer, ribs, spine, heart, two lungs of different size, diaphragm
domes, trachea, main and lobar bronchi with walls, vessels that taper from the hila, spherical
emphysema, gas in the stomach, and tongues of both lungs that meet in front of the heart (the
anterior junction) with a wall as thin as asked.

**What counts as lung** (labels `RIGHT` = 1, `LEFT` = 2): the space inside the pleura with its
vessels and lobar bronchi, without trachea and main bronchi (lumen and wall).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float64]

RIGHT: Final = 1
LEFT: Final = 2

AIR_HU: Final = -1000.0
FAT_HU: Final = -95.0
SOFT_HU: Final = 40.0
HEART_HU: Final = 45.0
BONE_HU: Final = 320.0
TABLE_SKIN_HU: Final = -60.0
TABLE_CORE_HU: Final = -930.0
PARENCHYMA_HU: Final = -862.0
EMPHYSEMA_HU: Final = -985.0
GRAVITY_HU_PER_MM: Final = 0.2


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid: centre and half axes in millimetres (LPS, thorax centre = origin)."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]

    def contains(self, x: Floats, y: Floats, z: Floats) -> npt.NDArray[np.bool_]:
        """Say which points lie inside; x, y, z broadcast against each other."""
        parts = [
            ((value - centre) / axis) ** 2
            for value, centre, axis in zip((x, y, z), self.centre, self.axes, strict=True)
        ]
        inside: npt.NDArray[np.bool_] = parts[0] + (parts[1] + parts[2]) <= 1.0
        return inside


@dataclass(frozen=True)
class Tube:
    """A rod with round ends between two points; `wall` > 0 adds a soft wall outside `radius`."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float
    wall: float = 0.0


@dataclass(frozen=True)
class Grid:
    """A CT grid: position of voxel (slice k, row i, column j) is `origin + k·s + i·c + j·r`.

    `origin`, `slice_step`, `row_step` (from row to row) and `column_step` (from column to column)
    are millimetres relative to the thorax centre, LPS. `column_step` must lie along x.
    `up` is +1 where posterior points at the table (supine), else -1 (prone).
    """

    shape: tuple[int, int, int]
    origin: Vector
    slice_step: Vector
    row_step: Vector
    column_step: Vector
    up: int = 1

    def voxel_volume_ml(self) -> float:
        """Give the volume of one voxel in millilitres, also for a sheared (tilted) grid."""
        matrix = np.stack([self.slice_step, self.row_step, self.column_step])
        return abs(float(np.linalg.det(matrix))) / 1000.0

    def slice_coordinates(self, index: int) -> tuple[Floats, Floats, Floats]:
        """Give x as (1, columns) and y, z as (rows, 1) of one slice."""
        _, rows, columns = self.shape
        first = self.origin + index * self.slice_step
        i = np.arange(rows)[:, None]
        j = np.arange(columns)[None, :]
        x = first[0] + j * self.column_step[0]
        y = first[1] + i * self.row_step[1]
        z = first[2] + i * self.row_step[2]
        return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)

    def box(self, low: Vector, high: Vector) -> tuple[slice, slice, slice] | None:
        """Give the smallest index box that holds a coordinate box; None if it misses the grid."""
        matrix = np.linalg.inv(np.stack([self.slice_step, self.row_step, self.column_step], axis=1))
        corners = np.array(
            [
                [x, y, z]
                for x in (low[0], high[0])
                for y in (low[1], high[1])
                for z in (low[2], high[2])
            ]
        )
        indices = (corners - self.origin) @ matrix.T
        lower = np.maximum(np.floor(indices.min(axis=0)).astype(int), 0)
        upper = np.minimum(np.ceil(indices.max(axis=0)).astype(int) + 1, self.shape)
        if bool((lower >= upper).any()):
            return None
        k, i, j = (slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))
        return k, i, j

    def coordinates(self, box: tuple[slice, slice, slice]) -> tuple[Floats, Floats, Floats]:
        """Give x, y, z of an index box, each broadcastable to its shape."""
        k = np.arange(box[0].start, box[0].stop)[:, None, None]
        i = np.arange(box[1].start, box[1].stop)[None, :, None]
        j = np.arange(box[2].start, box[2].stop)[None, None, :]
        x = self.origin[0] + j * self.column_step[0]
        y = self.origin[1] + k * self.slice_step[1] + i * self.row_step[1]
        z = self.origin[2] + k * self.slice_step[2] + i * self.row_step[2]
        return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)


BODY_AXES: Final = (175.0, 115.0)
RIB_AXES: Final = (160.0, 106.0)
TABLE_TOP: Final = 118.0
TABLE_BOTTOM: Final = 142.0
HEART: Final = Ellipsoid((18.0, -25.0, -40.0), (50.0, 42.0, 55.0))
STOMACH_GAS: Final = Ellipsoid((58.0, -2.0, -105.0), (18.0, 18.0, 18.0))
LUNG: Final = {
    RIGHT: Ellipsoid((-78.0, 5.0, 0.0), (62.0, 82.0, 135.0)),
    LEFT: Ellipsoid((78.0, 5.0, 0.0), (58.0, 78.0, 130.0)),
}
TONGUE: Final = {
    RIGHT: Ellipsoid((-25.0, -62.0, 42.0), (30.0, 16.0, 45.0)),
    LEFT: Ellipsoid((25.0, -62.0, 42.0), (30.0, 16.0, 45.0)),
}
DOME: Final = {
    RIGHT: Ellipsoid((-78.0, 5.0, -150.0), (75.0, 95.0, 85.0)),
    LEFT: Ellipsoid((78.0, 5.0, -158.0), (75.0, 95.0, 83.0)),
}
CARINA: Final = (2.0, 15.0, 30.0)
RIGHT_HILUM: Final = (-40.0, 18.0, 5.0)
LEFT_HILUM: Final = (48.0, 20.0, 0.0)
LARGE_AIRWAYS: Final = (
    Tube((2.0, 15.0, 400.0), CARINA, 8.5, 1.5),
    Tube(CARINA, RIGHT_HILUM, 6.5, 1.5),
    Tube(CARINA, LEFT_HILUM, 6.0, 1.5),
)
LOBAR_AIRWAYS: Final = (
    Tube(RIGHT_HILUM, (-64.0, 6.0, 32.0), 3.8, 1.0),
    Tube(RIGHT_HILUM, (-60.0, 30.0, -24.0), 3.8, 1.0),
    Tube(LEFT_HILUM, (70.0, 6.0, 28.0), 3.6, 1.0),
    Tube(LEFT_HILUM, (68.0, 32.0, -26.0), 3.6, 1.0),
)


def lung_of(side: int, x: Floats, y: Floats, z: Floats, junction: float) -> npt.NDArray[np.bool_]:
    """Say which points lie inside the pleura of one side (airways not yet taken out)."""
    inside = LUNG[side].contains(x, y, z) | TONGUE[side].contains(x, y, z)
    inside &= ~DOME[side].contains(x, y, z)
    inside &= ~HEART.contains(x, y, z)
    return inside & ((x < -junction / 2) if side == RIGHT else (x > junction / 2))


def lung_volume_mm3(side: int, junction: float, step: float = 3.0) -> float:
    """Count the pleural space of one side on a grid of its own, so it depends on no CT grid."""
    axis = np.arange(-160.0, 160.0, step, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    return float(np.count_nonzero(lung_of(side, x, y, z, junction))) * step**3


def emphysema(side: int, fraction: float, junction: float, seed: int) -> list[Ellipsoid]:
    """Place spheres of emphysema, apart from each other, up to `fraction` of the lung's volume.

    Deterministic per side and seed; spheres that stay apart fill at most about 0.18 of a lung.
    """
    random = np.random.default_rng([seed, side, 1])
    wanted = fraction * lung_volume_mm3(side, junction)
    lung = LUNG[side]
    centres = np.empty((0, 3))
    radii = np.empty(0)
    spheres: list[Ellipsoid] = []
    filled = 0.0
    for _ in range(20000):
        if filled >= wanted:
            break
        radius = float(random.uniform(3.5, 8.0))
        centre = np.asarray(lung.centre) + random.uniform(-1, 1, 3) * (
            np.asarray(lung.axes) - radius
        )
        if not _free(side, centre, radius, junction):
            continue
        if bool((np.linalg.norm(centres - centre, axis=1) < radii + radius + 1.0).any()):
            continue
        centres, radii = np.vstack([centres, centre]), np.append(radii, radius)
        spheres.append(Ellipsoid((*map(float, centre),), (radius,) * 3))  # type: ignore[arg-type]
        filled += 4 / 3 * math.pi * radius**3
    return spheres


def _free(side: int, centre: Vector, radius: float, junction: float) -> bool:
    """Say whether a sphere lies wholly inside the pleura, judged by its six poles and centre."""
    offsets = np.vstack([np.zeros(3), np.eye(3), -np.eye(3)]) * (radius + 1.0)
    points = (centre + offsets).astype(np.float32)
    return bool(lung_of(side, points[:, 0], points[:, 1], points[:, 2], junction).all())


def vessels(side: int, seed: int) -> list[Tube]:
    """Grow a tree of vessels out of the hilum of one side: 6 stems, each branching thrice."""
    random = np.random.default_rng([seed, side, 2])
    hilum = np.add(RIGHT_HILUM if side == RIGHT else LEFT_HILUM, (0.0, -6.0, 6.0))
    outward = np.array([-1.0, 0.0, 0.0]) if side == RIGHT else np.array([1.0, 0.0, 0.0])
    tubes: list[Tube] = []
    front = [(hilum, _turn(random, outward, 1.1)) for _ in range(6)]
    for radius, length, children in ((3.6, 32.0, 3), (2.3, 28.0, 3), (1.4, 24.0, 0)):
        following = []
        for start, direction in front:
            end = start + direction * length
            tubes.append(Tube((*map(float, start),), (*map(float, end),), radius))  # type: ignore[arg-type]
            following += [(end, _turn(random, direction, 0.7)) for _ in range(children)]
        front = following
    return tubes


def _turn(random: np.random.Generator, direction: Vector, spread: float) -> Vector:
    """Bend a unit vector at random."""
    bent = direction + random.normal(0.0, spread, 3)
    return np.asarray(bent / np.linalg.norm(bent), dtype=np.float64)


def tube_distance(tube: Tube, x: Floats, y: Floats, z: Floats) -> Floats:
    """Give the distance of points from the tube's centre line in millimetres."""
    start, end = np.asarray(tube.start), np.asarray(tube.end)
    axis = end - start
    length2 = float(axis @ axis)
    dx, dy, dz = (v - np.float32(s) for v, s in zip((x, y, z), start, strict=True))
    along = (
        dx * np.float32(axis[0]) + dy * np.float32(axis[1]) + dz * np.float32(axis[2])
    ) / length2
    along = np.clip(along, 0.0, 1.0)
    squared = (
        (dx - along * np.float32(axis[0])) ** 2
        + (dy - along * np.float32(axis[1])) ** 2
        + (dz - along * np.float32(axis[2])) ** 2
    )
    return np.asarray(np.sqrt(squared), dtype=np.float32)
