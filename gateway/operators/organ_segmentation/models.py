"""What is known of each organ beforehand: densities, place and size."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

Span = tuple[float, float]


@dataclass(frozen=True)
class Model:
    """Prior knowledge of one organ; lengths in millimetres, volumes in ml, densities in HU.

    `window_hu` is where its density lies at all, `spread_hu` how far below and above its core's
    own density its tissue goes. `across` and `deep` are where its core lies in the trunk's box
    (right to left, front to back).
    """

    window_hu: Span
    spread_hu: Span
    across: Span
    deep: Span
    core_mm: float
    opening_mm: float
    closing_mm: float
    least_ml: float
    most_ml: float

    def record(self) -> dict[str, Any]:
        """Give the parameters as plain JSON values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def _kidney(across: Span) -> Model:
    return Model(
        window_hu=(130.0, 280.0),
        spread_hu=(55.0, 60.0),
        across=across,
        deep=(0.5, 0.88),
        core_mm=5.0,
        opening_mm=5.0,
        closing_mm=2.0,
        least_ml=40.0,
        most_ml=450.0,
    )


MODELS: Final = {
    "liver": Model(
        window_hu=(85.0, 150.0),
        spread_hu=(24.0, 40.0),
        across=(0.05, 0.45),
        deep=(0.2, 0.8),
        core_mm=9.0,
        opening_mm=5.0,
        closing_mm=6.0,
        least_ml=400.0,
        most_ml=4000.0,
    ),
    "spleen": Model(
        window_hu=(92.0, 160.0),
        spread_hu=(28.0, 32.0),
        across=(0.65, 0.97),
        deep=(0.4, 0.9),
        core_mm=7.0,
        opening_mm=5.0,
        closing_mm=3.0,
        least_ml=40.0,
        most_ml=1500.0,
    ),
    "right-kidney": _kidney((0.14, 0.42)),
    "left-kidney": _kidney((0.58, 0.86)),
}
