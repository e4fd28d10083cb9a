"""Windows that scan a volume, and how their answers are blended, in bounded memory.

Windows stand on a product of positions per axis and their weights are products of one profile per
axis. So the sum of all weights at a voxel is a product of three sums, and no second volume is
needed for it: memory is the result's, and one batch's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.operators.base_inference.volume import Array

GAUSSIAN = "gaussian"
CONSTANT = "constant"
Place = tuple[int, int, int]


@dataclass(frozen=True)
class Scan:
    """Where windows of `size` start in a volume of `shape`, and the weights of their voxels."""

    shape: tuple[int, int, int]
    size: tuple[int, int, int]
    starts: tuple[tuple[int, ...], ...]
    profiles: tuple[Array, ...]

    @classmethod
    def plan(cls, shape: Sequence[int], size: Sequence[int], overlap: float, blend: str) -> Scan:
        """Plan windows that cover the volume; neighbours overlap by at least that share.

        `shape` must be at least `size` along each axis.
        """
        starts = tuple(_starts(n, w, overlap) for n, w in zip(shape, size, strict=True))
        profiles = tuple(_profile(w, blend) for w in size)
        return cls((shape[0], shape[1], shape[2]), (size[0], size[1], size[2]), starts, profiles)

    def places(self) -> Iterator[Place]:
        """Return the first voxel of each window, in order."""
        yield from itertools.product(*self.starts)

    @property
    def count(self) -> int:
        """How many windows there are."""
        return math.prod(len(starts) for starts in self.starts)

    def cut(self, place: Place) -> tuple[slice, slice, slice]:
        """Return the part of the volume that a window covers."""
        i, j, k = (slice(start, start + size) for start, size in zip(place, self.size, strict=True))
        return i, j, k

    def add(self, total: Array, answer: Array, place: Place) -> None:
        """Add a window's answer `[channel, i, j, k]`, weighted, to the total."""
        a, b, c = self.profiles
        weighted = answer.astype(np.float32)
        weighted *= a[:, None, None]
        weighted *= b[:, None]
        weighted *= c
        total[(slice(None), *self.cut(place))] += weighted

    def finish(self, total: Array) -> None:
        """Divide the total by the weights that each voxel got, in place."""
        for axis, (starts, profile) in enumerate(zip(self.starts, self.profiles, strict=True)):
            weight = np.zeros(self.shape[axis], np.float32)
            for start in starts:
                weight[start : start + len(profile)] += profile
            spread = [1, 1, 1, 1]
            spread[axis + 1] = -1
            total /= weight.reshape(spread)


def _starts(length: int, window: int, overlap: float) -> tuple[int, ...]:
    """Space windows evenly, first and last at the ends."""
    step = max(1, int(window * (1.0 - overlap)))
    count = 1 + math.ceil((length - window) / step)
    if count == 1:
        return (0,)
    return tuple(round(n * (length - window) / (count - 1)) for n in range(count))


def _profile(window: int, blend: str) -> Array:
    if blend == CONSTANT:
        return np.ones(window, np.float32)
    x = (np.arange(window) - (window - 1) / 2) / (window / 8)
    # Never near 0: a voxel that only a window's rim covers is divided by its weight.
    return np.asarray(np.maximum(np.exp(-0.5 * x**2), 1e-3), np.float32)


def pad_to(values: Array, size: Sequence[int], value: float) -> tuple[Array, tuple[slice, ...]]:
    """Return `[channel, i, j, k]` padded to at least `size`, and the cut that undoes it."""
    lacks = [max(0, w - n) for n, w in zip(values.shape[1:], size, strict=True)]
    before = [lack // 2 for lack in lacks]
    cut = tuple(slice(b, b + n) for b, n in zip(before, values.shape[1:], strict=True))
    if not any(lacks):
        return values, (slice(None), *cut)
    widths = [(0, 0), *((b, lack - b) for b, lack in zip(before, lacks, strict=True))]
    return np.pad(values, widths, constant_values=value), (slice(None), *cut)
