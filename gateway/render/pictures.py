"""Key images: one plane of a volume with its overlay, as a picture for a page or a report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from PIL import Image, ImageDraw, ImageFont

from gateway.render.making.grid import Segment

PLANES: Final = ("axial", "coronal", "sagittal")
WINDOWS: Final = {
    "lung": (-1350.0, 150.0),
    "soft": (-160.0, 240.0),
    "bone": (-450.0, 1050.0),
    "brain": (0.0, 80.0),
}
"""Darkest and brightest value in HU."""
MOST_PIXELS: Final = 1024
_WHITE: Final = (240, 240, 240)
_PAD: Final = 6
_LETTERS: Final = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
"""At the left, right, upper and lower edge: seen from the feet, from the front, from the left."""


@dataclass(frozen=True)
class Layer:
    """A level of a volume on disk, with its segments where it is a label map."""

    path: Path
    segments: tuple[Segment, ...] = ()


def draw(
    image: Layer,
    labels: Sequence[Layer],
    *,
    plane: str,
    window: tuple[float, float],
    position: float,
    size: int,
    opacity: float = 0.45,
) -> bytes:
    """The plane at ``position`` (0 to 1 along its axis) as PNG, at most ``size`` pixels wide.

    Radiological: the patient's right is at the left of axial and coronal pictures.  Label maps
    lie where their affine says, whatever their resolution.
    """
    volume = _turned(image.path)
    grey, affine = _plane(volume, plane, position)
    low, high = window
    shades = np.clip((grey - low) / max(high - low, 1e-6) * 255.0, 0.0, 255.0)
    picture = np.repeat(shades[..., None], 3, axis=2)
    for layer in labels:
        _colour(picture, layer, affine, opacity)
    found = Image.fromarray(picture.astype(np.uint8))
    found = found.resize(_pixels(volume, plane, found.size, size), Image.Resampling.BILINEAR)
    _mark(found, plane)
    written = io.BytesIO()
    found.save(written, "PNG", optimize=True)
    return written.getvalue()


def _turned(path: Path) -> Any:
    """The volume with axes that run to the left, back and head, its voxels still on disk."""
    image: Any = nibabel.load(path)
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(("L", "P", "S")))
    return image.as_reoriented(turn)


def _plane(
    volume: Any, plane: str, position: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Rows from top to bottom, and where (column, row) lies in mm: a 4 x 3 matrix."""
    axis = {"sagittal": 0, "coronal": 1, "axial": 2}[plane]
    index = min(volume.shape[axis] - 1, max(0, round(position * (volume.shape[axis] - 1))))
    cut = [slice(None)] * 3
    cut[axis] = slice(index, index + 1)
    values = np.asarray(volume.dataobj[tuple(cut)], dtype=np.float32).squeeze(axis)
    across, down = [a for a in range(3) if a != axis]
    matrix = np.zeros((4, 3))
    matrix[across, 0] = 1.0
    matrix[down, 1] = 1.0
    matrix[axis, 2] = index
    matrix[3, 2] = 1.0
    if plane != "axial":
        # The head is on top.
        values = values[:, ::-1]
        matrix[down, 1], matrix[down, 2] = -1.0, volume.shape[down] - 1
    return values.T, np.asarray(volume.affine) @ matrix


def _colour(
    picture: npt.NDArray[np.float32],
    layer: Layer,
    affine: npt.NDArray[np.float64],
    opacity: float,
) -> None:
    labels: Any = nibabel.load(layer.path)
    rows, columns = picture.shape[:2]
    across, down = np.meshgrid(np.arange(columns), np.arange(rows))
    places = affine @ np.stack([across.ravel(), down.ravel(), np.ones(rows * columns)])
    index = np.rint((np.linalg.inv(labels.affine) @ places)[:3]).astype(np.int64)
    shape = np.asarray(labels.shape)[:, None]
    inside = np.all((index >= 0) & (index < shape), axis=0)
    values = np.zeros(rows * columns, np.uint8)
    voxels = np.asarray(labels.dataobj)
    values[inside] = voxels[tuple(index[:, inside])]
    values = values.reshape(rows, columns)
    for segment in layer.segments:
        hit = values == segment.number
        rgb = [int(segment.color[at : at + 2], 16) for at in (1, 3, 5)]
        picture[hit] = (1 - opacity) * picture[hit] + opacity * np.asarray(rgb, np.float32)


def _pixels(volume: Any, plane: str, size: tuple[int, int], most: int) -> tuple[int, int]:
    """The picture's size in true proportions."""
    spacing = np.linalg.norm(np.asarray(volume.affine)[:3, :3], axis=0)
    across, down = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane]
    width, height = size[0] * spacing[across], size[1] * spacing[down]
    scale = most / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _mark(picture: Image.Image, plane: str) -> None:
    """Write the orientation letters at the edges."""
    left, right, top, bottom = _LETTERS[plane]
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(11, picture.width // 24))
    middle_x, middle_y = picture.width // 2, picture.height // 2
    places = (
        (left, (_PAD, middle_y), "lm"),
        (right, (picture.width - _PAD, middle_y), "rm"),
        (top, (middle_x, _PAD), "mt"),
        (bottom, (middle_x, picture.height - _PAD), "mb"),
    )
    for letter, place, anchor in places:
        pen.text(place, letter, _WHITE, font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))
