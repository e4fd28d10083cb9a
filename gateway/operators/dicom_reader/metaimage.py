"""Write a volume as MetaImage: a text header (`.mhd`) and its voxels (`.raw` or `.zraw`).

A MetaImage's axes are DICOM's own (LPS). Its direction must be orthonormal, so a sheared volume is
refused by name: resampling it would invent values.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from gateway.operators.dicom_reader.codes import FormatRefusal, refused
from gateway.operators.dicom_reader.geometry import Stack
from gateway.operators.dicom_reader.scaling import Values

_CHUNK = 8 << 20
_TYPES = {
    "|u1": "MET_UCHAR",
    "<i2": "MET_SHORT",
    "<u2": "MET_USHORT",
    "<i4": "MET_INT",
    "<u4": "MET_UINT",
    "<f4": "MET_FLOAT",
    "<f8": "MET_DOUBLE",
}


def write_metaimage(
    folder: Path, name: str, values: Values, stack: Stack, *, level: int, repetition_s: float
) -> str:
    """Write `values` (`[volume, slice, row, column]`) and return the header's file name.

    `level` 0 writes `.raw`, 1 to 9 `.zraw`; `repetition_s` is the time between volumes in seconds,
    0 if unknown. The header appears last, when the voxels are complete.

    Raises:
        InputRefusedError: GANTRY_TILT.
        OSError: a file cannot be written.
    """
    if stack.tilt_degrees:
        raise refused(
            FormatRefusal.GANTRY_TILT,
            f"slices are sheared by {stack.tilt_degrees:.2f} degrees, "
            "which a MetaImage cannot say; use NIfTI",
        )
    data_name = f"{name}.zraw" if level else f"{name}.raw"
    data_part, head_part = folder / f".{data_name}.part", folder / f".{name}.mhd.part"
    packed = _write_voxels(data_part, values, level)
    text = _header(values, stack, data_name, packed, repetition_s)
    head_part.write_text(text, encoding="ascii")
    data_part.replace(folder / data_name)
    head_part.replace(folder / f"{name}.mhd")
    return f"{name}.mhd"


def _write_voxels(path: Path, values: Values, level: int) -> int:
    """Write the voxels and return their compressed size, 0 for none."""
    if not level:
        with path.open("wb") as file:
            values.tofile(file)
        return 0
    packer = zlib.compressobj(level)
    data = np.ascontiguousarray(values).data.cast("B")
    with path.open("wb") as file:
        for start in range(0, len(data), _CHUNK):
            file.write(packer.compress(data[start : start + _CHUNK]))
        file.write(packer.flush())
        return file.tell()


def _header(values: Values, stack: Stack, data_name: str, packed: int, repetition_s: float) -> str:
    volumes, *rest = values.shape
    axes = 4 if volumes > 1 else 3
    direction, offset = np.eye(axes), np.zeros(axes)
    direction[:3, :3], offset[:3] = stack.direction, stack.affine[:3, 3]
    size = [*reversed(rest), volumes][:axes]
    # ITK refuses a spacing of 0; 1 is what it assumes for an axis without one.
    spacing = [*stack.spacing, repetition_s or 1.0][:axes]
    lines = {
        "ObjectType": "Image",
        "NDims": str(axes),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True" if packed else "False",
        **({"CompressedDataSize": str(packed)} if packed else {}),
        # One axis after the other, as MetaIO reads it: the transpose of the direction matrix.
        "TransformMatrix": _numbers(direction.T.ravel()),
        "Offset": _numbers(offset),
        "CenterOfRotation": _numbers(np.zeros(axes)),
        "ElementSpacing": _numbers(spacing),
        "DimSize": " ".join(str(length) for length in size),
        "ElementType": _TYPES[values.dtype.str],
        "ElementDataFile": data_name,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def _numbers(values: np.ndarray | list[float]) -> str:
    return " ".join(repr(float(value) + 0.0) for value in values)
