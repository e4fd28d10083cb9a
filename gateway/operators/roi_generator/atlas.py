"""Where an organ usually lies in the trunk, and how DICOM names it.

Places are fractions of the trunk's box: `across` from the patient's right (0) to the left (1),
`deep` from front (0) to back (1). Along the body no place is given: scans begin and end anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Span = tuple[float, float]


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8): value, scheme and meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Entry:
    """One organ of the atlas: its number in the label map, its names, codes and place."""

    name: str
    number: int
    label: str
    type: Code
    laterality: Code | None
    color: tuple[int, int, int]
    across: Span
    deep: Span


ORGAN: Final = Code("123037004", "SCT", "Anatomical Structure")
RIGHT: Final = Code("24028007", "SCT", "Right")
LEFT: Final = Code("7771000", "SCT", "Left")
KIDNEY: Final = Code("64033007", "SCT", "Kidney")

ATLAS: Final = {
    entry.name: entry
    for entry in (
        Entry(
            "liver", 1, "Liver", Code("10200004", "SCT", "Liver"), None,
            (221, 130, 101), (0.0, 0.80), (0.0, 1.0),
        ),
        Entry(
            "spleen", 2, "Spleen", Code("78961009", "SCT", "Spleen"), None,
            (157, 108, 162), (0.55, 1.0), (0.2, 1.0),
        ),
        Entry(
            "right-kidney", 3, "Right kidney", KIDNEY, RIGHT,
            (255, 150, 40), (0.08, 0.5), (0.35, 1.0),
        ),
        Entry(
            "left-kidney", 4, "Left kidney", KIDNEY, LEFT,
            (70, 160, 255), (0.5, 0.92), (0.35, 1.0),
        ),
    )
}  # fmt: skip
