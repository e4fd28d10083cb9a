"""Turns the abdomen's anatomy into voxels of a CT grid, with its labels beside it.

Order of painting: air, table, body, wall, ribs, spine, lungs and diaphragm, muscles, bowel, liver,
spleen, pancreas, stomach, gallbladder, vessels, kidneys; then the scanner's blur and noise. What is
painted later takes the label away from what lay there, so labels never overlap.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gateway.demo import abdomen_anatomy as anatomy
from gateway.demo import phantom_anatomy
from gateway.demo.abdomen_anatomy import Organ, Patient, grown
from gateway.demo.phantom_anatomy import Ellipsoid, Floats, Grid, Labels, Tube
from gateway.demo.phantom_voxels import Tissue, Voxels, paint_table, scan, tube_box

Box = tuple[slice, slice, slice]
Mask = npt.NDArray[np.bool_]
Where = Callable[[Box], Mask]
"""Says which voxels of an index box may be painted."""


def sample_abdomen(grid: Grid, tissue: Tissue, missing: frozenset[str]) -> Voxels:
    """Paint the abdomen of `tissue.seed` on a grid without the `missing` organs (by name)."""
    patient = anatomy.patient(tissue.seed)
    canvas = _Canvas(grid, patient.scale)
    for index in range(grid.shape[0]):
        canvas.paint_slice(index, patient)
    for muscle in patient.muscles:
        canvas.tube(muscle, anatomy.MUSCLE_HU, within=canvas.cavity)
    for loop, inside in patient.bowel:
        canvas.shape(loop, anatomy.BOWEL_WALL_HU, within=canvas.cavity)
        canvas.shape(grown(loop, -3.0), inside, within=canvas.bowel)
    _paint_organs(canvas, patient, missing)
    return Voxels(scan(grid, tissue, canvas.hu), canvas.labels, grid)


def _paint_organs(canvas: _Canvas, patient: Patient, missing: frozenset[str]) -> None:
    """Paint what has a label and what lies against it."""
    if patient.liver.name not in missing:
        _paint_liver(canvas, patient)
    if patient.spleen.name not in missing:
        canvas.organ(patient.spleen, within=canvas.below)
    canvas.shape(patient.pancreas, anatomy.PANCREAS_HU, within=canvas.unlabelled)
    stomach = patient.stomach
    canvas.shape(stomach, anatomy.STOMACH_HU, within=canvas.below)
    inner = grown(stomach, -anatomy.STOMACH_WALL_MM)
    canvas.shape(inner, anatomy.FLUID_HU, within=canvas.below)
    canvas.gas(inner)
    canvas.shape(patient.gallbladder, anatomy.BILE_HU, within=canvas.below)
    for vessel in patient.vessels:
        canvas.tube(vessel, anatomy.VEIN_HU, within=canvas.outside_liver)
    for kidney, sinus in zip(patient.kidneys, patient.sinuses, strict=True):
        (shape,) = kidney.parts
        canvas.shape(grown(shape, kidney.collar), anatomy.FAT_HU, within=canvas.not_vessel)
        if kidney.name not in missing:
            canvas.organ(kidney, within=canvas.everywhere)
            canvas.shape(sinus, anatomy.FAT_HU, within=canvas.kidney)


def _paint_liver(canvas: _Canvas, patient: Patient) -> None:
    """Paint the liver with cysts and portal branches, which stay liver."""
    canvas.organ(patient.liver, within=canvas.below)
    for cyst in patient.cysts:
        canvas.shape(cyst, anatomy.CYST_HU, within=canvas.in_liver, keep=True)
    for vessel in patient.liver_vessels:
        canvas.tube(vessel, anatomy.VEIN_HU, within=canvas.in_liver, keep=True)


class _Canvas:
    """The voxels being painted; the `within` methods say where a shape may go in a box."""

    def __init__(self, grid: Grid, scale: float) -> None:
        self.grid = grid
        self.hu: Floats = np.empty(grid.shape, dtype=np.float32)
        self.labels: Labels = np.zeros(grid.shape, dtype=np.uint8)
        self._below = np.zeros(grid.shape, dtype=np.bool_)
        self._axes = (anatomy.BODY_AXES[0] * scale, anatomy.BODY_AXES[1] * scale)

    def paint_slice(self, index: int, patient: Patient) -> None:
        """Paint what needs no list of shapes: table, body, wall, bones, lungs, diaphragm."""
        hu = self.hu[index]
        x, y, z = self.grid.slice_coordinates(index)
        hu[:] = phantom_anatomy.AIR_HU
        paint_table(self.grid, x, y, hu)
        radius = np.sqrt((x / self._axes[0]) ** 2 + (y / self._axes[1]) ** 2)
        hu[radius <= 1.0] = anatomy.FAT_HU
        hu[radius <= anatomy.WALL_OUTER] = anatomy.MUSCLE_HU
        ribs = (radius > 0.865) & (radius < 0.895) & (np.mod(z + 0.35 * y, 26.0) < 10.0)
        hu[ribs & (z > 10.0)] = anatomy.BONE_HU
        inside = radius <= anatomy.WALL_INNER
        hu[inside] = anatomy.FAT_HU
        self._below[index] = inside & self._paint_chest(patient, inside, hu, x, y, z)
        spine = (x - anatomy.SPINE[0]) ** 2 + (y - anatomy.SPINE[1]) ** 2 <= 21.0**2
        hu[spine] = np.broadcast_to(np.where(np.mod(z, 32.0) < 25.0, 210.0, 85.0), hu.shape)[spine]

    def _paint_chest(
        self, patient: Patient, inside: Mask, hu: Floats, x: Floats, y: Floats, z: Floats
    ) -> Mask:
        """Paint lungs, heart and diaphragm; give what lies below the diaphragm."""
        above = inside & np.broadcast_to(z > anatomy.LUNG_FROM_Z, hu.shape)
        under = np.zeros(hu.shape, dtype=np.bool_)
        deeper = np.zeros(hu.shape, dtype=np.bool_)
        for dome in patient.domes:
            under |= dome.contains(x, y, z)
            deeper |= grown(dome, -anatomy.DIAPHRAGM_MM).contains(x, y, z)
        hu[above & ~under] = anatomy.LUNG_HU
        hu[above & ~under & patient.heart.contains(x, y, z)] = anatomy.AORTA_HU
        hu[above & under & ~deeper] = anatomy.MUSCLE_HU
        return ~above | deeper

    def shape(self, shape: Ellipsoid, hu: float, *, within: Where, keep: bool = False) -> None:
        """Fill an ellipsoid; `keep` leaves the labels as they are."""
        centre, axes = np.asarray(shape.centre), np.asarray(shape.axes)
        box = self.grid.box(centre - axes, centre + axes)
        if box is not None:
            self._fill(box, shape.contains(*self.grid.coordinates(box)), hu, within, keep)

    def tube(self, tube: Tube, hu: float, *, within: Where, keep: bool = False) -> None:
        """Fill a tube; `keep` leaves the labels as they are."""
        box = tube_box(self.grid, tube, tube.radius)
        if box is not None:
            near = phantom_anatomy.tube_distance(tube, *self.grid.coordinates(box)) <= tube.radius
            self._fill(box, near, hu, within, keep)

    def _fill(self, box: Box, mask: Mask, hu: float, within: Where, keep: bool) -> None:
        mask = mask & within(box)
        self.hu[box][mask] = hu
        if not keep:
            self.labels[box][mask] = 0

    def organ(self, organ: Organ, *, within: Where) -> None:
        """Fill a labelled organ."""
        for part in organ.parts:
            centre, axes = np.asarray(part.centre), np.asarray(part.axes)
            box = self.grid.box(centre - axes, centre + axes)
            if box is None:
                continue
            mask = part.contains(*self.grid.coordinates(box)) & within(box)
            self.hu[box][mask] = organ.hu
            self.labels[box][mask] = organ.label

    def gas(self, shape: Ellipsoid) -> None:
        """Let gas rise to the side that is up, whichever way the patient lies."""
        centre, axes = np.asarray(shape.centre), np.asarray(shape.axes)
        box = self.grid.box(centre - axes, centre + axes)
        if box is None:
            return
        x, y, z = self.grid.coordinates(box)
        high = self.grid.up * (y - shape.centre[1]) < -0.35 * shape.axes[1]
        mask = shape.contains(x, y, z) & high & self.below(box)
        self.hu[box][mask] = anatomy.GAS_HU

    def everywhere(self, box: Box) -> Mask:
        """Allow every voxel."""
        return np.ones(self.hu[box].shape, dtype=np.bool_)

    def cavity(self, box: Box) -> Mask:
        """Allow fat below the diaphragm."""
        return np.asarray(self._below[box] & (self.hu[box] == anatomy.FAT_HU))

    def bowel(self, box: Box) -> Mask:
        """Allow the wall of a loop of bowel."""
        return np.asarray(self.hu[box] == anatomy.BOWEL_WALL_HU)

    def below(self, box: Box) -> Mask:
        """Allow what lies below the diaphragm and is neither bone nor muscle."""
        hu = self.hu[box]
        return np.asarray(self._below[box] & (hu < 200.0) & (hu != anatomy.MUSCLE_HU))

    def unlabelled(self, box: Box) -> Mask:
        """Allow what belongs to no organ."""
        return np.asarray(self._below[box] & (self.labels[box] == 0))

    def in_liver(self, box: Box) -> Mask:
        """Allow the liver only."""
        return np.asarray(self.labels[box] == anatomy.LIVER)

    def outside_liver(self, box: Box) -> Mask:
        """Allow what is not above the diaphragm; vessels run through organs' edges."""
        return np.asarray(self._below[box] & (self.labels[box] != anatomy.LIVER))

    def not_vessel(self, box: Box) -> Mask:
        """Allow what lies inside the wall and is no vessel."""
        return np.asarray(self._below[box] & (self.hu[box] != anatomy.VEIN_HU))

    def kidney(self, box: Box) -> Mask:
        """Allow the kidneys only."""
        return np.asarray(self.labels[box] >= anatomy.RIGHT_KIDNEY)
