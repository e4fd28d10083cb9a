"""A volume in memory: voxels and where they lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's patient axes (to the left, to the back, to the head) to NIfTI's; its own inverse."""


@dataclass(frozen=True)
class Segment:
    """One label of a label map."""

    number: int
    """The voxels' value."""
    label: str
    color: str
    """As #rrggbb."""
    kind: str = ""
    """What it is, in the words of its code."""


@dataclass(frozen=True)
class Grid:
    """``voxels[k, j, i]`` and the affine that brings (i, j, k, 1) to mm in NIfTI's RAS axes."""

    voxels: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    modality: str = ""
    segments: tuple[Segment, ...] = field(default=())

    def thinned(self, factor: int) -> Grid:
        """Every ``factor``-th voxel of each long axis, at exactly the place where it lies.

        Axes of few voxels stay whole, so a stack of thick slices keeps each of them.
        """
        steps = [factor if size >= _LONG * factor else 1 for size in self.voxels.shape]
        k, j, i = steps
        affine = self.affine @ np.diag([float(i), float(j), float(k), 1.0])
        thin = np.ascontiguousarray(self.voxels[::k, ::j, ::i])
        return Grid(thin, affine, self.modality, self.segments)

    def framed(self) -> Grid:
        """With one layer of zeros around it.

        The browser repeats the outermost voxels beyond the grid: they must be nothing, or a label
        would be seen where none was drawn.
        """
        corner = np.eye(4)
        corner[:3, 3] = -1.0
        return Grid(np.pad(self.voxels, 1), self.affine @ corner, self.modality, self.segments)

    @property
    def spacing(self) -> list[float]:
        """Steps along i, j and k in mm."""
        return [float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0)]


_LONG = 24
"""Fewest voxels that an axis keeps when it is thinned."""
