"""How an instance stores its pixels, and which bits count (PS3.3 C.7.6.3, PS3.5 8.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.operators.dicom_reader import tags
from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.header import Header

Pixels = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """Size, bits and sign of the pixels of one instance."""

    rows: int
    columns: int
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """Return the type of a stored pixel."""
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.allocated // 8}")

    @property
    def frame_bytes(self) -> int:
        """Return the length of one uncompressed frame."""
        return self.rows * self.columns * self.allocated // 8

    @property
    def span(self) -> tuple[int, int]:
        """Return the smallest and largest value that can be stored."""
        if self.signed:
            return -(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1
        return 0, (1 << self.stored) - 1

    def settle(self, pixels: Pixels) -> None:
        """Drop, in place, the bits outside Bits Stored and extend the sign.

        `pixels` has this format's type.
        """
        left, right = self.allocated - 1 - self.high, self.allocated - self.stored
        if right == 0:
            return
        if self.signed or self.high != self.stored - 1:
            np.left_shift(pixels, left, out=pixels)
            np.right_shift(pixels, right, out=pixels)
        else:
            np.bitwise_and(pixels, (1 << self.stored) - 1, out=pixels)


def format_of(header: Header) -> PixelFormat:
    """Return the pixel format of an instance.

    Raises:
        InputRefusedError: UNSUPPORTED_PIXELS, BAD_ATTRIBUTE.
    """
    allocated = header.unsigned(tags.BITS_ALLOCATED)
    stored = header.unsigned(tags.BITS_STORED, allocated)
    found = PixelFormat(
        rows=header.unsigned(tags.ROWS),
        columns=header.unsigned(tags.COLUMNS),
        allocated=allocated,
        stored=stored,
        high=header.unsigned(tags.HIGH_BIT, max(stored - 1, 0)),
        signed=header.unsigned(tags.PIXEL_REPRESENTATION, 0) == 1,
    )
    if allocated not in (8, 16, 32) or not 0 < stored <= found.high + 1 <= allocated:
        raise refused(
            SeriesRefusal.UNSUPPORTED_PIXELS,
            f"{stored} bits stored in {allocated}, highest bit {found.high}",
        )
    return found
