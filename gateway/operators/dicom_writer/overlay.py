"""Draws the pages that a radiologist looks at: a coronal view with a table, and axial slices.

Orientation is the radiological one (the patient's right on the left of the picture, anterior or
head on top), whatever way the source images lie. Nothing about the patient is drawn. Pixels below
-950 HU inside the lungs are coloured, outlines are one pixel wide, so anatomy stays readable.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from gateway.operators.dicom_writer.origin import LEFT_RGB, RIGHT_RGB
from gateway.operators.dicom_writer.source import Case
from gateway.operators.lung_density.orientation import Frame, frame_of

Picture = npt.NDArray[np.uint8]

WINDOW: Final = (-600.0, 1500.0)
LAA_HU: Final = -950.0
LAA_RGB: Final = (255, 60, 200)
WHITE: Final = (235, 235, 235)
AMBER: Final = (255, 200, 80)
GREY: Final = (150, 150, 150)
PAGE: Final = (1024, 768)
TILE: Final = (256, 232)
GRID: Final = (4, 3)
MARGIN: Final = 24


@dataclass(frozen=True)
class Page:
    """A picture with what DICOM must say of it: PatientOrientation and the slices shown (k)."""

    pixels: Picture
    patient_orientation: tuple[str, str]
    shown: list[int]
    description: str


def draw_pages(case: Case, caption: str) -> list[Page]:
    """Draw all pages of a case; `caption` names the algorithm."""
    frame = frame_of(case.affine_lps)
    hu, labels = frame.turned(case.hu), frame.turned(case.labels)
    return [
        _coronal_page(case, frame, hu, labels, caption),
        _axial_page(case, frame, hu, labels, caption),
    ]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _coronal_page(case: Case, frame: Frame, hu: Any, labels: Any, caption: str) -> Page:
    """Draw the coronal slice with most lung, and the measurements beside it."""
    y = int(np.argmax(np.count_nonzero(labels, axis=(0, 2))))
    plane, mask = hu[:, y, ::-1].T, labels[:, y, ::-1].T
    view = _view(plane, mask, (frame.spacing[2], frame.spacing[0]), (620, 620))
    page = Image.new("RGB", PAGE)
    top = (PAGE[1] - view.height) // 2 + 8
    page.paste(view, (MARGIN, top))
    draw = ImageDraw.Draw(page)
    _sides(draw, MARGIN, top - 30, view.width, 22)
    _table(draw, case.measurements, MARGIN + view.width + 24)
    draw.text((MARGIN, MARGIN - 8), "Lung density", WHITE, _font(24))
    draw.text((MARGIN, PAGE[1] - 34), caption, GREY, _font(13))
    shown = list(range(len(case.slices)))
    return Page(np.asarray(page), ("L", "F"), shown, "Coronal view with measurements")


def _axial_page(case: Case, frame: Frame, hu: Any, labels: Any, caption: str) -> Page:
    """Draw axial slices from the top of the lungs to their base, equally far apart."""
    page = Image.new("RGB", PAGE)
    draw = ImageDraw.Draw(page)
    levels = _levels(labels)
    body = _body_box(hu)
    for index, z in enumerate(levels):
        x, y = index % GRID[0] * TILE[0], index // GRID[0] * TILE[1]
        plane, mask = hu[body][:, :, z].T, labels[body][:, :, z].T
        view = _view(plane, mask, (frame.spacing[1], frame.spacing[0]), (TILE[0] - 4, TILE[1] - 22))
        left, top = (TILE[0] - view.width) // 2, (TILE[1] + 20 - view.height) // 2
        page.paste(view, (x + left, y + top))
        name = _image_name(case, _slice_of(frame, z, len(case.slices)))
        draw.text((x + TILE[0] // 2, y + 3), name, GREY, _font(13), anchor="ma")
        _sides(draw, x + 4, y, TILE[0] - 8, 14)
    _legend(draw, MARGIN, PAGE[1] - 62)
    draw.text((MARGIN, PAGE[1] - 34), caption, GREY, _font(13))
    slices = [_slice_of(frame, z, len(case.slices)) for z in levels]
    shown = [k for k in slices if k is not None] or list(range(len(case.slices)))
    return Page(np.asarray(page), ("L", "P"), sorted(shown), "Axial slices, head to foot")


def _slice_of(frame: Frame, z: int, count: int) -> int | None:
    """Give the volume's slice at a level; None where its slices are not axial."""
    if frame.order[2] != 2:
        return None
    return count - 1 - z if frame.flips[2] else z


def _image_name(case: Case, k: int | None) -> str:
    """Name a source slice as the viewer beside it does: by Instance Number, or frame."""
    if k is None:
        return ""
    header, frame = case.slices[k]
    if frame is not None:
        return f"frame {frame}"
    return f"image {case.headers[header].get('InstanceNumber', '')}"


def _levels(labels: Any) -> list[int]:
    """Choose levels from the lungs' top to their base."""
    hit = np.flatnonzero(labels.any(axis=(0, 1)))
    wanted = GRID[0] * GRID[1]
    inset = 0.03 * (hit[-1] - hit[0])
    chosen = np.linspace(hit[-1] - inset, hit[0] + inset, wanted).round().astype(int)
    return list(dict.fromkeys(int(z) for z in chosen))


def _body_box(hu: Any) -> tuple[slice, slice]:
    """Find the in-plane box around the patient, so that tiles do not show air and table."""
    step = max(1, hu.shape[2] // 16)
    dense = ndimage.binary_opening(hu[:, :, ::step].max(axis=2) > -300, iterations=3)
    box = ndimage.find_objects(dense.astype(np.uint8))
    if not box:
        return slice(None), slice(None)
    return box[0][0], box[0][1]


def _view(
    plane: Any, mask: Any, spacing: tuple[float, float], room: tuple[int, int]
) -> Image.Image:
    """Scale a plane to true proportions within `room` (width, height) and colour it."""
    height, width = plane.shape[0] * spacing[0], plane.shape[1] * spacing[1]
    scale = min(room[0] / width, room[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    values = np.asarray(
        Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32)).resize(
            size, Image.Resampling.BILINEAR
        )
    )
    sides = np.asarray(
        Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8)).resize(
            size, Image.Resampling.NEAREST
        )
    )
    return Image.fromarray(_coloured(values, sides))


def _coloured(values: npt.NDArray[np.float32], sides: Picture) -> Picture:
    """Window to grey, mark emphysema, outline both lungs."""
    low = WINDOW[0] - WINDOW[1] / 2
    grey = np.clip((values - low) / WINDOW[1] * 255.0, 0, 255).astype(np.float32)
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    emphysema = (sides > 0) & (values < LAA_HU)
    picture[emphysema] = 0.35 * picture[emphysema] + 0.65 * np.asarray(LAA_RGB, dtype=np.float32)
    for number, rgb in ((1, RIGHT_RGB), (2, LEFT_RGB)):
        inside = sides == number
        picture[inside & ~ndimage.binary_erosion(inside)] = rgb
    return picture.astype(np.uint8)


def _sides(draw: ImageDraw.ImageDraw, left: int, top: int, width: int, size: int) -> None:
    """Mark the patient's right and left beside a view."""
    draw.text((left + 2, top + 2), "R", WHITE, _font(size))
    draw.text((left + width - size, top + 2), "L", WHITE, _font(size))


def _table(draw: ImageDraw.ImageDraw, measurements: dict[str, Any], left: int) -> None:
    """Write the measurements as a table, warnings and the legend below it."""
    columns = (("Right", "right"), ("Left", "left"), ("Both", "total"))
    rows = (
        ("Volume", "ml", "volume_ml", 0),
        ("Mean density", "HU", "mean_hu", 0),
        ("LAA-950", "%", "laa950_percent", 1),
        ("Perc15", "HU", "perc15_hu", 0),
    )
    stops = [left + 118 + 62 * index for index in range(len(columns))]
    y = 190
    for stop, (title, _) in zip(stops, columns, strict=True):
        draw.text((stop + 46, y), title, GREY, _font(16), anchor="ra")
    for title, unit, key, digits in rows:
        y += 40
        draw.text((left, y), title, WHITE, _font(16))
        draw.text((left, y + 18), unit, GREY, _font(12))
        for stop, (_, side) in zip(stops, columns, strict=True):
            text = f"{measurements['lungs'][side][key]:.{digits}f}"
            draw.text((stop + 46, y), text, WHITE, _font(16), anchor="ra")
    y += 64
    for warning in measurements.get("warnings") or []:
        message = str(warning["message"])
        for line in textwrap.wrap(message[:1].upper() + message[1:], 42):
            draw.text((left, y), line, AMBER, _font(14))
            y += 20
        y += 8
    _legend(draw, left, y + 8, across=False)


def _legend(draw: ImageDraw.ImageDraw, left: int, top: int, *, across: bool = True) -> None:
    """Say what the colours mean, in a row or one below the other."""
    entries = (
        (RIGHT_RGB, "Right lung"),
        (LEFT_RGB, "Left lung"),
        (LAA_RGB, "Below -950 HU"),
    )
    for index, (rgb, text) in enumerate(entries):
        x, y = (left + 150 * index, top) if across else (left, top + 24 * index)
        draw.rectangle((x, y + 3, x + 12, y + 15), fill=rgb)
        draw.text((x + 20, y), text, WHITE, _font(14))
