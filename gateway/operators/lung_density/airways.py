"""Finds trachea and main bronchi, so that they do not count as lung.

The trachea is the longest chain, from slice to slice, of roundish air in the upper half of the
chest near its middle. From there the airway tree is followed through darker and darker grey
(lumen is near -1000 HU) as far as it goes without leaking: the threshold rises until the tree
grows by a burst, and the last tree before the burst is kept.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import ndimage

from gateway.operators.lung_density.working import Mask, Working, bounding_box

TRACHEA_MM2: Final = (60.0, 800.0)
TRACHEA_FROM_MIDDLE_MM: Final = 45.0
TRACHEA_LENGTH_MM: Final = 15.0
THRESHOLDS: Final = (-970.0, -955.0, -940.0, -925.0, -910.0, -895.0, -880.0, -860.0, -830.0)
TREE_BEYOND_TRACHEA_ML: Final = 45.0
BURST_ML: Final = 12.0
WALL_MM: Final = 2.2


def find_airways(working: Working, inner: Mask, middle_x: float) -> Mask | None:
    """Return trachea and main bronchi with their walls; None where no trachea is found.

    `inner` is air inside the body; `middle_x` the body's middle as an index of axis 0.
    """
    trachea = _trachea(working, inner, middle_x)
    if trachea is None:
        return None
    margin = tuple(round(mm / s) for mm, s in zip((70, 55, 90), working.spacing, strict=True))
    box = bounding_box(trachea, (margin[0], margin[1], margin[2]))
    tree = _grow(working, inner, trachea, box)
    return _with_wall(working, tree)


def _trachea(working: Working, inner: Mask, middle_x: float) -> Mask | None:
    """Return the chain of tracheal cross-sections; None where there is none long enough."""
    levels = np.flatnonzero(inner.any(axis=(0, 1)))
    if levels.size == 0:
        return None
    candidates = np.zeros(inner.shape, dtype=np.bool_)
    for z in range((int(levels[0]) + int(levels[-1])) // 2, int(levels[-1]) + 1):
        _mark_round(working, inner[:, :, z], candidates[:, :, z], middle_x)
    chains, _ = ndimage.label(candidates, structure=np.ones((3, 3, 3)))
    best, best_key = None, (0.0, 0)
    for index, box in enumerate(ndimage.find_objects(chains), start=1):
        length = (box[2].stop - box[2].start) * working.spacing[2]
        size = int(np.count_nonzero(chains[box] == index))
        if length >= TRACHEA_LENGTH_MM and (length, size) > best_key:
            best, best_key = index, (length, size)
    return None if best is None else chains == best


def _mark_round(working: Working, air: Mask, marked: Mask, middle_x: float) -> None:
    """Mark the components of one slice that have a trachea's size, shape and place."""
    components, _ = ndimage.label(air)
    area = working.spacing[0] * working.spacing[1]
    for index, box in enumerate(ndimage.find_objects(components), start=1):
        width = (box[0].stop - box[0].start) * working.spacing[0]
        depth = (box[1].stop - box[1].start) * working.spacing[1]
        off = abs((box[0].start + box[0].stop - 1) / 2 - middle_x) * working.spacing[0]
        if max(width, depth) > 45.0 or off > TRACHEA_FROM_MIDDLE_MM:
            continue
        part = components[box] == index
        size = np.count_nonzero(part) * area
        if TRACHEA_MM2[0] <= size <= TRACHEA_MM2[1] and size >= 0.5 * width * depth:
            marked[box][part] = True


def _grow(working: Working, inner: Mask, trachea: Mask, box: tuple[slice, slice, slice]) -> Mask:
    """Follow the tree from the trachea inside `box`, stopping before it leaks into the lung."""
    smooth = ndimage.uniform_filter(working.hu[box], size=(3, 3, 1), mode="nearest")
    allowed, seed = inner[box], trachea[box]
    own = int(np.count_nonzero(seed))
    ml = working.voxel_mm3 / 1000.0
    tree, last = seed, own
    for threshold in THRESHOLDS:
        components, _ = ndimage.label((allowed & (smooth < threshold)) | seed)
        names = np.unique(components[seed])
        grown = np.isin(components, names[names > 0])
        size = int(np.count_nonzero(grown))
        if (size - own) * ml > TREE_BEYOND_TRACHEA_ML or (size - last) * ml > BURST_ML:
            break
        tree, last = grown, size
    whole = np.zeros(inner.shape, dtype=np.bool_)
    whole[box] = tree
    return whole


def _with_wall(working: Working, tree: Mask) -> Mask:
    """Add the wall, whose voxels are half air and would else count as lung."""
    margin = tuple(int(WALL_MM / s) + 1 for s in working.spacing)
    box = bounding_box(tree, (margin[0], margin[1], margin[2]))
    near = ndimage.distance_transform_edt(~tree[box], sampling=working.spacing) <= WALL_MM
    result = tree.copy()
    result[box] |= near
    return result
