"""Arrays, strings and numbers that operators hand to each other through shared memory (0.5.0).

The gateway names them in two variables, as JSON: a list of `{"name", "path", "element-type",
"shape"}`. Each is an NPY file in memory; who reads it maps the pages that the writer filled, so
nothing is copied. A string is an array of `uint8` in UTF-8, a number an array with one element.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.operators.sdk.errors import InputRefusedError, OperatorError, UsageError

if TYPE_CHECKING:
    import numpy as np

DATA_INPUTS = "GATEWAY_DATA_INPUTS"
DATA_OUTPUTS = "GATEWAY_DATA_OUTPUTS"
ANY = -1
"""A dimension of any size."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One array that an operator reads or writes: where it is and what the definition says."""

    name: str
    path: Path
    element: str
    """Name of the element type, NumPy's too."""
    shape: tuple[int, ...]

    def create(self, shape: Sequence[int] | None = None) -> np.ndarray[Any, Any]:
        """Return a new array of zeros in shared memory, to be filled in place.

        `shape` may be left out when the definition leaves no dimension open.

        Raises:
            OperatorError: DATA_MISMATCH, the shape is not as declared; DATA_FULL, no room.
        """
        import numpy as np

        wanted = tuple(self.shape if shape is None else shape)
        self._check(self.element, wanted)
        dtype = np.dtype(self.element)
        free = os.statvfs(self.path.parent)
        # Without room the first touch of a page would end the process with SIGBUS.
        if math.prod(wanted) * dtype.itemsize > free.f_bavail * free.f_frsize:
            raise OperatorError("DATA_FULL", f"no shared memory is left for {self.name!r}")
        if 0 in wanted:
            np.save(self.path, np.empty(wanted, dtype))
            return np.empty(wanted, dtype)
        return np.lib.format.open_memmap(self.path, mode="w+", dtype=dtype, shape=wanted)

    def write(self, values: Any) -> None:
        """Write an array; its element type must be the declared one.

        Raises:
            OperatorError: DATA_MISMATCH or DATA_FULL, as `create`.
        """
        import numpy as np

        array = np.asarray(values)
        self._check(array.dtype.name, array.shape)
        self.create(array.shape)[...] = array

    def read(self) -> np.ndarray[Any, Any]:
        """Return the array, read-only, as a view of the shared memory.

        Raises:
            InputRefusedError: DATA_MISMATCH, it is not as declared.
        """
        import numpy as np

        array: np.ndarray[Any, Any] = np.load(
            self.path, mmap_mode=None if self._empty() else "r", allow_pickle=False
        )
        try:
            self._check(array.dtype.name, array.shape)
        except OperatorError as error:
            raise InputRefusedError(error.code, error.message) from error
        return array

    def _empty(self) -> bool:
        """True when there is nothing to map: mmap(2) knows no empty mapping."""
        import numpy as np

        with self.path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, _ = np.lib.format.read_array_header_1_0(file)
        return 0 in shape

    def _check(self, element: str, shape: Sequence[int]) -> None:
        same = len(shape) == len(self.shape) and all(
            ANY in (one, other) or one == other
            for one, other in zip(shape, self.shape, strict=True)
        )
        if element != self.element or not same or ANY in shape:
            raise OperatorError(
                "DATA_MISMATCH",
                f"{self.name!r} is {element} {list(shape)}, declared is "
                f"{self.element} {list(self.shape)}",
            )


def parse_slots(text: str) -> tuple[Slot, ...]:
    """Read what one of the two variables says; empty = nothing.

    Raises:
        UsageError: BAD_DATA_VARIABLE, it is not as described above.
    """
    if not text:
        return ()
    try:
        return tuple(
            Slot(
                str(item["name"]),
                Path(item["path"]),
                str(item["element-type"]),
                tuple(map(int, item["shape"])),
            )
            for item in json.loads(text)
        )
    except (ValueError, KeyError, TypeError) as error:
        message = f"{DATA_INPUTS} and {DATA_OUTPUTS} are lists of name, path, element-type, shape"
        raise UsageError("BAD_DATA_VARIABLE", message) from error


def find_slot(slots: Sequence[Slot], name: str, kind: str) -> Slot:
    """Return the slot of that name, in any case of letters.

    Raises:
        UsageError: NO_DATA_INPUT or NO_DATA_OUTPUT, there is none.
    """
    for slot in slots:
        if slot.name.lower() == name.lower():
            return slot
    known = ", ".join(slot.name for slot in slots) or "none"
    message = f"no {kind} in shared memory is called {name!r} (given: {known})"
    raise UsageError(f"NO_DATA_{kind.upper()}", message)
