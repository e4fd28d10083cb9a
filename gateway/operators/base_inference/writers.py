"""Writers: a field becomes a file of the output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gateway.operators.base_inference.files import write_metaimage, write_nifti
from gateway.operators.base_inference.volume import Array, Fields, Volume
from gateway.operators.sdk import OperatorError


@dataclass(frozen=True)
class WriteRun:
    """One run's fields, the output folder, and the input's name without suffix."""

    fields: Fields
    folder: Path
    stem: str


class VolumeWriter:
    """Write a field; subclasses say in which format. The file is named as the input."""

    suffix = ""

    def __init__(self, field: str = "model", dtype: str | None = None) -> None:
        self.field, self.dtype = field, dtype

    def __call__(self, run: WriteRun) -> str:
        """Return the name of the file that was written.

        Raises:
            OperatorError: DTYPE_TOO_SMALL, the values do not fit `dtype`.
        """
        volume = run.fields[self.field]
        name = f"{run.stem}{self.suffix}"
        self.write(run.folder / name, self._values(volume), volume)
        return name

    def write(self, path: Path, values: Array, volume: Volume) -> None:
        """Write values `[i, j, k]` or, of several channels, `[i, j, k, channel]`."""
        raise NotImplementedError

    def _values(self, volume: Volume) -> Array:
        values = volume.values
        if self.dtype is not None:
            target = np.dtype(self.dtype)
            if target.kind in "iu":
                info = np.iinfo(target)
                if values.size and (values.min() < info.min or values.max() > info.max):
                    raise OperatorError(
                        "DTYPE_TOO_SMALL", f"values of {self.field!r} do not fit {self.dtype}"
                    )
                if values.dtype.kind == "f":
                    values = np.rint(values)
            values = values.astype(target)
        return values[0] if len(values) == 1 else np.moveaxis(values, 0, -1)


class NiftiWriter(VolumeWriter):
    """Write `<input's name>.nii.gz`; several channels become a fourth axis."""

    suffix = ".nii.gz"

    def write(self, path: Path, values: Array, volume: Volume) -> None:
        """Write the file."""
        write_nifti(path, values, volume.affine)


class MetaImageWriter(VolumeWriter):
    """Write `<input's name>.mhd` with its `.zraw`; one channel only."""

    suffix = ".mhd"

    def write(self, path: Path, values: Array, volume: Volume) -> None:
        """Write the file.

        Raises:
            OperatorError: SEVERAL_CHANNELS.
        """
        if values.ndim != 3:
            raise OperatorError("SEVERAL_CHANNELS", "a MetaImage holds one channel; write NIfTI")
        write_metaimage(path, values, volume.affine)
