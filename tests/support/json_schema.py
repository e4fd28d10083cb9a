"""The part of JSON Schema (2020-12) that our published schemas use, checked by the letter.

An unknown keyword is an error, so that no schema is believed to check what is not checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,),
    "number": (int, float), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_WORDS = {"$schema", "$defs", "title", "description", "default"}


def complaints(schema: Any, value: Any, root: Any = None, at: str = "") -> Iterator[str]:
    """Where ``value`` is not as ``schema`` says; nothing when all is well."""
    root = schema if root is None else root
    for word, rule in schema.items():
        if word in _WORDS or word in {"then", "else"}:
            continue
        yield from _CHECKS[word](rule, value, schema, root, at)


def _fits(schema: Any, value: Any, root: Any) -> bool:
    return not any(complaints(schema, value, root))


def _type(rule, value, schema, root, at):
    kinds = _KINDS[rule]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"{at}: is no {rule}"


def _ref(rule, value, schema, root, at):
    target = root
    for part in rule.removeprefix("#/").split("/"):
        target = target[part]
    yield from complaints(target, value, root, at)


def _any_of(rule, value, schema, root, at):
    if not any(_fits(option, value, root) for option in rule):
        yield f"{at}: fits none of the choices"


def _properties(rule, value, schema, root, at):
    if isinstance(value, dict):
        for name, inner in rule.items():
            if name in value:
                yield from complaints(inner, value[name], root, f"{at}.{name}")


def _additional(rule, value, schema, root, at):
    if isinstance(value, dict):
        for name in set(value) - set(schema.get("properties", {})):
            if rule is False:
                yield f"{at}.{name}: unknown"
            elif isinstance(rule, dict):
                yield from complaints(rule, value[name], root, f"{at}.{name}")


def _required(rule, value, schema, root, at):
    if isinstance(value, dict):
        yield from (f"{at}.{name}: missing" for name in rule if name not in value)


def _items(rule, value, schema, root, at):
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from complaints(rule, item, root, f"{at}[{number}]")


def _names(rule, value, schema, root, at):
    if isinstance(value, dict):
        for name in value:
            yield from complaints(rule, name, root, f"{at}.{name}")


def _if(rule, value, schema, root, at):
    branch = "then" if _fits(rule, value, root) else "else"
    yield from complaints(schema.get(branch, {}), value, root, at)


def _simple(kind, wrong):
    def check(rule, value, schema, root, at):
        if isinstance(value, kind) and not isinstance(value, bool) and wrong(rule, value):
            yield f"{at}: {value!r:.60} against {rule!r:.60}"

    return check


_CHECKS: Mapping[str, Any] = {
    "type": _type, "$ref": _ref, "anyOf": _any_of, "properties": _properties,
    "additionalProperties": _additional, "required": _required, "items": _items, "if": _if,
    "propertyNames": _names,
    "enum": _simple(object, lambda rule, value: value not in rule),
    "const": _simple(object, lambda rule, value: value != rule),
    "pattern": _simple(str, lambda rule, value: re.search(rule, value) is None),
    "minLength": _simple(str, lambda rule, value: len(value) < rule),
    "maxLength": _simple(str, lambda rule, value: len(value) > rule),
    "minItems": _simple(list, lambda rule, value: len(value) < rule),
    "maxItems": _simple(list, lambda rule, value: len(value) > rule),
    "maxProperties": _simple(dict, lambda rule, value: len(value) > rule),
    "minimum": _simple((int, float), lambda rule, value: value < rule),
    "exclusiveMinimum": _simple((int, float), lambda rule, value: value <= rule),
    "maximum": _simple((int, float), lambda rule, value: value > rule),
}  # fmt: skip
