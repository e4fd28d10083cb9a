"""The coarser grid on which lungs are found.

Everything that needs neighbourhoods (components, closing, watershed) runs on a working grid of
about 1.4 mm, so time and memory grow slowly with the matrix; the final border is drawn on the
volume's own voxels. Axes are the patient's (`orientation`): left, back, head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gateway.operators.lung_density.orientation import Frame, Volume

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]

WORKING_MM: Final = 1.4


@dataclass(frozen=True)
class Working:
    """The working grid: block means of the volume (`hu`, float32, patient axes)."""

    hu: npt.NDArray[np.float32]
    factors: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def voxel_mm3(self) -> float:
        """Give the volume of a working voxel, for choosing by size only."""
        return self.spacing[0] * self.spacing[1] * self.spacing[2]

    def upsampled(self, array: Volume, shape: tuple[int, ...], z: int) -> Volume:
        """Give slice `z` (full index) of a working array on the full in-plane grid."""
        fx, fy, fz = self.factors
        plane = np.repeat(np.repeat(array[:, :, z // fz], fx, axis=0), fy, axis=1)
        return plane[: shape[0], : shape[1]]


def make_working(turned: Volume, frame: Frame) -> Working:
    """Average blocks of voxels (edges repeat) slab by slab, so that no full float copy exists."""
    fx, fy, fz = (max(1, round(WORKING_MM / step)) for step in frame.spacing)
    nx, ny, nz = turned.shape
    shape = (-(-nx // fx), -(-ny // fy), -(-nz // fz))
    hu = np.empty(shape, dtype=np.float32)
    for k in range(shape[2]):
        slab = turned[:, :, k * fz : (k + 1) * fz].mean(axis=2, dtype=np.float32)
        if fx > 1 or fy > 1:
            slab = np.pad(slab, ((0, shape[0] * fx - nx), (0, shape[1] * fy - ny)), mode="edge")
            slab = slab.reshape(shape[0], fx, shape[1], fy).mean(axis=(1, 3))
        hu[:, :, k] = slab
    spacing = (frame.spacing[0] * fx, frame.spacing[1] * fy, frame.spacing[2] * fz)
    return Working(hu, (fx, fy, fz), spacing)


def bounding_box(mask: Mask, margin: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """Give the index box of a non-empty mask with a margin, kept inside the array."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        low = max(0, int(hit[0]) - margin[axis])
        high = min(mask.shape[axis], int(hit[-1]) + 1 + margin[axis])
        box.append(slice(low, high))
    return box[0], box[1], box[2]
