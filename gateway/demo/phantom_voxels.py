"""Turns the phantom's anatomy into voxels of a CT grid, with the truth counted beside it.

Order of painting: air, table, body, bones, heart, lungs, emphysema, lobar bronchi, vessels, large
airways, stomach gas; then the in-plane blur of the scanner and its noise.

**Truth** is counted on the voxels as written (blurred, noisy, rounded to whole HU) inside the
lung labels of `phantom_anatomy`: it is what a perfect segmentation would measure, neither more
nor less. Noise (12 HU) lies far from the gap between parenchyma (-862 HU), the -950 HU threshold
and emphysema (-985 HU), so LAA-950 barely depends on the seed of the noise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gateway.demo import phantom_anatomy as anatomy
from gateway.demo.phantom_anatomy import LEFT, RIGHT, Floats, Grid, Labels


@dataclass(frozen=True)
class LungTruth:
    """What is true of one lung (or both): volume in ml, densities in HU, LAA-950 in percent."""

    voxels: int
    volume_ml: float
    mean_hu: float
    laa950_percent: float
    perc15_hu: float


@dataclass(frozen=True)
class Voxels:
    """A sampled phantom: `hu` int16 and `labels` uint8, both (slices, rows, columns)."""

    hu: npt.NDArray[np.int16]
    labels: Labels
    grid: Grid

    def truth(self) -> dict[str, LungTruth]:
        """Count the truth of `right`, `left` and `total`."""
        masks = {
            "right": self.labels == RIGHT,
            "left": self.labels == LEFT,
            "total": self.labels > 0,
        }
        return {name: self._count(self.hu[mask]) for name, mask in masks.items()}

    def _count(self, values: npt.NDArray[np.int16]) -> LungTruth:
        if values.size == 0:
            return LungTruth(0, 0.0, 0.0, 0.0, 0.0)
        return LungTruth(
            voxels=int(values.size),
            volume_ml=float(values.size * self.grid.voxel_volume_ml()),
            mean_hu=float(values.mean(dtype=np.float64)),
            laa950_percent=float(np.count_nonzero(values < -950) / values.size * 100),
            perc15_hu=float(np.percentile(values, 15)),
        )


def truth_record(truth: dict[str, LungTruth]) -> dict[str, Any]:
    """Turn a truth into plain JSON values."""
    return {name: asdict(value) for name, value in truth.items()}


@dataclass(frozen=True)
class Tissue:
    """What fills the chest: emphysema as fraction of each lung, junction wall and blur in mm."""

    emphysema_right: float = 0.12
    emphysema_left: float = 0.05
    junction_mm: float = 1.0
    blur_mm: float = 0.6
    noise_hu: float = 12.0
    seed: int = 1
    lungs: bool = True


def sample(grid: Grid, tissue: Tissue) -> Voxels:
    """Paint the phantom on a grid; deterministic for equal arguments."""
    hu = np.empty(grid.shape, dtype=np.float32)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for index in range(grid.shape[0]):
        _paint_slice(grid, tissue, index, hu[index], labels[index])
    if tissue.lungs:
        _paint_inside_lungs(grid, tissue, hu, labels)
    _paint_large_airways(grid, hu, labels)
    paint(grid, anatomy.STOMACH_GAS, anatomy.AIR_HU, hu)
    return Voxels(scan(grid, tissue, hu), labels, grid)


def _paint_slice(grid: Grid, tissue: Tissue, index: int, hu: Floats, labels: Labels) -> None:
    """Paint what needs no list of objects: table, body, bones, heart, parenchyma."""
    x, y, z = grid.slice_coordinates(index)
    hu[:] = anatomy.AIR_HU
    paint_table(grid, x, y, hu)
    body = (x / anatomy.BODY_AXES[0]) ** 2 + (y / anatomy.BODY_AXES[1]) ** 2
    hu[body <= 1.0] = anatomy.FAT_HU
    hu[body <= 0.93**2] = anatomy.SOFT_HU
    shell = (x / anatomy.RIB_AXES[0]) ** 2 + (y / anatomy.RIB_AXES[1]) ** 2
    ribs = (shell > 0.985**2) & (shell < 1.03**2) & (np.mod(z + 0.35 * y, 26.0) < 10.0)
    hu[ribs] = anatomy.BONE_HU
    spine = x**2 + (y - 78.0) ** 2 <= 19.0**2
    hu[spine] = np.broadcast_to(np.where(np.mod(z, 26.0) < 20.0, 220.0, 80.0), hu.shape)[spine]
    hu[anatomy.HEART.contains(x, y, z)] = anatomy.HEART_HU
    if not tissue.lungs:
        return
    parenchyma = anatomy.PARENCHYMA_HU + grid.up * anatomy.GRAVITY_HU_PER_MM * y
    for side in (RIGHT, LEFT):
        inside = anatomy.lung_of(side, x, y, z, tissue.junction_mm)
        labels[inside] = side
        hu[inside] = np.broadcast_to(parenchyma, hu.shape)[inside]


def paint_table(grid: Grid, x: Floats, y: Floats, hu: Floats) -> None:
    """Lay the table under the patient, whichever side of the patient that is."""
    depth = grid.up * y
    slab = (depth > anatomy.TABLE_TOP) & (depth < anatomy.TABLE_BOTTOM) & (np.abs(x) < 205.0)
    core = slab & (depth > anatomy.TABLE_TOP + 3) & (depth < anatomy.TABLE_BOTTOM - 3)
    hu[slab] = anatomy.TABLE_SKIN_HU
    hu[core] = anatomy.TABLE_CORE_HU


def _paint_inside_lungs(grid: Grid, tissue: Tissue, hu: Floats, labels: Labels) -> None:
    """Put emphysema, lobar bronchi and vessels into the lungs; their labels stay lung."""
    fractions = {RIGHT: tissue.emphysema_right, LEFT: tissue.emphysema_left}
    for side, fraction in fractions.items():
        for sphere in anatomy.emphysema(side, fraction, tissue.junction_mm, tissue.seed):
            paint(grid, sphere, anatomy.EMPHYSEMA_HU, hu)
    for lobar in anatomy.LOBAR_AIRWAYS:
        _paint_tube(grid, lobar, hu, labels, within=True)
    for side in fractions:
        for vessel in anatomy.vessels(side, tissue.seed):
            _paint_tube(grid, vessel, hu, labels, within=True)


def _paint_large_airways(grid: Grid, hu: Floats, labels: Labels) -> None:
    """Paint trachea and main bronchi: all walls first, so that no wall closes a junction."""
    for tube in anatomy.LARGE_AIRWAYS:
        _paint_tube(grid, tube, hu, labels, within=False)
    lobar = anatomy.LOBAR_AIRWAYS if labels.any() else ()
    for tube in anatomy.LARGE_AIRWAYS + lobar:
        _fill(grid, tube, hu)


def paint(grid: Grid, shape: anatomy.Ellipsoid, value: float, hu: Floats) -> None:
    """Fill an ellipsoid with one value."""
    centre, axes = np.asarray(shape.centre), np.asarray(shape.axes)
    box = grid.box(centre - axes, centre + axes)
    if box is not None:
        hu[box][shape.contains(*grid.coordinates(box))] = value


def _paint_tube(
    grid: Grid, tube: anatomy.Tube, hu: Floats, labels: Labels, *, within: bool
) -> None:
    """Paint a tube: `within` = only inside lung and still lung, else it takes the label away."""
    box = tube_box(grid, tube, tube.radius + tube.wall)
    if box is None:
        return
    distance = anatomy.tube_distance(tube, *grid.coordinates(box))
    outer = distance <= tube.radius + tube.wall
    if within:
        outer &= labels[box] > 0
    else:
        labels[box][outer] = 0
    hu[box][outer] = anatomy.SOFT_HU
    if tube.wall:
        hu[box][outer & (distance <= tube.radius)] = anatomy.AIR_HU


def _fill(grid: Grid, tube: anatomy.Tube, hu: Floats) -> None:
    """Fill the lumen of a tube with air."""
    box = tube_box(grid, tube, tube.radius)
    if box is not None:
        distance = anatomy.tube_distance(tube, *grid.coordinates(box))
        hu[box][distance <= tube.radius] = anatomy.AIR_HU


def tube_box(grid: Grid, tube: anatomy.Tube, reach: float) -> tuple[slice, slice, slice] | None:
    """Give the index box around a tube."""
    points = np.array([tube.start, tube.end])
    return grid.box(points.min(axis=0) - reach, points.max(axis=0) + reach)


def scan(grid: Grid, tissue: Tissue, hu: Floats) -> npt.NDArray[np.int16]:
    """Blur in plane, add noise, round, and clip to what twelve stored bits hold."""
    random = np.random.default_rng([tissue.seed, 3])
    spacing = abs(float(grid.column_step[0]))
    result = np.empty(grid.shape, dtype=np.int16)
    for index in range(grid.shape[0]):
        plane = ndimage.gaussian_filter(hu[index], tissue.blur_mm / spacing, truncate=3.0)
        plane += tissue.noise_hu * random.standard_normal(plane.shape, dtype=np.float32)
        result[index] = np.clip(np.rint(plane), -1024, 3071)
    return result
