"""Densitometry of labelled lungs: volume, mean density, LAA-950 and Perc15."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gateway.operators.lung_density.orientation import Volume
from gateway.operators.lung_density.separate import LEFT, RIGHT
from gateway.operators.lung_density.working import Labels, Mask

LAA_HU: Final = -950
PERCENTILE: Final = 15


def measure(
    volume: Volume, labels: Labels, voxel_ml: float, affine_lps: npt.NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """Measure `right`, `left` and `total`; volumes in ml, densities in HU, LAA-950 in percent."""
    masks = {"right": labels == RIGHT, "left": labels == LEFT, "total": labels > 0}
    return {name: _measure(volume, mask, voxel_ml, affine_lps) for name, mask in masks.items()}


def _measure(
    volume: Volume, mask: Mask, voxel_ml: float, affine_lps: npt.NDArray[np.float64]
) -> dict[str, Any]:
    values = volume[mask]
    centroid = affine_lps @ [*_centroid(mask), 1.0]
    return {
        "voxels": int(values.size),
        "volume_ml": round(values.size * voxel_ml, 3),
        "mean_hu": round(float(values.mean(dtype=np.float64)), 3),
        "laa950_percent": round(np.count_nonzero(values < LAA_HU) / values.size * 100, 4),
        "perc15_hu": round(float(np.percentile(values, PERCENTILE)), 3),
        "centroid_lps": [round(float(value), 3) for value in centroid[:3]],
    }


def _centroid(mask: Mask) -> list[float]:
    """Give the centroid of a non-empty mask as indices, from one projection per axis."""
    centre = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        profile = mask.sum(axis=others, dtype=np.float64)
        centre.append(float((profile * np.arange(profile.size)).sum() / profile.sum()))
    return centre
