"""The unit of geometry: one two-dimensional image with its place in the patient.

A classic instance gives one frame, an enhanced multi-frame instance one per frame, a Siemens mosaic
one per tile.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Labels:
    """What tells the volumes of one series apart; None where the source says nothing.

    `gradient` is the diffusion direction, times are in ms, `b_value` in s/mm².
    """

    temporal_position: int | None = None
    b_value: float | None = None
    gradient: tuple[float, ...] | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    acquisition: int | None = None
    image_type: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return the labels as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image and where it lies (PS3.3 C.7.6.2.1.1), in mm in the patient's coordinates (LPS).

    `instance` indexes the series' instances; `number` counts frames or tiles from 0. `spacing` is
    that of columns (along i) and of rows (along j). `order` is instance number, then frame number.
    `time` orders volumes that nothing else tells apart (acquisition or trigger time).
    """

    instance: int
    number: int
    position: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    slope: float
    intercept: float
    labels: Labels
    time: str
    order: tuple[int, int]
