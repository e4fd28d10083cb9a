"""Lists of records, newest first, in pages.

A page is cut by the sort key of its last item, not by a count, so records that arrive meanwhile
neither repeat nor hide others.  The cursor is opaque to callers.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import (
    associations,
    commitment_requests,
    decisions,
    events,
    instances,
    jobs,
    payload_associations,
    payload_instances,
    payloads,
    pipelines,
    quarantine,
    results,
)
from gateway.errors import Refused
from gateway.web.records import all_shown, columns

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

Condition = sa.ColumnElement[bool]


class BadCursor(Refused):
    """The cursor is none that a page of this list gave."""


@dataclass(frozen=True)
class Page:
    """Some items and the cursor of the next page, None at the end."""

    items: list[dict[str, Any]]
    next: str | None


@dataclass(frozen=True)
class Listing:
    """How one table is listed."""

    table: sa.Table
    order: sa.Column[Any]
    """What it is sorted by, descending; never null."""
    key: sa.Column[Any]
    """Breaks ties of ``order``."""
    exact: Mapping[str, sa.Column[Any]] = field(default_factory=dict)
    """Query parameter to the column it must equal."""


def _listing(table: sa.Table, order: str, key: str = "id", *names: str, **renamed: str) -> Listing:
    wanted = {name: name for name in names} | renamed
    exact = {parameter: table.c[column] for parameter, column in wanted.items()}
    return Listing(table, table.c[order], table.c[key], exact)


PAYLOADS = _listing(payloads, "opened_at", "id", "calling_ae", "called_ae", "state")
JOBS = _listing(
    jobs, "created_at", "id", "state", "status", "rule", "called_ae", payload="received_payload_id"
)
RESULTS = _listing(
    results, "created_at", "id", "state", "destination", "agent", "commitment", job="job_id"
)
COMMITMENT_REQUESTS = _listing(
    commitment_requests, "received_at", "id", "state", "called_ae", "calling_ae"
)
ASSOCIATIONS = _listing(associations, "opened_at", "id", "state", "called_ae", "calling_ae", "host")
EVENTS = _listing(
    events, "seq", "seq", "kind",
    correlation="correlation_id", association="association_id", payload="payload_id",
    job="job_id", result="result_id",
)  # fmt: skip
PIPELINES = _listing(pipelines, "created_at", "id", "name")
DECISIONS = _listing(
    decisions, "decided_at", "id", "outcome", "rule", payload="payload_id", job="job_id"
)
QUARANTINE = _listing(quarantine, "received_at", "id", "called_ae", "calling_ae", "resolution")
INSTANCES = _listing(instances, "received_at", "id", "state", "kind", series="series_instance_uid")


def page(
    connection: Connection,
    listing: Listing,
    *,
    filters: Mapping[str, str | None] | None = None,
    where: Sequence[Condition] = (),
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """One page of ``listing``.

    ``filters`` are query parameters of :attr:`Listing.exact`, None = not given; ``where`` are
    further conditions.  ``limit`` is 1 to :data:`MAX_LIMIT`.  Raises :class:`BadCursor`.
    """
    conditions = list(where)
    for name, value in (filters or {}).items():
        if value is not None:
            conditions.append(listing.exact[name] == _word(name, value))
    if cursor is not None:
        at = sa.tuple_(*(sa.literal(v, c.type) for v, c in _cursor_of(cursor, listing)))
        conditions.append(sa.tuple_(listing.order, listing.key) < at)
    query = (
        sa.select(*columns(listing.table), listing.order.label("_o"), listing.key.label("_k"))
        .where(*conditions)
        .order_by(listing.order.desc(), listing.key.desc())
        .limit(limit + 1)
    )
    rows = connection.execute(query).mappings().all()
    items = all_shown(rows[:limit])
    for item in items:
        del item["_o"], item["_k"]
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(items, None if last is None else _encode(last["_o"], last["_k"]))


def of_job_or_study(
    connection: Connection, *, study: str | None, accession: str | None, job: str | None
) -> list[Condition]:
    """Conditions on payloads: that hold the study, the accession number, or fed the job."""
    conditions: list[Condition] = []
    if study is not None:
        conditions.append(
            _holds(instances.c.study_instance_uid == study, payloads.c.study_instance_uid == study)
        )
    if accession is not None:
        conditions.append(_accession(connection, accession))
    if job is not None:
        source = sa.select(jobs.c.received_payload_id).where(jobs.c.id == job)
        conditions.append(payloads.c.id.in_(source))
    return conditions


def of_association(association: str) -> Condition:
    """Condition on payloads: fed by that association."""
    fed = sa.select(payload_associations.c.payload_id)
    return payloads.c.id.in_(fed.where(payload_associations.c.association_id == association))


def in_payload(payload_id: str) -> Condition:
    """Condition on instances: in the newest revision of the payload."""
    members = sa.select(payload_instances.c.instance_id).where(
        payload_instances.c.payload_id == payload_id, payload_instances.c.removed.is_(None)
    )
    return instances.c.id.in_(members)


def _holds(instance: Condition, own: Condition) -> Condition:
    """A payload grouped by patient holds several studies: its own column names only the first."""
    held = (
        sa.select(payload_instances.c.payload_id)
        .join(instances, instances.c.id == payload_instances.c.instance_id)
        .where(instance)
    )
    return sa.or_(own, payloads.c.id.in_(held))


def _accession(connection: Connection, accession: str) -> Condition:
    own = payloads.c.accession_number == accession
    if connection.execute(sa.select(payloads.c.id).where(own).limit(1)).first() is not None:
        return own
    # Accession numbers of instances have no index: look there only when nothing else answers.
    return _holds(instances.c.accession_number == accession, own)


def _word(name: str, value: str) -> str:
    """States are upper-case words; let people type them as they like."""
    return (
        value.upper()
        if name in {"state", "status", "outcome", "kind", "commitment"} and "/" not in value
        else value
    )


def _encode(order: Any, key: Any) -> str:
    text = json.dumps([order, key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _cursor_of(cursor: str, listing: Listing) -> list[tuple[Any, sa.Column[Any]]]:
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        order, key = json.loads(raw)
        wanted = (listing.order, listing.key)
        pairs = [(_of_type(v, c), c) for v, c in zip((order, key), wanted, strict=True)]
    except (ValueError, TypeError, binascii.Error, RecursionError, OverflowError) as error:
        raise BadCursor("The cursor is none that a page of this list gave.") from error
    return pairs


def _of_type(value: Any, column: sa.Column[Any]) -> Any:
    """Check a cursor's value: anybody may have written it."""
    typed = column.type.python_type(value)
    if isinstance(typed, int) and abs(typed) >= 2**63:
        raise ValueError("beyond 64 bits")
    if isinstance(typed, str) and "\0" in typed:
        raise ValueError("a NUL character")
    return typed
