"""Entries of ``ae_config`` from words on a command line, and as they are listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from gateway.cli.errors import USAGE, CliError
from gateway.cli.options import pairs
from gateway.config.applications import Application, Destination, Source
from gateway.config.managed import Entry
from gateway.config.model import Settings

_RULE = "pipeline-"
_CLARAS = {"timeout": "complete-when.quiet-seconds", "groupBy": "group-by"}
_MODELS: dict[str, type[Settings]] = {
    "applications": Application,
    "sources": Source,
    "destinations": Destination,
}


def application(ae_title: str, given: Sequence[str], destinations: Sequence[str]) -> dict[str, Any]:
    """A called AE title of ``KEY=VALUE`` words; :class:`CliError` (usage) for anything else."""
    words = pairs(list(given))
    entry: dict[str, Any] = {"ae-title": ae_title}
    priority = words.pop("priority", None)
    rules = {k.removeprefix(_RULE): v for k, v in words.items() if k.startswith(_RULE)}
    if (priority or destinations) and not rules:
        raise CliError(f"priority and --destination need a rule: {_RULE}NAME=PIPELINE", USAGE)
    for key, text in words.items():
        if not key.startswith(_RULE):
            _put(entry, _CLARAS.get(key, key).split("."), _value(text))
    if rules:
        entry["rules"] = [_rule(*rule, priority, destinations) for rule in rules.items()]
    return entry


def shown(entry: Entry) -> dict[str, Any]:
    """An entry with every key, in snake case, its file and its line."""
    found = _MODELS[entry.kind].model_validate(entry.data).model_dump(mode="json", by_alias=False)
    return {**found, "file": str(entry.file), "line": entry.line, "managed": entry.managed}


def _rule(
    name: str, pipeline: str, priority: str | None, destinations: Sequence[str]
) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": name, "pipeline": pipeline}
    if priority is not None:
        rule["priority"] = priority
    if destinations:
        rule["destinations"] = list(destinations)
    return rule


def _put(entry: dict[str, Any], key: list[str], value: Any) -> None:
    for part in key[:-1]:
        entry = entry.setdefault(part, {})
        if not isinstance(entry, dict):
            raise CliError(f"{part!r} is a value and a level", USAGE)
    if key[-1] in entry:
        raise CliError(f"{'.'.join(key)!r} is given twice", USAGE)
    entry[key[-1]] = value


def _value(text: str) -> Any:
    """As a file would have it: numbers, true, null, [lists]; anything else is text."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if value is None or isinstance(value, bool | int | float | list) else text
