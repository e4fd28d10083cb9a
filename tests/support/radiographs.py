"""Drawn chest radiographs with findings of known place and size.

Not a model of physics: body, lungs, mediastinum, heart, diaphragm, ribs that cross, clavicles,
vessels and noise, enough that a detector of bright spots must tell them from a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)
from scipy import ndimage

WIDTH_MM, HEIGHT_MM = 360.0, 400.0
Image = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """A planted finding: centre from the image's corner in mm (x right, y down) and diameter."""

    kind: str
    x_mm: float
    y_mm: float
    diameter_mm: float


@dataclass(frozen=True)
class Radiograph:
    """A drawn image: 0 = no attenuation, 1 = most; and what was planted."""

    image: Image
    spacing_mm: float
    findings: tuple[Finding, ...]


def _soft(distance: Image, width: float) -> Image:
    """1 inside (negative distance), 0 outside, over about `width` mm."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(distance / (width / 4.0), -60.0, 60.0))))


def _ellipse(x: Image, y: Image, cx: float, cy: float, rx: float, ry: float) -> Image:
    """Roughly the signed distance to an ellipse, mm."""
    radius = np.hypot((x - cx) / rx, (y - cy) / ry)
    return np.asarray((radius - 1.0) * min(rx, ry))


class _Drawing:
    """One patient's chest; sizes vary with the seed."""

    def __init__(self, seed: int, spacing_mm: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.spacing = spacing_mm
        rows, columns = round(HEIGHT_MM / spacing_mm), round(WIDTH_MM / spacing_mm)
        self.y, self.x = np.mgrid[0:rows, 0:columns] * spacing_mm + spacing_mm / 2
        self.cx = WIDTH_MM / 2 + self.rng.uniform(-6, 6)
        self.size = self.rng.uniform(0.92, 1.06)

    def lungs(self) -> Image:
        """1 in the lungs, soft-edged; diaphragm, mediastinum and heart taken out."""
        s, total = self.size, np.zeros_like(self.x)
        for side in (-1, 1):
            total = np.maximum(
                total,
                _soft(_ellipse(self.x, self.y, self.cx + side * 74 * s, 190, 60 * s, 142 * s), 8),
            )
        middle = np.abs(self.x - self.cx) - (24 + 8 * np.clip((self.y - 60) / 240, 0, 1)) * s
        heart = _ellipse(self.x, self.y, self.cx + 26 * s, 248, 58 * s, 52 * s)
        outside = (1 - _soft(middle, 8)) * (1 - _soft(heart, 8))
        return np.asarray(total * outside * self._above_diaphragm())

    def _above_diaphragm(self) -> Image:
        domes = np.zeros_like(self.x)
        for side, top in ((-1, 268.0), (1, 278.0)):
            centre = self.cx + side * 72 * self.size
            dome = top + 0.008 * (self.x - centre) ** 2
            half = self.x < self.cx if side < 0 else self.x >= self.cx
            domes = np.where(half, _soft(self.y - dome, 6), domes)
        return domes

    def ribs(self) -> Image:
        """Posterior ribs that fall outwards and anterior ribs that cross them; clavicles."""
        total = np.zeros_like(self.x)
        for side in (-1, 1):
            out = side * (self.x - self.cx) / self.size
            for number in range(9):
                top = 52 + 27 * number + self.rng.uniform(-2, 2)
                total += self._band(self.y - (top + 0.25 * out + 0.0012 * out**2), out, 0.060)
                front = 95 + 33 * number + self.rng.uniform(-3, 3)
                total += self._band(self.y - (front - 0.35 * out), out, 0.025)
            total += self._band(self.y - (66 - 0.25 * out), out, 0.060)
        return total

    def _band(self, across: Image, out: Image, strength: float) -> Image:
        width = self.rng.uniform(7.0, 9.0)
        profile = _soft(np.abs(across) - width / 2, 2.5)
        return np.asarray(strength * profile * _soft(20 - out, 8) * _soft(out - 145, 8))

    def vessels(self) -> Image:
        """Lines that leave the hila, spread out and taper."""
        total = np.zeros_like(self.x)
        for side in (-1, 1):
            for _ in range(9):
                lift = self.rng.uniform(-1.0, 1.0)
                angle, root = 1.1 * lift, 178 + 24 * lift
                dx, dy = side * np.cos(angle), np.sin(angle)
                along = (self.x - self.cx - side * 30) * dx + (self.y - root) * dy
                across = (self.x - self.cx - side * 30) * dy - (self.y - root) * dx
                across = across + 6 * np.sin(along / 23 + self.rng.uniform(0, 6))
                width = np.clip(2.6 - along / 45, 0.6, 3)
                line = np.exp(-0.5 * (across / width) ** 2)
                line = 0.055 * line * _soft(-along, 6) * _soft(along - 85, 20)
                total = np.maximum(total, line)
        return total

    def plant(self, kind: str, room: Image) -> tuple[Image, Finding]:
        """Draw one finding where the lung has room for it."""
        low, high = (12.0, 28.0) if kind == "nodule" else (36.0, 56.0)
        diameter = self.rng.uniform(low, high)
        # Within the lung; the widest opacities reach its edge.
        need = diameter / 2 + 6 if kind == "nodule" else min(diameter / 2 + 4, 30)
        places = np.argwhere(room * self.spacing > need)
        row, column = places[self.rng.integers(len(places))]
        x, y = float(self.x[row, column]), float(self.y[row, column])
        stretch, turn = self.rng.uniform(0.88, 1.14), self.rng.uniform(0, np.pi)
        dx, dy = self.x - x, self.y - y
        u = (dx * np.cos(turn) + dy * np.sin(turn)) / stretch
        v = (dy * np.cos(turn) - dx * np.sin(turn)) * stretch
        far = np.hypot(u, v) / (diameter / 2)
        contrast = self.rng.uniform(0.16, 0.26)
        if kind == "nodule":
            spot = np.sqrt(np.clip(1 - far**2, 0, 1))
            spot = ndimage.gaussian_filter(spot, 1.0 / self.spacing)
        else:
            spot = np.exp(-0.5 * (far * 1.7) ** 2) * (1 + 0.15 * self._cloud(5.0))
        return contrast * spot, Finding(kind, x, y, diameter)

    def _cloud(self, sigma_mm: float) -> Image:
        """Noise of unit deviation, `sigma_mm` wide; drawn coarsely and enlarged."""
        step = max(sigma_mm / 2, self.spacing)
        shape = (int(HEIGHT_MM / step) + 4, int(WIDTH_MM / step) + 4)
        coarse = ndimage.gaussian_filter(self.rng.standard_normal(shape), sigma_mm / step)
        at = np.stack([self.y[:, 0][:, None] + 0 * self.x, self.x]) / step
        fine = ndimage.map_coordinates(coarse, at, order=1)
        return np.asarray(fine / fine.std())

    def noise(self) -> Image:
        """Grain, and the unevenness of soft tissue."""
        grain = self.rng.standard_normal(self.x.shape) * 0.012 / self.spacing**0.5
        return np.asarray(grain + 0.006 * self._cloud(4.0) + 0.012 * self._cloud(30.0))


def draw(seed: int, kinds: tuple[str, ...] = (), spacing_mm: float = 0.8) -> Radiograph:
    """Draw a chest with findings of these kinds (`nodule`, `opacity`), one per lung at most."""
    it = _Drawing(seed, spacing_mm)
    lungs = it.lungs()
    body = _soft(np.abs(it.x - it.cx) - 150 * it.size - 0.05 * (it.y - 200), 12)
    image = 0.62 * body - 0.36 * lungs
    heart = _ellipse(it.x, it.y, it.cx + 26 * it.size, 248, 58 * it.size, 52 * it.size)
    image += 0.10 * _soft(np.abs(it.x - it.cx) - 22, 14) + 0.08 * _soft(heart, 8)
    image += it.ribs() * body + it.vessels() * lungs
    room = ndimage.distance_transform_edt(lungs > 0.9)
    findings: list[Finding] = []
    sides = [side * room for side in (it.x < it.cx, it.x >= it.cx)]
    it.rng.shuffle(sides)
    for kind, side in zip(kinds, sides, strict=False):
        spot, finding = it.plant(kind, side)
        image += spot
        findings.append(finding)
    image = np.clip(image + it.noise() * np.maximum(body, 0.3), 0.0, 1.0)
    return Radiograph(image, spacing_mm, tuple(findings))


def dataset(drawn: Radiograph, **changes: Any) -> Dataset:
    """Make a CR instance of a drawing; `changes` by keyword, None removes.

    `bits` (12), `inverted` (False: MONOCHROME2) and `rescale` (None or (slope, intercept)) say how
    the same picture is stored.
    """
    bits = int(changes.pop("bits", 12))
    inverted = bool(changes.pop("inverted", False))
    slope, intercept = changes.pop("rescale", None) or (1, 0)
    top = (1 << bits) - 1
    stored = np.rint((1 - drawn.image if inverted else drawn.image) * top).astype(np.uint16)
    if slope < 0:
        stored = (top - stored).astype(np.uint16)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, Any] = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "Modality": "CR",
        "PatientID": "PHANTOM",
        "PatientName": "Drawn^Chest",
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "StudyDate": "20260102",
        "StudyTime": "101500",
        "StudyID": "1",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": "",
        "InstanceNumber": 1,
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1" if inverted else "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "PixelSpacing": [drawn.spacing_mm, drawn.spacing_mm],
        "BitsAllocated": 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "PixelData": stored.tobytes(),
    }
    if (slope, intercept) != (1, 0):
        values |= {"RescaleSlope": slope, "RescaleIntercept": intercept, "RescaleType": "US"}
    for keyword, value in {**values, **changes}.items():
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def save(folder: Path, instance: Dataset) -> Path:
    """Write an instance below a folder, named by its UID."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{instance.SOPInstanceUID}.dcm"
    instance.save_as(path, enforce_file_format=True)
    return path


def matches(drawn: Radiograph, found: list[dict[str, Any]]) -> tuple[int, int]:
    """Count (planted findings that were found, found ones that nobody planted).

    One is found where a finding lies within half a diameter of its centre.
    """
    rest = list(found)
    hits = 0
    for planted in drawn.findings:
        for one in rest:
            x = (one["column"] + 0.5) * drawn.spacing_mm
            y = (one["row"] + 0.5) * drawn.spacing_mm
            if np.hypot(x - planted.x_mm, y - planted.y_mm) <= planted.diameter_mm / 2:
                hits += 1
                rest.remove(one)
                break
    return hits, len(rest)
