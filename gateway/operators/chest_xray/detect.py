"""Asks the model for one radiograph and reads findings out of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.operators.base_inference.triton import Model
from gateway.operators.chest_xray.images import Radiograph
from gateway.operators.sdk import OperatorError

MODEL: Final = "chest_xray_findings"
THRESHOLD: Final = 0.09
"""Score from which a peak is a finding."""
NODULE_MM: Final = 32.0
"""Largest diameter of a nodule; what is larger is an opacity."""
APART: Final = 0.75
"""Two findings are at least so many diameters of the larger one apart."""
MOST_FINDINGS: Final = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding on one image: centre in stored pixels (from 0), diameter in mm, score 0 to 1."""

    kind: str
    row: float
    column: float
    diameter_mm: float
    score: float


def find(model: Model, radiograph: Radiograph) -> list[Finding]:
    """Return the findings of an image, the strongest first.

    Raises:
        OperatorError: what `triton` says of server and model; SHAPE_DIFFERS.
    """
    image = radiograph.brightness
    answer = model.infer({"image": image[None, None]}, ["score", "diameter"])
    score, diameter = answer["score"], answer["diameter"]
    if score.shape != (1, 1, *image.shape) or diameter.shape != score.shape:
        raise OperatorError("SHAPE_DIFFERS", f"the model answered {list(score.shape)}")
    peaks = np.argwhere(score[0, 0] >= THRESHOLD)
    strength = np.array([score[0, 0, y, x] for y, x in peaks])
    kept: list[tuple[float, float, float]] = []
    found: list[Finding] = []
    for y, x in peaks[np.argsort(-strength, kind="stable")]:
        size = float(diameter[0, 0, y, x])
        # A spot answers at several scales and, a wide one, in several places.
        if any(np.hypot(y - a, x - b) < APART * max(size, d) for a, b, d in kept):
            continue
        kept.append((float(y), float(x), size))
        row, column = radiograph.place(y + 0.5, x + 0.5)
        kind = "nodule" if size <= NODULE_MM else "opacity"
        found.append(Finding(kind, row, column, size, min(1.0, float(score[0, 0, y, x]))))
        if len(found) == MOST_FINDINGS:
            break
    return found
