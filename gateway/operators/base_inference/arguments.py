"""Arguments of a configuration: each has a kind that checks the value and says what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from gateway.operators.sdk import UsageError

REQUIRED: Final = object()
"""Default of an argument that must be given."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: `allowed` is what the error says, `read` raises ValueError for others."""

    allowed: str
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its name in the file, its kind, and the keyword it becomes (`to`)."""

    name: str
    kind: Kind
    default: Any = REQUIRED
    to: str = ""

    @property
    def keyword(self) -> str:
        """The keyword of the component that takes the value."""
        return self.to or self.name


def bad_config(place: str, message: str) -> NoReturn:
    """Refuse a configuration; `place` names file and key.

    Raises:
        UsageError: BAD_CONFIG.
    """
    raise UsageError("BAD_CONFIG", f"{place}: {message}")


def read_arguments(
    given: Mapping[str, Any], arguments: Sequence[Argument], place: str
) -> dict[str, Any]:
    """Return the keywords for a component from the `args` of a file, defaults put in.

    Raises:
        UsageError: BAD_CONFIG for an unknown, missing or wrong argument, with what is allowed.
    """
    known = {argument.name: argument for argument in arguments}
    for name in given:
        if name not in known:
            allowed = ", ".join(known) or "none"
            bad_config(f"{place}.{name}", f"there is no such argument; allowed: {allowed}")
    found = {}
    for name, argument in known.items():
        if name in given:
            found[argument.keyword] = read_value(given[name], argument.kind, f"{place}.{name}")
        elif argument.default is REQUIRED:
            bad_config(f"{place}.{name}", f"must be given: {argument.kind.allowed}")
        else:
            found[argument.keyword] = argument.default
    return found


def read_value(value: Any, kind: Kind, place: str) -> Any:
    """Return a value of its kind.

    Raises:
        UsageError: BAD_CONFIG.
    """
    try:
        return kind.read(value)
    except (ValueError, TypeError):
        bad_config(place, f"must be {kind.allowed}")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _truth(value: Any) -> bool:
    # Configurations of MMARs write booleans as text, too.
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise ValueError
    return value


def _field_names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise ValueError
    return tuple(_text(name) for name in names)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in value) if isinstance(value, list) else _field_names(value)


def integer(low: int, high: int) -> Kind:
    """Return the kind of a whole number from `low` to `high`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Kind(f"a whole number from {low} to {high}", read)


def number(low: float, high: float) -> Kind:
    """Return the kind of a number from `low` to `high`."""

    def read(value: Any) -> float:
        found = _number(value)
        if not low <= found <= high:
            raise ValueError
        return found

    return Kind(f"a number from {low:g} to {high:g}", read)


def choice(*values: str, upper: bool = False) -> Kind:
    """Return the kind of one of these words; `upper` makes the case of letters not matter."""

    def read(value: Any) -> str:
        found = _text(value)
        found = found.upper() if upper else found
        if found not in values:
            raise ValueError
        return found

    return Kind("one of " + ", ".join(values), read)


def optional(kind: Kind) -> Kind:
    """Return the kind that also takes null."""
    return Kind(f"{kind.allowed}, or null", lambda v: None if v is None else kind.read(v))


def three(kind: Kind) -> Kind:
    """Return the kind of three values of one kind, one per axis."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != 3:
            raise ValueError
        return tuple(kind.read(item) for item in value)

    return Kind(f"a list of three, each {kind.allowed}", read)


def _axcodes(value: Any) -> str:
    text = _text(value).upper()
    pairs = ("RL", "AP", "SI")
    if len(text) != 3 or any(sum(c in pair for c in text) != 1 for pair in pairs):
        raise ValueError
    return text


def _whole_numbers(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    items = value if isinstance(value, list) else [value]
    if not items or any(isinstance(i, bool) or not isinstance(i, int) for i in items):
        raise ValueError
    return tuple(items)


NUMBER: Final = Kind("a number", _number)
BOOLEAN: Final = Kind("true or false", _truth)
TEXT: Final = Kind("text", _text)
FIELDS: Final = Kind("the name of a field, or a list of names", _field_names)
TEXTS: Final = Kind("a list of texts", _texts)
SPACING: Final = three(number(0.01, 100))
SIZE: Final = three(integer(1, 4096))
AXCODES: Final = Kind("three letters such as RAS or LPS, one of each pair RL, AP, SI", _axcodes)
LABELS: Final = Kind("a label, a list of labels, or null for all", _whole_numbers)
