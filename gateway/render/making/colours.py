"""Colours for labels that bring none: far apart from each other, and from grey."""

from __future__ import annotations

import colorsys

_GOLDEN = 0.61803398875
"""Steps of this part of the circle never come near a hue that was used before."""


def palette(number: int) -> str:
    """The colour of a label, always the same for the same number, as #rrggbb."""
    hue = (0.02 + _GOLDEN * (number - 1)) % 1.0
    channels = colorsys.hsv_to_rgb(hue, 0.72, 0.95)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)
