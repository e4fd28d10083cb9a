"""Turning rows into what REST shows: snake_case, times as RFC 3339, priorities as words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from gateway.events.times import rfc3339
from gateway.monitor.metrics import PRIORITIES

_TIMES = frozenset({"time", "not_before", "lease_until"})
_HIDDEN: Mapping[str, frozenset[str]] = {
    "payloads": frozenset({"group_key", "discard"}),
    "jobs": frozenset({"selection_digest", "cancel_requested"}),
    "instances": frozenset({"geometry", "path"}),
    "decisions": frozenset({"selection_digest"}),
    "pipelines": frozenset({"definition", "files"}),
    "quarantine": frozenset({"path"}),
    "events": frozenset({"seq", "published"}),
    # Up to 20 000 pairs of UIDs: counted in its columns, told in its report.
    "commitment_requests": frozenset({"references"}),
}


def columns(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns of ``table`` that REST shows in a list."""
    hidden = _HIDDEN.get(table.name, frozenset())
    return [column for column in table.c if column.name not in hidden]


def shown(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One row, keyed by column name, as REST shows it."""
    return {name: _value(name, value) for name, value in row.items()}


def all_shown(rows: Iterable[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Every row as REST shows it."""
    return [shown(row) for row in rows]


def _value(name: str, value: Any) -> Any:
    if isinstance(value, float) and (name.endswith("_at") or name in _TIMES):
        return rfc3339(value)
    if name == "priority":
        return PRIORITIES.get(value, value)
    return finite(value)


def finite(value: Any) -> Any:
    """A copy of JSON data in which NaN and infinity, which JSON lacks, are their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value
