"""Chooses and loads the volume to measure from what dicom-reader wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from gateway.operators.sdk import InputRefusedError

SERIES_LIST = "series.json"
SERIES_LIST_LIMIT = 256 * 2**20


@dataclass(frozen=True)
class Source:
    """A chosen CT volume: voxels in HU (index order of the file) and its affine to LPS in mm."""

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    file: str
    voxels: npt.NDArray[Any]
    affine_lps: npt.NDArray[np.float64]
    image: Any


def load_source(folder: Path) -> Source:
    """Load the CT volume with the most slices (then the smallest UID) of a reader's output.

    Raises:
        InputRefusedError: NO_SERIES_LIST, NO_CT_VOLUME or VOLUME_UNREADABLE.
    """
    series = _choose(_series_list(folder))
    name = str(series["files"]["nifti"])
    path = folder / name
    if PurePath(name).name != name or path.is_symlink() or not path.is_file():
        raise InputRefusedError("VOLUME_UNREADABLE", "the chosen volume's file is missing")
    try:
        image = nibabel.load(path)
        voxels = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise InputRefusedError(
            "VOLUME_UNREADABLE", f"the chosen volume is no NIfTI ({type(error).__name__})"
        ) from error
    if voxels.ndim != 3 or min(voxels.shape) < 2:
        raise InputRefusedError("VOLUME_UNREADABLE", f"the volume's shape is {voxels.shape}")
    return Source(
        study_uid=str(series.get("study_instance_uid") or ""),
        series_uid=str(series.get("series_instance_uid") or ""),
        frame_of_reference_uid=str(series.get("frame_of_reference_uid") or ""),
        file=name,
        voxels=voxels,
        affine_lps=np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(image.affine, dtype=np.float64),
        image=image,
    )


def _series_list(folder: Path) -> list[dict[str, Any]]:
    path = folder / SERIES_LIST
    try:
        if path.stat().st_size > SERIES_LIST_LIMIT:
            raise InputRefusedError("NO_SERIES_LIST", f"{SERIES_LIST} is too big")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputRefusedError(
            "NO_SERIES_LIST", f"the input holds no readable {SERIES_LIST} of dicom-reader"
        ) from error
    series = content.get("series") if isinstance(content, dict) else None
    if not isinstance(series, list):
        raise InputRefusedError("NO_SERIES_LIST", f"{SERIES_LIST} lists no series")
    return [entry for entry in series if isinstance(entry, dict)]


def _choose(series: list[dict[str, Any]]) -> dict[str, Any]:
    usable = [entry for entry in series if _why_not(entry) is None]
    if not usable:
        reasons = sorted({str(_why_not(entry)) for entry in series}) or ["no series at all"]
        raise InputRefusedError(
            "NO_CT_VOLUME", f"no series is a CT volume that can be measured: {', '.join(reasons)}"
        )
    return min(usable, key=lambda e: (-int(e["shape"][2]), str(e.get("series_instance_uid"))))


def _why_not(entry: dict[str, Any]) -> str | None:
    """Say in a word why a series cannot be measured; None if it can."""
    if entry.get("status") != "volume":
        return str(entry.get("code") or "REFUSED")
    if entry.get("modality") != "CT":
        return "NOT_CT"
    if len(entry.get("shape") or ()) != 3:
        return "SEVERAL_VOLUMES"
    if not (entry.get("files") or {}).get("nifti"):
        return "NO_NIFTI"
    return None
