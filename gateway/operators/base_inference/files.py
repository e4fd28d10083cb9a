"""Volumes from and to files: NIfTI, MetaImage, and what `dicom-reader` wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError

from gateway.operators.base_inference.volume import Affine, Array, Grid, Volume
from gateway.operators.sdk import InputRefusedError

SERIES_LIST: Final = "series.json"
SERIES_LIST_LIMIT: Final = 256 << 20
SUFFIXES: Final = (".nii.gz", ".nii", ".mhd")
FLIP: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns LPS, which MetaImage and DICOM use, into NIfTI's RAS, and back."""


@dataclass(frozen=True)
class SourceFile:
    """The chosen file and, of a reader's output, the series it came from."""

    path: Path
    study_uid: str = ""
    series_uid: str = ""
    others: tuple[str, ...] = field(default_factory=tuple)
    """Volumes that were not chosen: series UIDs."""

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.path.name[: -len(self.suffix)]

    @property
    def suffix(self) -> str:
        """The suffix, `.nii.gz` as a whole."""
        return next(suffix for suffix in SUFFIXES if self.path.name.endswith(suffix))


def find_source(folder: Path) -> SourceFile:
    """Return the one volume of a folder; of a reader's output the one with the most slices.

    Raises:
        InputRefusedError: NO_VOLUME, SEVERAL_VOLUMES, NO_SERIES_LIST.
    """
    if (folder / SERIES_LIST).is_file():
        return _of_reader(folder)
    found = sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith(SUFFIXES) and path.is_file() and not path.is_symlink()
    )
    if len(found) != 1:
        code = "SEVERAL_VOLUMES" if found else "NO_VOLUME"
        raise InputRefusedError(
            code, f"the input holds {len(found)} volumes ({', '.join(SUFFIXES)}), one is needed"
        )
    return SourceFile(found[0])


def _of_reader(folder: Path) -> SourceFile:
    try:
        if (folder / SERIES_LIST).stat().st_size > SERIES_LIST_LIMIT:
            raise InputRefusedError("NO_SERIES_LIST", f"{SERIES_LIST} is too big")
        content = json.loads((folder / SERIES_LIST).read_bytes())
        usable = [entry for entry in content["series"] if _usable(entry)]
        usable.sort(key=lambda e: (-int(e["shape"][2]), str(e["series_instance_uid"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputRefusedError("NO_SERIES_LIST", f"{SERIES_LIST} cannot be read") from error
    if not usable:
        raise InputRefusedError("NO_VOLUME", "no series of the input is a volume of three axes")
    first = usable[0]
    name = str(first["files"].get("nifti") or first["files"].get("mhd"))
    if PurePath(name).name != name or not name.endswith(SUFFIXES):
        raise InputRefusedError("VOLUME_UNREADABLE", "the chosen volume's file name is none")
    return SourceFile(
        folder / name,
        str(first.get("study_instance_uid") or ""),
        str(first.get("series_instance_uid") or ""),
        tuple(str(entry["series_instance_uid"]) for entry in usable[1:]),
    )


def _usable(entry: Any) -> bool:
    files = entry.get("files") or {}
    return (
        entry.get("status") == "volume"
        and len(entry.get("shape") or ()) == 3
        and bool(files.get("nifti") or files.get("mhd"))
    )


def read_volume(path: Path) -> Volume:
    """Read a volume of three axes; its values are `[0, i, j, k]`.

    Raises:
        InputRefusedError: VOLUME_UNREADABLE.
    """
    if path.is_symlink() or not path.is_file():
        raise InputRefusedError("VOLUME_UNREADABLE", "the volume's file is missing")
    values, affine = _read_metaimage(path) if path.suffix == ".mhd" else _read_nifti(path)
    if values.ndim != 3 or min(values.shape) < 1:
        raise InputRefusedError("VOLUME_UNREADABLE", f"the volume's shape is {values.shape}")
    if not np.isfinite(affine).all() or abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        raise InputRefusedError("VOLUME_UNREADABLE", "the volume has no usable geometry")
    i, j, k = values.shape
    return Volume(values[None], affine, Grid((i, j, k), affine.copy()))


def _read_nifti(path: Path) -> tuple[Array, Affine]:
    try:
        image = nibabel.load(path)
        values = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise InputRefusedError(
            "VOLUME_UNREADABLE", f"the volume is no NIfTI ({type(error).__name__})"
        ) from error
    return values, np.asarray(image.affine, dtype=np.float64)


def _read_metaimage(path: Path) -> tuple[Array, Affine]:
    import SimpleITK

    with path.open("rb") as file:
        head = file.read(65536).decode("latin-1")
    data = [
        line.split("=", 1)[1].strip() for line in head.splitlines() if "ElementDataFile" in line
    ]
    # A header may name any file of the machine as its voxels.
    if not data or PurePath(data[0]).name != data[0] or data[0] == "LIST":
        raise InputRefusedError("VOLUME_UNREADABLE", "the MetaImage names no file beside it")
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise InputRefusedError("VOLUME_UNREADABLE", "the volume is no MetaImage") from error
    axes = image.GetDimension()
    values = SimpleITK.GetArrayFromImage(image)
    if axes != 3:
        return values, np.eye(4)
    affine = np.eye(4)
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return values.transpose(2, 1, 0), FLIP @ affine


def write_nifti(path: Path, values: Array, affine: Affine) -> None:
    """Write values `[i, j, k]`, or `[i, j, k, channel]`, with sform and qform."""
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_sform(affine, code=1)
    image.header.set_qform(affine, code=1)
    nibabel.save(image, path)


def write_metaimage(path: Path, values: Array, affine: Affine) -> None:
    """Write values `[i, j, k]` as `.mhd` and `.zraw`.

    Raises:
        InputRefusedError: GANTRY_TILT, a MetaImage cannot say a sheared geometry.
    """
    import SimpleITK

    lps = FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise InputRefusedError("GANTRY_TILT", "a MetaImage cannot be sheared; write NIfTI")
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    image.SetSpacing([float(step) for step in spacing])
    image.SetOrigin([float(place) for place in lps[:3, 3]])
    image.SetDirection([float(cosine) for cosine in direction.ravel()])
    SimpleITK.WriteImage(image, str(path), useCompression=True)
