"""Blocks of the files that people write: settings, AE configuration, pipelines."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reference.words import code, prose, table


def _kind(schema: Mapping[str, Any]) -> str:
    """The allowed values of a field, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    if "$ref" in schema:
        return "see below"
    words = {"string": "text", "integer": "whole number", "object": "mapping", "array": "list"}
    text = words.get(schema.get("type", ""), schema.get("type", "text"))
    if schema.get("format") == "path":
        text = "path"
    if schema.get("type") == "array" and "items" in schema:
        text = f"list of {_kind(schema['items'])}"
    bounds = [
        f"{sign} {schema[key]}"
        for key, sign in (
            ("exclusiveMinimum", ">"), ("minimum", "≥"), ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in schema
    ]  # fmt: skip
    return f"{text} {', '.join(bounds)}".strip()


def _default(field: Any) -> str:
    from pydantic_core import PydanticUndefined

    if field.default_factory is not None:
        return code({dict: "{}", list: "[]"}.get(field.default_factory, "[]"))
    if field.default is PydanticUndefined:
        return "required"
    value = field.default
    if value is None or isinstance(value, bool):
        return code("null" if value is None else str(value).lower())
    if hasattr(type(value), "model_fields"):
        return "see below"
    return code(value) if value != "" else "empty"


def model_rows(model: Any, at: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key, default, allowed values and meaning of every field, groups after their parent."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions = schema.get("$defs", {})
    inner: list[tuple[str, Any]] = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            inner.append((f"{at}{key}.", field.annotation))
            continue
        part = schema["properties"][key]
        reference = part.get("$ref")
        if reference:
            part = definitions[reference.rsplit("/", 1)[-1]]
        yield f"{at}{key}", _default(field), _kind(part), prose(field.description)
    for prefix, group in inner:
        yield from model_rows(group, prefix)


def settings() -> str:
    """Every key of ``gateway.yaml`` with its variable."""
    from gateway.config.settings import PREFIX, GatewaySettings, ImageSettings

    rows = []
    for key, default, kind, text in model_rows(GatewaySettings):
        variable = PREFIX + key.replace("-", "_").replace(".", "__").upper()
        allowed = kind if key != "images" else "mapping: see `images` below"
        rows.append([code(key), default, allowed, text, code(variable)])
    head = ("key", "default", "allowed", "meaning", "environment")
    images = table(
        head[:4],
        ([code(f"images.<name>.{k}"), d, a, t] for k, d, a, t in model_rows(ImageSettings)),
    )
    return table(head, rows) + "\n" + images


def ae_config() -> str:
    """Every key of the files in ``ae_config/``."""
    from gateway.config import applications as module

    groups = (
        ("applications[]", module.Application), ("applications[].rules[]", module.Rule),
        ("sources[]", module.Source), ("destinations[]", module.Destination),
    )  # fmt: skip
    parts = []
    for title, model in groups:
        rows = [
            [code(key), default, allowed, text]
            for key, default, allowed, text in model_rows(model)
            if key != "rules"
        ]
        parts.append(f"### {title}\n\n{prose(model.__doc__)}\n\n")
        parts.append(table(("key", "default", "allowed", "meaning"), rows) + "\n")
    return "".join(parts).rstrip() + "\n"


def cel() -> str:
    """Names that a rule may use."""
    from gateway.routing import keywords, names

    def row(what: str, values: Iterable[str]) -> list[str]:
        return [what, ", ".join(code(v) for v in sorted(values))]

    return table(
        ("what", "names"),
        [
            row("variables", names.ROOTS),
            ["the series inside `select` and `prefer`", code("s")],
            row("made by the gateway, under `study`", keywords.STUDY_DERIVED),
            row("made by the gateway, under a series", keywords.SERIES_DERIVED),
            row("DICOM attributes under `study`", keywords.PATIENT_AND_STUDY),
            [
                "DICOM attributes under a series",
                "every keyword of PS3.6 but sequences and bulk data",
            ],
            row("macros over lists", names.MACROS),
            row("functions and methods", names.FUNCTIONS),
            row("types", names.TYPES),
            row("become int (VR)", keywords.INT_VR),
            row("become double (VR)", keywords.DOUBLE_VR),
            row("become string (VR)", keywords.TEXT_VR),
        ],
    )


def pipeline_language() -> str:
    """Every key of a pipeline definition, the file first, then what stands in it."""
    parts = []
    for model in reversed(_shapes()):
        title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__.removesuffix("Shape")).lower()
        rows = []
        for name, field in model.model_fields.items():
            rows.append([code(field.alias or name), _default(field), prose(field.description)])
        parts.append(f"### {title}\n\n{prose(model.__doc__)}\n\n")
        parts.append(table(("key", "default", "meaning"), rows) + "\n")
    return "".join(parts).rstrip() + "\n"


def _shapes() -> list[Any]:
    """The models of the language, in the order they are written: the inner ones first."""
    from gateway.config.model import Settings
    from gateway.pipelines import shape

    return [
        value
        for value in vars(shape).values()
        if isinstance(value, type)
        and issubclass(value, Settings)
        and value.__module__.startswith("gateway.pipelines")
    ]


def pipeline_types() -> str:
    """Primitive types with their aliases and sizes."""
    from gateway.pipelines.cells import ELEMENTS

    rows = [[code(name), code(alias), size] for name, (alias, size) in ELEMENTS.items()]
    return table(("type", "alias", "bytes"), rows)


def pipeline_limits() -> str:
    """Versions, limits and reserved names of the language."""

    def listed(values: Iterable[str]) -> str:
        return ", ".join(code(v) for v in values)

    return table(
        ("what", "value"),
        [
            ["api-version", listed(_constant("SUPPORTED"))],
            ["operators of a pipeline", _constant("MAX_OPERATORS")],
            ["inputs, and outputs, of an operator", _constant("MAX_PATHS")],
            ["characters of one text", _constant("MAX_TEXT")],
            ["variables the gateway sets itself", listed(sorted(_constant("RESERVED_VARIABLES")))],
            ["folders no input or output may take", listed(_constant("RESERVED_ROOTS"))],
        ],
    )


def _constant(name: str) -> Any:
    """A constant of the language, in whichever of its modules it stands."""
    import gateway.pipelines as package

    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"gateway.pipelines.{found.name}")
        if hasattr(module, name):
            return getattr(module, name)
    raise SystemExit(f"no module of gateway.pipelines holds {name}")
