"""Spacing and orientation of a series, from the geometry kept of its instances.

A geometry is ``{"position": [x, y, z], "orientation": [6 cosines], "spacing": [row, column],
"thickness": mm, "spacing_between_slices": mm}`` in the patient coordinate system (PS3.3
C.7.6.2.1.1), mm; every key may be absent or null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

Geometry = Mapping[str, Any]

AXES = {0: "sagittal", 1: "coronal", 2: "axial"}
"""The plane whose normal lies along x, y or z of the patient."""
AXIS_COSINE = 0.8
"""A normal whose cosine with an axis is at least this names that plane (37°: a tilted gantry is
still axial), the threshold that DICOM toolkits use."""
SAME_MM = 1e-3
"""Slices closer than this along the normal are one position."""
SAME_COSINE = 1e-2
"""Orientations that differ more in any cosine are different."""


def orientation(geometries: Sequence[Geometry | None]) -> str | None:
    """``axial``, ``coronal``, ``sagittal`` or ``oblique``; None when no instance says.

    A series that mixes planes is oblique: no single plane is right for it.
    """
    names = {_plane(n) for n in map(_normal, geometries) if n is not None}
    if not names:
        return None
    return names.pop() if len(names) == 1 else "oblique"


def spacing(geometries: Sequence[Geometry | None]) -> list[float | None] | None:
    """``[row, column, slice]`` in mm, None when the pixel spacing is unknown.

    ``slice`` is the median step between the sorted distinct positions along the normal; for a
    single position, SpacingBetweenSlices or SliceThickness; else None.
    """
    first = next((g for g in geometries if g and g.get("spacing")), None)
    if first is None:
        return None
    row, column = (float(v) for v in first["spacing"])
    return [row, column, _slice_spacing(geometries)]


def _slice_spacing(geometries: Sequence[Geometry | None]) -> float | None:
    normal = next((n for n in map(_normal, geometries) if n is not None), None)
    if normal is not None:
        steps = _steps(_along(normal, geometries))
        if steps:
            # What a file says in decimals comes back in decimals: 1.2, not 1.2000000000000028.
            return round(float(median(steps)), 6)
    for key in ("spacing_between_slices", "thickness"):
        found = next((g[key] for g in geometries if g and g.get(key) is not None), None)
        if found is not None:
            # SpacingBetweenSlices may be negative in NM; its size is what a rule asks for.
            return abs(float(found))
    return None


def _along(normal: Sequence[float], geometries: Sequence[Geometry | None]) -> list[float]:
    """Distances of the slices that share the first orientation, along ``normal``."""
    return [
        sum(n * p for n, p in zip(normal, g["position"], strict=True))
        for g in geometries
        if g and g.get("position") and _parallel(_normal(g), normal)
    ]


def _steps(distances: list[float]) -> list[float]:
    return [b - a for a, b in pairwise(sorted(distances)) if b - a > SAME_MM]


def _parallel(one: Sequence[float] | None, other: Sequence[float]) -> bool:
    return one is not None and all(
        abs(a - b) < SAME_COSINE for a, b in zip(one, other, strict=True)
    )


def _normal(geometry: Geometry | None) -> tuple[float, float, float] | None:
    """The unit normal of the image plane: row cosines cross column cosines."""
    cosines = geometry.get("orientation") if geometry else None
    if not cosines or len(cosines) != 6:
        return None
    a, b, c, d, e, f = (float(v) for v in cosines)
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*normal)
    if not 0.5 < length < 1.5:
        return None
    return (normal[0] / length, normal[1] / length, normal[2] / length)


def _plane(normal: Sequence[float]) -> str:
    axis = max(range(3), key=lambda i: abs(normal[i]))
    return AXES[axis] if abs(normal[axis]) >= AXIS_COSINE else "oblique"
