"""A volume in memory with its place in the patient, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.operators.sdk import OperatorError, UsageError

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Voxels in space: their number along i, j, k, and the affine from indices to RAS in mm."""

    shape: tuple[int, int, int]
    affine: Affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Length of the step to the next voxel along i, j, k, mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])


@dataclass(frozen=True)
class Volume:
    """Values `[channel, i, j, k]` on a grid; `original` is the grid of the file it came from.

    `channels_first` is false until a transform says so: models take channels, files have none.
    Axes i, j, k are those of the file (NIfTI's order), or of the grid it was resampled to.
    """

    values: Array
    affine: Affine
    original: Grid
    channels_first: bool = False

    @property
    def grid(self) -> Grid:
        """Where the values lie now."""
        _, i, j, k = self.values.shape
        return Grid((i, j, k), self.affine)

    def with_values(self, values: Array) -> Volume:
        """Return the volume with other values on the same grid.

        Raises:
            OperatorError: SHAPE_DIFFERS, they are not as many along i, j, k.
        """
        if values.ndim != 4 or values.shape[1:] != self.values.shape[1:]:
            raise OperatorError(
                "SHAPE_DIFFERS",
                f"values of {list(values.shape)} do not fit a grid of {list(self.grid.shape)}",
            )
        return replace(self, values=values)

    def moved(self, values: Array, affine: Affine) -> Volume:
        """Return the volume on another grid."""
        return replace(self, values=values, affine=affine)


@dataclass
class Fields:
    """Volumes by name: `image` at first, `model` after inference. Transforms change it in place."""

    volumes: dict[str, Volume] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Volume:
        if name not in self.volumes:
            known = ", ".join(self.volumes) or "none"
            raise UsageError("FIELD_UNKNOWN", f"there is no field {name!r} here (there: {known})")
        return self.volumes[name]

    def __setitem__(self, name: str, volume: Volume) -> None:
        self.volumes[name] = volume

    def __iter__(self) -> Iterator[str]:
        return iter(self.volumes)
