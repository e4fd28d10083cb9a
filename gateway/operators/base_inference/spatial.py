"""Transforms of space: each moves values and affine together, so the way back is always known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from gateway.operators.base_inference.volume import Affine, Array, Fields, Grid, Volume
from gateway.operators.sdk import OperatorError

MOST_VOXELS: Final = 1 << 30
"""Of a resampled volume: about 4 GiB of float32."""


class Spatial:
    """A transform that moves each named field to another grid; subclasses say how."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)

    def __call__(self, fields: Fields) -> None:
        """Change the fields in place."""
        for name in self.fields:
            fields[name] = self.move(fields[name])

    def move(self, volume: Volume) -> Volume:
        """Return the volume on its new grid."""
        raise NotImplementedError


class ChannelsFirst(Spatial):
    """Say that axis 0 holds channels: a file without channels becomes one with one."""

    def move(self, volume: Volume) -> Volume:
        """Return the volume as models take it."""
        return Volume(volume.values, volume.affine, volume.original, channels_first=True)


class Resolution(Spatial):
    """Resample to a spacing in mm along the axes of the array; null keeps an axis."""

    def __init__(
        self, fields: Sequence[str], spacing: Sequence[float], is_label: bool = False
    ) -> None:
        super().__init__(fields)
        self.spacing, self.is_label = tuple(spacing), is_label

    def move(self, volume: Volume) -> Volume:
        """Return the volume at that spacing; the field of view stays, the first voxel too."""
        old = volume.grid
        factors = [s / t for s, t in zip(old.spacing, self.spacing, strict=True)]
        return _scaled(volume, factors, self.is_label)


class Factor(Spatial):
    """Resample by a factor: 0.5 halves the number of voxels along each axis."""

    def __init__(self, fields: Sequence[str], factor: float, is_label: bool = False) -> None:
        super().__init__(fields)
        self.factor, self.is_label = factor, is_label

    def move(self, volume: Volume) -> Volume:
        """Return the volume with that share of voxels along each axis."""
        return _scaled(volume, [self.factor] * 3, self.is_label)


class Shape(Spatial):
    """Resample to a number of voxels along each axis."""

    def __init__(self, fields: Sequence[str], shape: Sequence[int], is_label: bool = False) -> None:
        super().__init__(fields)
        self.shape, self.is_label = tuple(shape), is_label

    def move(self, volume: Volume) -> Volume:
        """Return the volume with that shape over the same field of view."""
        factors = [n / o for n, o in zip(self.shape, volume.grid.shape, strict=True)]
        return _scaled(volume, factors, self.is_label)


def _scaled(volume: Volume, factors: Sequence[float], is_label: bool) -> Volume:
    old = volume.grid
    shape = [max(1, round(n * f)) for n, f in zip(old.shape, factors, strict=True)]
    # The field of view stays: new voxels tile what the old ones did.
    scale = np.asarray(old.shape) / np.asarray(shape)
    change = np.diag([*scale, 1.0])
    change[:3, 3] = (scale - 1.0) / 2.0
    grid = Grid((shape[0], shape[1], shape[2]), old.affine @ change)
    return resample(volume, grid, nearest=is_label)


class Orientation(Spatial):
    """Turn and flip the axes of the array to those named, such as RAS; nothing is interpolated."""

    def __init__(self, fields: Sequence[str], axcodes: str) -> None:
        super().__init__(fields)
        self.axcodes = axcodes

    def move(self, volume: Volume) -> Volume:
        """Return the volume with its axes as near to the patient's as whole axes can be."""
        change = ornt_transform(io_orientation(volume.affine), axcodes2ornt(self.axcodes))
        values = np.stack([apply_orientation(channel, change) for channel in volume.values])
        affine = volume.affine @ nibabel.orientations.inv_ornt_aff(change, volume.grid.shape)
        return volume.moved(values, affine)


class CropForeground:
    """Cut to the smallest box that holds all voxels above `threshold`, and `margin` voxels more."""

    def __init__(
        self, fields: Sequence[str], source: str | None, margin: int, threshold: float
    ) -> None:
        self.fields, self.source = tuple(fields), source or fields[0]
        self.margin, self.threshold = margin, threshold

    def __call__(self, fields: Fields) -> None:
        """Change the fields in place; all must lie on the source's grid."""
        source = fields[self.source]
        mask = (source.values > self.threshold).any(axis=0)
        if not mask.any():
            raise OperatorError("NO_FOREGROUND", f"no voxel of {self.source!r} is above the level")
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        cut = tuple(
            slice(max(0, s.start - self.margin), min(size, s.stop + self.margin))
            for s, size in zip(box, mask.shape, strict=True)
        )
        for name in self.fields:
            volume = fields[name]
            if volume.grid.shape != source.grid.shape:
                raise OperatorError("SHAPE_DIFFERS", f"{name!r} does not lie where the source does")
            fields[name] = volume.moved(volume.values[(slice(None), *cut)], _shifted(volume, cut))


def _shifted(volume: Volume, cut: Sequence[slice]) -> Affine:
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.affine @ [*(float(s.start) for s in cut), 1.0])[:3]
    return affine


class Invert(Spatial):
    """Bring a field back to the grid of the file that `source` came from, exactly."""

    def __init__(
        self, fields: Sequence[str], source: Sequence[str] | None, is_label: bool = True
    ) -> None:
        super().__init__(fields)
        self.source, self.is_label = (source or ("image",))[0], is_label

    def __call__(self, fields: Fields) -> None:
        """Change the fields in place."""
        grid = fields[self.source].original
        for name in self.fields:
            fields[name] = resample(fields[name], grid, nearest=self.is_label)


def resample(volume: Volume, grid: Grid, *, nearest: bool) -> Volume:
    """Return the volume on another grid; outside of what it covers the value is 0.

    Within half a voxel of its edge the edge's value counts, for voxels are boxes.

    Raises:
        OperatorError: TOO_LARGE, SINGULAR_AFFINE.
    """
    if int(np.prod(grid.shape)) * len(volume.values) > MOST_VOXELS:
        raise OperatorError("TOO_LARGE", f"a grid of {list(grid.shape)} is too large")
    if abs(float(np.linalg.det(volume.affine[:3, :3]))) < 1e-9:
        raise OperatorError("SINGULAR_AFFINE", "the volume's affine is singular")
    change = np.linalg.inv(volume.affine) @ grid.affine
    if volume.grid.shape == grid.shape and np.allclose(change, np.eye(4), atol=1e-6):
        return volume.moved(volume.values, grid.affine.copy())
    kind = volume.values.dtype if nearest else np.dtype(np.float32)
    values = np.empty((len(volume.values), *grid.shape), kind)
    inside = _covered(change, grid.shape, volume.grid.shape)
    for source, target in zip(volume.values, values, strict=True):
        given = source if nearest else source.astype(np.float32)
        ndimage.affine_transform(
            given,
            change[:3, :3],
            change[:3, 3],
            output_shape=grid.shape,
            output=target,
            order=0 if nearest else 1,
            mode="nearest",
        )
        target *= inside
    return volume.moved(values, grid.affine.copy())


def _covered(change: Affine, shape: Sequence[int], source: Sequence[int]) -> Array:
    """Say which voxels of the new grid have their centre within the old volume's boxes."""
    inside = np.ones(shape, bool)
    steps = [np.arange(size, dtype=np.float64) for size in shape]
    for axis, size in enumerate(source):
        a, b, c = (change[axis, n] * steps[n] for n in range(3))
        at = a[:, None, None] + b[:, None] + c + change[axis, 3]
        inside &= (at > -0.5 - 1e-6) & (at < size - 0.5 + 1e-6)
    return inside
