"""Turns a volume into the patient's axes, so that left and right never hang on an array index.

Arrays are turned so that axis 0 runs to the patient's left, axis 1 to the back, axis 2 to the
head (DICOM LPS, PS3.3 C.7.6.2.1.1), as nearly as whole axes can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Volume = npt.NDArray[Any]


@dataclass(frozen=True)
class Frame:
    """How array axes lie in the patient.

    `spacing` are millimetres per axis after turning; `order` and `flips` turn an array of the
    file into the patient's axes: transpose by `order`, then reverse where `flips` says so.
    """

    spacing: tuple[float, float, float]
    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    voxel_ml: float

    def turned(self, array: Volume) -> Volume:
        """Give a view of a file's array with axes left, back, head."""
        flip = tuple(slice(None, None, -1) if flag else slice(None) for flag in self.flips)
        view: Volume = array.transpose(self.order)[flip]
        return view


def frame_of(affine_lps: npt.NDArray[np.float64]) -> Frame:
    """Find how the axes of an array with this affine (index → LPS mm) lie in the patient.

    Works for every orientation; a sheared (tilted) affine gives the nearest whole axes.

    Raises:
        ValueError: the affine is singular.
    """
    columns = affine_lps[:3, :3]
    determinant = abs(float(np.linalg.det(columns)))
    if determinant < 1e-9:
        raise ValueError("the volume's affine is singular")
    lengths = np.linalg.norm(columns, axis=0)
    order = _best_order(np.abs(columns / lengths))
    flips = tuple(bool(columns[axis, source] < 0) for axis, source in enumerate(order))
    spacing = tuple(float(lengths[source]) for source in order)
    return Frame(
        spacing=(spacing[0], spacing[1], spacing[2]),
        order=order,
        flips=(flips[0], flips[1], flips[2]),
        voxel_ml=determinant / 1000.0,
    )


def _best_order(cosines: npt.NDArray[np.float64]) -> tuple[int, int, int]:
    """Give, for left, back, head, the array axis that runs along it; each used once."""
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return max(orders, key=lambda order: sum(cosines[a, s] for a, s in enumerate(order)))
