"""Printing what the rules would do with files."""

from __future__ import annotations

from typing import Any

from gateway.cli import show
from gateway.routing.explain import Explanation, RuleLine


def tell(found: Explanation) -> None:
    """Print one payload that the files would make, rule by rule."""
    show.heading(f"{found.instances} instances to {found.called}, grouped by {found.group_by}")
    rows = [
        {
            "series": line.uid,
            "modality": line.modality,
            "instances": line.instances,
            "orientation": line.orientation,
            "spacing": line.spacing,
            "description": line.description,
        }
        for line in found.series
    ]
    show.table(rows, ("series", "modality", "instances", "orientation", "spacing", "description"))
    for rule in found.rules:
        _rule(rule)
    if not found.rules:
        show.lines(["", f"{found.called} has no rules"])
    if found.otherwise is not None:
        show.lines(["", f"no rule matched: the payload is {_OTHERWISE[found.otherwise]}"])


_OTHERWISE = {"keep": "kept, UNMATCHED", "discard": "discarded"}


def _rule(rule: RuleLine) -> None:
    show.heading(f"rule {rule.name!r}: {rule.outcome}")
    record: dict[str, Any] = {"pipeline": rule.pipeline, "error": rule.error}
    record |= {
        line.key: _expression(line.text, line.value, line.error) for line in rule.expressions
    }
    record["values"] = dict(rule.names)
    record["selected"] = list(rule.selected)
    show.fields(record, list(record))
    rows = [
        {"series": one.get("uid"), **{key: _result(one.get(key)) for key in ("select", "prefer")},
         "attributes": one.get("attributes")}
        for one in rule.per_series
    ]  # fmt: skip
    if rows:
        show.table(rows, ("series", "select", "prefer", "attributes"))


def _expression(text: str, value: Any, error: str | None) -> str:
    if error is not None:
        return f"{text}  → error: {error}"
    return text if value is None else f"{text}  → {_plain(value)}"


def _result(pair: Any) -> str:
    if pair is None:
        return ""
    value, error = pair
    return f"error: {error}" if error else _plain(value)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
