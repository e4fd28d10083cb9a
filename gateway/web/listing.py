"""Lists of records, newest first, in pages.

A page is cut by the sort key of its last item, not by a count, so records that arrive meanwhile
neither repeat nor hide others.  The cursor is opaque to callers: sort key and identifier of that
item, or its number alone where that is both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import (
    associations,
    audit,
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
    reusable_payloads,
    services,
)
from gateway.errors import Refused
from gateway.monitor.metrics import PRIORITIES
from gateway.web.records import all_shown, columns

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

_TIME = r"[0-9]{1,12}\.[0-9]{9}"
CURSOR = rf"^{_TIME}~[0-9A-Za-z.-]{{1,64}}$"
"""What the cursor of a list looks like: whatever is written so is one."""
COUNTED_CURSOR = rf"^{_TIME}~[0-9]{{1,18}}$"
"""The same where records are numbered."""
NUMBER_CURSOR = r"^[0-9]{1,18}$"
"""The same where the number is what the list is sorted by."""

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

    @property
    def cursor(self) -> str:
        """The regular expression of its cursors."""
        if self.order is self.key:
            return NUMBER_CURSOR
        return COUNTED_CURSOR if isinstance(self.key.type, sa.Integer) else CURSOR


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
SERVICES = _listing(services, "created_at", "id", "state", "identity", "node")
EVENTS = _listing(
    events, "seq", "seq", "kind",
    correlation="correlation_id", association="association_id", payload="payload_id",
    job="job_id", result="result_id",
)  # fmt: skip
REUSABLE_PAYLOADS = _listing(reusable_payloads, "created_at")
AUDIT = _listing(audit, "id", "id", "user", "action")
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
        order, key = _cursor_of(cursor, listing)
        at = sa.tuple_(sa.literal(order, listing.order.type), sa.literal(key, listing.key.type))
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
    return Page(items, None if last is None else _encode(last["_o"], last["_k"], listing))


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


def of_priority(priority: str) -> Condition:
    """Condition on jobs: of that priority, by its word."""
    numbers = {word: number for number, word in PRIORITIES.items()}
    return jobs.c.priority == numbers[priority]


def of_pipeline(name: str) -> Condition:
    """Condition on jobs: of any version of that pipeline."""
    versions = sa.select(pipelines.c.id).where(sa.func.lower(pipelines.c.name) == name.lower())
    return jobs.c.pipeline_id.in_(versions)


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


def _encode(order: Any, key: Any, listing: Listing) -> str:
    if listing.order is listing.key:
        return str(key)
    # Nine digits tell any two times of this age apart that a double can.
    return f"{order:.9f}~{key}"


def _cursor_of(cursor: str, listing: Listing) -> tuple[Any, Any]:
    """The sort key and identifier in a cursor: anybody may have written it."""
    if re.fullmatch(listing.cursor, cursor, re.ASCII) is None:
        raise BadCursor("The cursor is none that a page of this list gave.")
    order, _, key = cursor.rpartition("~")
    whole = isinstance(listing.key.type, sa.Integer)
    return float(order) if order else int(key), int(key) if whole else key
