"""Write a volume as NIfTI-1: one file, header then voxels, in one go.

NIfTI's axes are RAS, DICOM's LPS: x and y change sign in the affine, the voxels stay where they
are. The sform holds the exact affine, sheared where the gantry was tilted; the qform, which cannot
hold a shear, the nearest rotation.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel
import numpy as np

from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.geometry import Stack
from gateway.operators.dicom_reader.scaling import Values

_CHUNK = 8 << 20
_GZIP = 31
_MOST = 32767


def write_nifti(
    folder: Path, name: str, values: Values, stack: Stack, *, level: int, repetition_s: float
) -> str:
    """Write `values` (`[volume, slice, row, column]`) and return the file's name.

    `level` 0 writes `.nii`, 1 to 9 `.nii.gz`; `repetition_s` is the time between volumes in
    seconds, 0 if unknown. The file appears under its name only when it is complete.

    Raises:
        InputRefusedError: TOO_LARGE, an axis is longer than NIfTI-1 can say.
        OSError: the file cannot be written.
    """
    file_name = f"{name}.nii.gz" if level else f"{name}.nii"
    part = folder / f".{file_name}.part"
    head = _header(values, stack, repetition_s)
    with part.open("wb") as file:
        if level:
            packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
            file.write(packer.compress(head))
            data = np.ascontiguousarray(values).data.cast("B")
            for start in range(0, len(data), _CHUNK):
                file.write(packer.compress(data[start : start + _CHUNK]))
            file.write(packer.flush())
        else:
            file.write(head)
            file.flush()
            values.tofile(file)
    part.replace(folder / file_name)
    return file_name


def _header(values: Values, stack: Stack, repetition_s: float) -> bytes:
    volumes, *rest = values.shape
    shape = (*reversed(rest), volumes) if volumes > 1 else tuple(reversed(rest))
    if max(shape) > _MOST:
        raise refused(SeriesRefusal.TOO_LARGE, f"an axis is longer than {_MOST}")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ stack.affine
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(values.dtype)
    header.set_data_shape(shape)
    header.set_xyzt_units("mm", "sec")
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    zooms = (*stack.spacing, repetition_s) if volumes > 1 else stack.spacing
    header.set_zooms(zooms)
    header.set_slope_inter(1.0, 0.0)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    return bytes(header.binaryblock) + b"\0" * 4
