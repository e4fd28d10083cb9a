"""Typed data between operators: elements, shapes, and what fits what.

A ``string`` is an array of ``uint8`` with one dimension of any length; a primitive is an array with
the one element.  So everything that goes through shared memory is an array of one element type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STREAM = "stream"
"""Files in a folder: everything before 0.5.0."""
ARRAY = "array"
STRING = "string"

ELEMENTS: Mapping[str, tuple[str, int]] = {
    "uint8": ("u8", 1), "uint16": ("u16", 2), "uint32": ("u32", 4), "uint64": ("u64", 8),
    "int8": ("i8", 1), "int16": ("i16", 2), "int32": ("i32", 4), "int64": ("i64", 8),
    "float16": ("f16", 2), "float32": ("f32", 4), "float64": ("f64", 8),
}  # fmt: skip
"""Primitive types: their names (numpy's too), aliases, and bytes."""

ANY = -1
"""A dimension that only the data itself tells."""
MAX_DIMENSIONS = 32
"""Most dimensions of an array."""
MAX_DIMENSION = 1 << 40
"""Largest dimension."""
MAX_BYTES = 1 << 40
"""Largest array whose size the definition tells: 1 TiB."""

_NAMES = {alias: name for name, (alias, _) in ELEMENTS.items()} | {name: name for name in ELEMENTS}


def element(word: str) -> str | None:
    """The primitive type that ``word`` names, by itself or its alias; None if it names none."""
    return _NAMES.get(word)


def primitives() -> str:
    """Every primitive type with its alias, for people."""
    return ", ".join(f"{name} ({alias})" for name, (alias, _) in ELEMENTS.items())


@dataclass(frozen=True)
class Cells:
    """What one array holds: ``element`` as in :data:`ELEMENTS`, ``shape`` with -1 = any."""

    element: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int | None:
        """Bytes; None when a dimension may be any."""
        if ANY in self.shape:
            return None
        return math.prod(self.shape) * ELEMENTS[self.element][1]

    def __str__(self) -> str:
        """As a definition writes it: ``float32 [3, -1]``."""
        return f"{self.element} [{', '.join(map(str, self.shape))}]"


def cells(kind: str, element_type: str | None, shape: Sequence[int] | None) -> Cells:
    """The array that a type stands for; ``kind`` is no stream, ``element_type`` a primitive."""
    if kind == ARRAY:
        return Cells(element_type or "uint8", tuple(shape or (ANY,)))
    return Cells("uint8", (ANY,)) if kind == STRING else Cells(kind, (1,))


def mismatch(given: Cells, wanted: Cells) -> str | None:
    """Why ``given`` cannot be read as ``wanted``, or None when it may be.

    A dimension of any size fits every other: whether it really does is checked on the data.
    """
    if given.element != wanted.element:
        return f"{given} is not {wanted}: the elements differ"
    if len(given.shape) != len(wanted.shape):
        return f"{given} is not {wanted}: the numbers of dimensions differ"
    for position, (one, other) in enumerate(zip(given.shape, wanted.shape, strict=True)):
        if ANY not in (one, other) and one != other:
            return f"{given} is not {wanted}: dimension {position} is {one}, not {other}"
    return None
