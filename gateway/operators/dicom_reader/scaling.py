"""From stored pixels to values in the unit of the Modality LUT (PS3.3 C.11.1.1.2).

Integers stay integers where every slope and intercept is whole: then the arithmetic is done in
place, modulo the word, which is exact for every result that fits the chosen type. Else float32
(float64 for 32 stored bits). Slopes may differ from frame to frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.formats import PixelFormat, Pixels
from gateway.operators.dicom_reader.frames import Frame

Values = npt.NDArray[np.generic]

_CHOICES = ("<i2", "<u2", "<i4", "<u4")


@dataclass(slots=True)
class Scaling:
    """Scales the frames of one series; one `frame` call each, then `finish`.

    `known` is the type of the result where the formats alone decide it. Not thread-safe.
    """

    known: np.dtype[np.generic] | None
    whole: bool
    _lowest: int = 0
    _highest: int = 0
    _later: list[tuple[tuple[int, int], PixelFormat, Frame]] = field(default_factory=list)

    @classmethod
    def plan(cls, frames: Iterable[Frame], formats: Sequence[PixelFormat]) -> Scaling:
        """Decide the type of the result from formats, slopes and intercepts.

        Raises:
            InputRefusedError: BAD_RESCALE.
        """
        whole, lowest, highest = True, 0.0, 0.0
        for frame in frames:
            if (
                not (math.isfinite(frame.slope) and math.isfinite(frame.intercept))
                or not frame.slope
            ):
                raise refused(
                    SeriesRefusal.BAD_RESCALE, "a rescale slope or intercept makes no sense"
                )
            whole = whole and frame.slope.is_integer() and frame.intercept.is_integer()
            ends = [frame.slope * end + frame.intercept for end in formats[frame.instance].span]
            lowest, highest = min(lowest, *ends), max(highest, *ends)
        allocated = formats[0].allocated
        if not whole:
            return cls(np.dtype("<f8" if allocated == 32 else "<f4"), whole=False)
        if allocated == 8 and lowest >= 0 and highest <= 255:
            return cls(np.dtype("u1"), whole=True)
        return cls(_fitting(lowest, highest, allocated), whole=True)

    def frame(
        self, stored: Values, place: tuple[int, int], form: PixelFormat, frame: Frame
    ) -> None:
        """Take one settled frame at `stored[place]`; scale it now if the type is known and fits."""
        pixels = stored[place]
        if self.known is not None and self.whole and self.known.itemsize == pixels.itemsize:
            _scale_in_place(pixels, frame)
            return
        self._later.append((place, form, frame))
        if self.known is None:
            settled = pixels.view(form.dtype)
            slope, intercept = int(frame.slope), int(frame.intercept)
            ends = [slope * int(end) + intercept for end in (settled.min(), settled.max())]
            self._lowest, self._highest = min(self._lowest, *ends), max(self._highest, *ends)

    def finish(self, stored: Values) -> Values:
        """Return the whole array in its type; `stored` is used up.

        Raises:
            InputRefusedError: BAD_RESCALE for values that no type holds.
        """
        target = self.known
        if target is None:
            target = _fitting(self._lowest, self._highest, 32)
        if target is None:
            raise refused(SeriesRefusal.BAD_RESCALE, "values do not fit 32 bits")
        if self.whole and target.itemsize == stored.itemsize:
            for place, _, frame in self._later:
                _scale_in_place(stored[place], frame)
            return stored.view(target)
        values = np.empty(stored.shape, dtype=target)
        for place, form, frame in self._later:
            # In double, rounded once: a field map is a small difference of large values.
            exact = stored[place].view(form.dtype) * np.float64(frame.slope)
            values[place] = exact + frame.intercept
        return values


def _fitting(lowest: float, highest: float, most: int) -> np.dtype[np.generic] | None:
    """Return the smallest type of at most `most` bits (16 at least) that holds both ends."""
    for name in _CHOICES:
        info = np.iinfo(name)
        if info.bits <= max(most, 16) and info.min <= lowest and highest <= info.max:
            return np.dtype(name)
    return None


def _scale_in_place(pixels: Pixels | Values, frame: Frame) -> None:
    """Scale unsigned words modulo their size."""
    modulus = 1 << (8 * pixels.itemsize)
    slope, intercept = int(frame.slope) % modulus, int(frame.intercept) % modulus
    words = pixels.view(f"<u{pixels.itemsize}")
    if slope != 1:
        np.multiply(words, slope, out=words)
    if intercept:
        np.add(words, intercept, out=words)
