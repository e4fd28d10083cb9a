"""Values of a definition that one word can tell right or wrong: names, paths, texts, numbers.

Each is a type that pydantic checks, with the JSON Schema by which editors check the same.  A JSON
Schema describes a definition as it is written, so every text may hold a placeholder there.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.pipelines import cells

MAX_TEXT = 65_536
"""Longest text value in characters: Linux takes 128 KiB for one variable or argument."""

RESERVED_VARIABLES = frozenset(
    f"NVIDIA_CLARA_{name}"
    for name in (
        "INPUTPATHS", "OUTPUTPATHS", "JOBID", "JOBNAME", "PAYLOADID", "STAGENAME", "RESULTS",
    )
) | {"GATEWAY_DATA_INPUTS", "GATEWAY_DATA_OUTPUTS", "GATEWAY_JOB_ATTEMPT"}  # fmt: skip
"""Variables that the gateway sets itself."""
RESERVED_ROOTS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run",
    "/sbin", "/sys", "/tmp", "/usr", "/var",  # noqa: S108 - names, not files
)  # fmt: skip
"""Folders of the operating system that no input or output may take."""

PLACEHOLDER = r"|\$\{\{"
"""Ends the pattern of a text in the JSON Schema: it may hold a placeholder instead."""

_NAME = r"[A-Za-z0-9_-]{1,255}"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,254}"
_IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_PATH = r"(/(?!\.{1,2}(/|$))[^/\x00-\x1f\x7f;:]{1,255})+/*"
_ROOTS = "|".join(re.escape(root[1:]) for root in RESERVED_ROOTS)
_DECIMAL = r"[+-]?\d+(\.\d*)?"


def _schema(pattern: str | None, **more: Any) -> WithJsonSchema:
    """What an editor checks: the pattern, or any text with a placeholder in it."""
    if pattern is None:
        return WithJsonSchema(more)
    text = {"type": "string", "pattern": f"^({pattern})$" + PLACEHOLDER}
    return WithJsonSchema({"anyOf": [text, more]} if more else text)


def _text(value: Any) -> Any:
    """Take numbers and truth values as the text people meant by them."""
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(
            'must be text without NUL, a number, true or false; write "" for an empty value'
        )
    return value


def _number(value: Any) -> Any:
    # Without this, pydantic takes true for 1.
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueError only
    return value


def _name(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(_NAME, value):
        raise ValueError(
            f"{str(value)[:80]!r} is no name: 1 to 255 letters, digits, hyphens and underscores"
        )
    return value


def _variable(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(_VARIABLE, value):
        raise ValueError(
            f"{str(value)[:80]!r} is no name of a variable: letters, digits and underscores, "
            "no digit first"
        )
    if value in RESERVED_VARIABLES:
        raise ValueError(f"{value} is set by the gateway and cannot be given here")
    return value


def _path(value: Any) -> Any:
    """Accept a rooted path in its plain form; a slash at the end is dropped."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f"{str(value)[:80]!r} must start with / (a path inside the operator)")
    # ";" and ":" separate the entries of NVIDIA_CLARA_INPUTPATHS.
    if re.search(r"[\x00-\x1f\x7f;:]", value) or len(value) > 1024:
        raise ValueError("must be at most 1024 characters, without control characters, ; and :")
    parts = value.rstrip("/").split("/")[1:]
    if not parts:
        raise ValueError("must be a folder below /")
    if any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        raise ValueError(f"{value[:80]!r} must be plain: no empty, . or .. component")
    plain = "/" + "/".join(parts)
    for root in RESERVED_ROOTS:
        if plain == root or plain.startswith(root + "/"):
            raise ValueError(
                f"{plain[:80]!r} lies in {root}, which belongs to the operating system; "
                f"reserved are {', '.join(RESERVED_ROOTS)}"
            )
    return plain


def _image(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(_IMAGE, value):
        raise ValueError(f"{str(value)[:80]!r} is no image name")
    return value


def _tag(value: Any) -> Any:
    value = _text(value)
    if not re.fullmatch(_TAG, value):
        raise ValueError(f"{value[:80]!r} is no image tag")
    return value


def _kind(value: Any) -> Any:
    """The type of an input or output in its plain spelling."""
    word = value if isinstance(value, str) else ""
    if word in (cells.STREAM, cells.ARRAY, cells.STRING):
        return word
    name = cells.element(word)
    if name is None:
        raise ValueError(
            f"{str(value)[:80]!r} is no type; allowed: {cells.STREAM}, {cells.ARRAY}, "
            f"{cells.STRING}, {cells.primitives()}"
        )
    return name


def _dimension(value: Any) -> Any:
    # A parameter's value is text.
    if isinstance(value, str) and re.fullmatch(r"-1|\d{1,13}", value):
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not (value == cells.ANY or 1 <= value <= cells.MAX_DIMENSION):
        raise ValueError(
            f"must be a whole number from 1 to {cells.MAX_DIMENSION}, or -1 for any size"
        )
    return value


_SCALAR = {
    "anyOf": [{"type": "string", "maxLength": MAX_TEXT}, {"type": "number"}, {"type": "boolean"}]
}

Text = Annotated[
    str, BeforeValidator(_text), Field(max_length=MAX_TEXT), _schema(None, **_SCALAR)
]  # fmt: skip
Name = Annotated[str, BeforeValidator(_name), _schema(_NAME)]
VariableName = Annotated[str, BeforeValidator(_variable), _schema(_VARIABLE)]
RootedPath = Annotated[str, BeforeValidator(_path), _schema(f"(?!/({_ROOTS})(/|$)){_PATH}")]
Image = Annotated[str, BeforeValidator(_image), _schema(_IMAGE)]
Tag = Annotated[str, BeforeValidator(_tag), _schema(_TAG, type="number")]
Kind = Annotated[
    str,
    BeforeValidator(_kind),
    _schema(
        "|".join(
            [cells.STREAM, cells.ARRAY, cells.STRING]
            + [word for name, (alias, _) in cells.ELEMENTS.items() for word in (name, alias)]
        )
    ),
]
Dimension = Annotated[
    int,
    BeforeValidator(_dimension),
    _schema(
        r"-1|\d{1,13}",
        anyOf=[
            {"const": cells.ANY},
            {"type": "integer", "minimum": 1, "maximum": cells.MAX_DIMENSION},
        ],
    ),
]


def number() -> BeforeValidator:
    """Refuse true and false, which pydantic would take for 1 and 0."""
    return BeforeValidator(_number)


def whole(least: int, most: int) -> WithJsonSchema:
    """How an editor checks a whole number between two, both included."""
    return _schema(r"\d+", type="integer", minimum=least, maximum=most)


def real(most: float | None = None) -> WithJsonSchema:
    """How an editor checks a number above 0, at most ``most``."""
    limits = {"type": "number", "exclusiveMinimum": 0, **({"maximum": most} if most else {})}
    return _schema(_DECIMAL, **limits)
