"""Finds the patient's trunk, on the volume turned into the patient's axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from gateway.operators.lung_density.orientation import Volume
from gateway.operators.sdk import InputRefusedError

SKIN_HU: Final = -300.0
LOOK_MM: Final = 5.0
TABLE_MM: Final = 12.0
LEAST_LITRES: Final = 4.0


@dataclass(frozen=True)
class Trunk:
    """The trunk's box as half-open index ranges of the axes left, back, head."""

    across: tuple[int, int]
    deep: tuple[int, int]
    along: tuple[int, int]

    def part(self, span: tuple[float, float], axis: str) -> tuple[int, int]:
        """Give the index range of a fraction of the box along `across` or `deep`."""
        low, high = getattr(self, axis)
        size = high - low
        return low + int(span[0] * size), low + int(np.ceil(span[1] * size))


def find_trunk(turned: Volume, spacing: tuple[float, float, float]) -> Trunk:
    """Find the box of the trunk in a volume in HU whose axes run left, back, head.

    Arms beside the trunk widen the box only where they touch it; the table, thinner than 12 mm
    wherever it is dense, falls away.

    Raises:
        InputRefusedError: NO_BODY_FOUND, nothing as large as a patient is in it.
    """
    steps = [max(1, round(LOOK_MM / step)) for step in spacing]
    coarse = turned[:: steps[0], :: steps[1], :: steps[2]] > SKIN_HU
    size = [step * mm for step, mm in zip(steps, spacing, strict=True)]
    # Lungs and bowel gas count as inside: holes are filled slice by slice.
    for z in range(coarse.shape[2]):
        coarse[:, :, z] = ndimage.binary_fill_holes(coarse[:, :, z])
    reach = [max(1, int(TABLE_MM / mm / 2)) for mm in size[:2]]
    brush = np.ones((2 * reach[0] + 1, 2 * reach[1] + 1, 1), dtype=np.bool_)
    opened = ndimage.binary_opening(coarse, brush)
    components, count = ndimage.label(opened)
    if not count:
        raise InputRefusedError("NO_BODY_FOUND", "no patient is in the volume")
    sizes = np.bincount(components.ravel())[1:]
    if float(sizes.max() * np.prod(size)) < LEAST_LITRES * 1e6:
        raise InputRefusedError("NO_BODY_FOUND", "nothing as large as a trunk is in the volume")
    found = ndimage.find_objects(components)[int(np.argmax(sizes))]
    ranges = [
        (part.start * step, min(part.stop * step, length))
        for part, step, length in zip(found, steps, turned.shape, strict=True)
    ]
    return Trunk(ranges[0], ranges[1], ranges[2])
