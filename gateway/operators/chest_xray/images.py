"""Reads radiographs: stored pixels become brightness at 1 mm per pixel, by DICOM's own rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_rescale
from scipy import ndimage

from gateway.operators.sdk import InputRefusedError, Log

MODALITIES: Final = ("CR", "DX")
MOST_PIXELS: Final = 64 << 20
MOST_FILES: Final = 10_000
SIDE_MM: Final = (100.0, 1000.0)
"""Shortest and longest side that a chest radiograph may have."""
PERCENTILES: Final = (1.0, 99.5)
Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Radiograph:
    """One image: its data set without pixels, and its brightness.

    `brightness` is float32 `[row, column]` at 1 mm per pixel, 0 = black to 1 = white, dense tissue
    bright; `spacing` is mm per stored pixel along (rows, columns).
    """

    header: Dataset
    spacing: tuple[float, float]
    brightness: Image

    def place(self, y_mm: float, x_mm: float) -> tuple[float, float]:
        """Return (row, column) of the stored image for a place in mm from its corner."""
        return y_mm / self.spacing[0] - 0.5, x_mm / self.spacing[1] - 0.5


@dataclass(frozen=True)
class Skipped:
    """An instance that is not read, and why."""

    sop_instance_uid: str
    code: str
    message: str


class _SkipError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def read_radiographs(folder: Path, log: Log) -> Iterator[Radiograph | Skipped]:
    """Read each DICOM file below a folder, one at a time; links and other files are passed over.

    Raises:
        InputRefusedError: TOO_MANY_FILES.
    """
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if number >= MOST_FILES:
            raise InputRefusedError("TOO_MANY_FILES", f"more than {MOST_FILES} files")
        if path.is_symlink() or not path.is_file():
            continue
        try:
            dataset = dcmread(path)
        except (InvalidDicomError, OSError, EOFError):
            log.warning("file.skipped", reason="no DICOM file")
            continue
        uid = str(dataset.get("SOPInstanceUID", ""))
        try:
            yield _radiograph(dataset)
        except _SkipError as error:
            log.warning("instance.skipped", sop=uid, code=error.code)
            yield Skipped(uid, error.code, error.message)


def _radiograph(dataset: Dataset) -> Radiograph:
    _check(dataset)
    spacing = _spacing(dataset)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    sides = rows * spacing[0], columns * spacing[1]
    if not all(SIDE_MM[0] <= side <= SIDE_MM[1] for side in sides):
        raise _SkipError("BAD_SIZE", f"{sides[0]:.0f} x {sides[1]:.0f} mm is no chest radiograph")
    pixels = _bright(dataset)
    del dataset.PixelData
    return Radiograph(dataset, spacing, _normal(_at_one_mm(pixels, spacing)))


def _check(dataset: Dataset) -> None:
    if str(dataset.get("Modality", "")) not in MODALITIES or "Rows" not in dataset:
        raise _SkipError("NOT_A_RADIOGRAPH", "the instance is no image of Modality CR or DX")
    if "PixelData" not in dataset:
        raise _SkipError("UNDECODABLE", "the instance has no pixels")
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if dataset.get("SamplesPerPixel") != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise _SkipError("COLOUR", "the image is not MONOCHROME1 or MONOCHROME2")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise _SkipError("SEVERAL_FRAMES", "the image has several frames")
    if not 0 < int(dataset.Rows) * int(dataset.Columns) <= MOST_PIXELS:
        raise _SkipError("BAD_SIZE", "the image has too many pixels, or none")


def _spacing(dataset: Dataset) -> tuple[float, float]:
    """Return mm per pixel in the patient, as nearly as the instance says it."""
    value, factor = dataset.get("PixelSpacing"), 1.0
    if not value:
        value = dataset.get("ImagerPixelSpacing")
        factor = float(dataset.get("EstimatedRadiographicMagnificationFactor") or 1.0)
    try:
        row, column = (float(step) / factor for step in value)
    except (TypeError, ValueError, ZeroDivisionError):
        row = column = 0.0
    if not (0.01 <= row <= 5 and 0.01 <= column <= 5):
        raise _SkipError("NO_SPACING", "neither Pixel Spacing nor Imager Pixel Spacing makes sense")
    return row, column


def _bright(dataset: Dataset) -> Image:
    """Return pixels after the modality transformation, larger = denser."""
    try:
        stored = dataset.pixel_array
        values = np.asarray(apply_rescale(stored, dataset), dtype=np.float32)
    except (ValueError, RuntimeError, NotImplementedError, AttributeError, KeyError) as error:
        raise _SkipError(
            "UNDECODABLE", f"the pixels cannot be decoded ({type(error).__name__})"
        ) from error
    # MONOCHROME1 shows its smallest values as white (PS3.3 C.7.6.3.1.2).
    return -values if dataset.PhotometricInterpretation == "MONOCHROME1" else values


def _at_one_mm(pixels: Image, spacing: tuple[float, float]) -> Image:
    """Bring the image to 1 mm per pixel; before it gets coarser it is smoothed."""
    size = [max(1, round(n * step)) for n, step in zip(pixels.shape, spacing, strict=True)]
    sigma = [max(0.0, 0.5 * (1.0 / step - 1.0)) for step in spacing]
    smooth = ndimage.gaussian_filter(pixels, sigma, mode="nearest")
    steps = [n / m for n, m in zip(pixels.shape, size, strict=True)]
    shift = [(step - 1.0) / 2.0 for step in steps]
    found: Any = ndimage.affine_transform(
        smooth, steps, shift, output_shape=tuple(size), order=1, mode="nearest"
    )
    return np.asarray(found, dtype=np.float32)


def _normal(image: Image) -> Image:
    low, high = np.percentile(image, PERCENTILES)
    if not np.isfinite(image).all() or high <= low:
        raise _SkipError("UNDECODABLE", "the image is empty: all its pixels are alike")
    return np.asarray(np.clip((image - low) / (high - low), 0.0, 1.0), np.float32)
