"""Finds one organ in its region: which voxel belongs to it.

1. The region is turned into the patient's axes, averaged to a working grid of about 1.4 mm and
   smoothed by 1.5 mm.
2. Tissue in the organ's window is eroded; of what is left, the largest piece where the organ
   usually lies is its core. The core's median is the organ's density in this patient.
3. Tissue near that density is opened, which cuts vessels and thin bridges to its neighbours; what
   hangs together with the core is the organ's body.
4. It is closed over the vessels inside it, and its holes are filled.
5. In a band about its border each voxel is weighed against the density of the organ and that of
   what lies outside it there: the border lies halfway, against fat as against muscle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gateway.operators.lung_density.orientation import Frame, Volume
from gateway.operators.lung_density.working import Mask, Working, make_working
from gateway.operators.organ_segmentation.models import Model

SMOOTHING_MM: Final = 1.5
BAND_MM: Final = 3.0
FAT_HU: Final = -110.0
LEAST_STEP_HU: Final = 20.0
Floats = npt.NDArray[np.float32]
Ranges = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Found:
    """The organ on the file's own axes, or why there is none."""

    mask: npt.NDArray[np.uint8]
    code: str | None = None
    message: str | None = None
    core_hu: float | None = None


def segment(volume: Volume, frame: Frame, model: Model, where: Ranges) -> Found:
    """Find an organ in a region in HU.

    `where` are the fractions of the region (left axis, back axis) in which its core may lie.
    """
    empty = np.zeros(volume.shape, dtype=np.uint8)
    working = make_working(frame.turned(volume), frame)
    sigma = [SMOOTHING_MM / step for step in working.spacing]
    smooth = ndimage.gaussian_filter(working.hu, sigma, mode="nearest")
    core = _core(smooth, working, model, where)
    if core is None:
        return Found(empty, "NOT_FOUND", "no tissue of its density and size lies where it belongs")
    density = float(np.median(smooth[core]))
    body = _body(smooth, working, model, core, density)
    body = _settle_border(smooth, working, body, density, model)
    millilitres = float(np.count_nonzero(body)) * working.voxel_mm3 / 1000.0
    if not model.least_ml <= millilitres <= model.most_ml:
        code = "NOT_FOUND" if millilitres < model.least_ml else "TOO_LARGE"
        size = f"{millilitres:.0f} ml is no size of it ({model.least_ml:g} to {model.most_ml:g} ml)"
        return Found(empty, code, size, density)
    _draw(body, working, frame.turned(empty))
    return Found(empty, core_hu=density)


def _within(smooth: Floats, low: float, high: float) -> Mask:
    return np.asarray((smooth >= low) & (smooth <= high))


def _core(smooth: Floats, working: Working, model: Model, where: Ranges) -> Mask | None:
    """Give the largest piece of eroded tissue in the organ's window and place."""
    deep = _eroded(_within(smooth, *model.window_hu), working, model.core_mm)
    place = np.zeros(deep.shape, dtype=np.bool_)
    spans = [
        slice(max(0, int(low * n)), max(0, int(np.ceil(high * n))))
        for (low, high), n in zip(where, deep.shape, strict=False)
    ]
    place[spans[0], spans[1]] = True
    pieces, count = ndimage.label(deep)
    if not count:
        return None
    sizes = np.bincount(pieces[place], minlength=count + 1)
    sizes[0] = 0
    if not sizes.any():
        return None
    return np.asarray(pieces == int(np.argmax(sizes)))


def _body(smooth: Floats, working: Working, model: Model, core: Mask, density: float) -> Mask:
    """Give the tissue of the core's density that hangs together with it, vessels filled."""
    below, above = model.spread_hu
    tissue = _within(smooth, density - below, density + above)
    inner = _eroded(tissue, working, model.opening_mm)
    pieces, _ = ndimage.label(inner)
    names = np.unique(pieces[core & inner])
    kept = np.isin(pieces, names[names > 0])
    opened = _dilated(kept, working, model.opening_mm + 1.0) & tissue
    closed = _eroded(_dilated(opened, working, model.closing_mm), working, model.closing_mm)
    filled: Mask = ndimage.binary_fill_holes(closed | opened)
    return filled


def _settle_border(
    smooth: Floats, working: Working, body: Mask, density: float, model: Model
) -> Mask:
    """Move the border to halfway between the organ and what lies outside it there."""
    inside = _eroded(body, working, BAND_MM)
    near = _dilated(body, working, BAND_MM)
    shell = _dilated(body, working, 2 * BAND_MM) & ~_dilated(body, working, BAND_MM - 0.5)
    # Bone and vessels beside the organ are excluded by their brightness, not by a halfway mark.
    outer = np.clip(smooth, FAT_HU, density - LEAST_STEP_HU)
    sigma = [BAND_MM / step for step in working.spacing]
    weight = ndimage.gaussian_filter(shell.astype(np.float32), sigma)
    outer = ndimage.gaussian_filter(np.where(shell, outer, 0).astype(np.float32), sigma)
    outer = np.where(weight > 1e-3, outer / np.maximum(weight, 1e-3), FAT_HU)
    is_organ = (smooth > (density + outer) / 2) & (smooth < density + model.spread_hu[1])
    settled = inside | (near & is_organ) | (body & (smooth > density))
    pieces, count = ndimage.label(settled)
    if not count:
        return body
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    filled: Mask = ndimage.binary_fill_holes(pieces == int(np.argmax(sizes)))
    return filled


def _eroded(mask: Mask, working: Working, by: float) -> Mask:
    """Erode by a ball; the region's own edge does not count as outside."""
    if mask.all():
        return mask
    away: Mask = ndimage.distance_transform_edt(mask, sampling=working.spacing) > by
    return away


def _dilated(mask: Mask, working: Working, by: float) -> Mask:
    """Dilate by a ball."""
    if not mask.any():
        return mask
    near: Mask = ndimage.distance_transform_edt(~mask, sampling=working.spacing) <= by
    return near


def _draw(body: Mask, working: Working, out: npt.NDArray[np.uint8]) -> None:
    """Draw the working mask on the full grid, in place."""
    for z in range(out.shape[2]):
        out[:, :, z] = working.upsampled(body, out.shape, z)
