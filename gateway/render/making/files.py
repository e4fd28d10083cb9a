"""NIfTI and MetaImage files of operators as volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - the name everybody knows it by
from nibabel.filebasedimages import ImageFileError

from gateway.operators.sdk import InputRefusedError
from gateway.render.making.colours import palette
from gateway.render.making.grid import RAS_OF_LPS, Grid, Segment
from gateway.render.making.metaimage import plain_header

_SPATIAL = 3
_MOST_LABEL = 255


def read_nifti(folder: Path, most_bytes: int) -> Grid:
    """The first volume of the NIfTI file in ``folder``; raises InputRefusedError."""
    (path,) = sorted(folder.iterdir())
    try:
        image: Any = nibabel.load(path)
        shape = image.shape[:_SPATIAL]
        _check(shape, most_bytes)
        first = (slice(None),) * _SPATIAL + (0,) * (len(image.shape) - _SPATIAL)
        values = np.asarray(image.dataobj[first])
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise InputRefusedError("UNREADABLE", f"no NIfTI file ({type(error).__name__})") from error
    affine = np.asarray(image.affine, dtype=np.float64)
    return Grid(_plain(values.transpose(2, 1, 0)), affine)


def read_metaimage(folder: Path, most_bytes: int) -> Grid:
    """The MetaImage in ``folder``: its header and, beside it, the file of its voxels.

    Its header is written anew before it is read, because it could name any file of this machine.
    Raises InputRefusedError.
    """
    reader = sitk.ImageFileReader()
    try:
        reader.SetFileName(str(plain_header(folder)))
        reader.ReadImageInformation()
        if reader.GetDimension() != _SPATIAL or reader.GetNumberOfComponents() != 1:
            raise InputRefusedError("NO_VOLUME", "not one value at each place of a volume")
        _check(reader.GetSize(), most_bytes)
        image = reader.Execute()
    except RuntimeError as error:
        raise InputRefusedError("UNREADABLE", "no MetaImage") from error
    affine = np.eye(4)
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Grid(_plain(sitk.GetArrayFromImage(image)), RAS_OF_LPS @ affine)


def as_labels(grid: Grid) -> Grid:
    """The volume as a label map with a name and colour per value; raises InputRefusedError."""
    low, high = int(grid.voxels.min()), int(grid.voxels.max())
    if low < 0 or high > _MOST_LABEL or not np.issubdtype(grid.voxels.dtype, np.integer):
        raise InputRefusedError("NO_LABELS", f"values from {low} to {high} are no labels")
    voxels = grid.voxels.astype(np.uint8)
    numbers = np.flatnonzero(np.bincount(voxels.ravel(), minlength=1))
    segments = tuple(Segment(int(n), f"Label {n}", palette(int(n))) for n in numbers if n)
    return Grid(voxels, grid.affine, grid.modality, segments)


def _check(shape: tuple[int, ...], most_bytes: int) -> None:
    if len(shape) != _SPATIAL or min(shape) < 2:
        raise InputRefusedError("NO_VOLUME", "fewer than three dimensions")
    # Any type may become float32.
    if 4 * int(np.prod([int(size) for size in shape])) > most_bytes:
        raise InputRefusedError("TOO_LARGE", f"more than {most_bytes} bytes")


def _plain(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In a type that the browser draws."""
    if values.dtype.kind not in "iufb":
        raise InputRefusedError("NO_VOLUME", f"voxels of type {values.dtype}")
    if values.dtype.name in {"uint8", "int16", "uint16", "int32", "float32"}:
        return np.ascontiguousarray(values)
    if values.dtype.kind == "b":
        return np.ascontiguousarray(values.astype(np.uint8))
    whole = np.issubdtype(values.dtype, np.integer)
    if whole and values.min() >= -(1 << 31) and values.max() < 1 << 31:
        return np.ascontiguousarray(values.astype(np.int32))
    return np.ascontiguousarray(np.nan_to_num(values.astype(np.float32)))
