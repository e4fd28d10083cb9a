"""From events and records to spans: what a study's trace is made of.

A trace is a correlation id, which goes from the first association to the delivery::

    association            the connection that brought the first instance
    ├── payload            one revision, first instance to complete
    │   ├── association    a further connection that fed it
    │   └── job            one attempt, created or queued again to stopped
    │       ├── operator …
    │       └── delivery   of one result

Spans are made when what they tell of has ended, from its record, and their ids follow from the
record's: a span that is made again after a crash is the same one, and no span needs another one to
be in memory.  Nothing here is patient data (contract, section 9).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import (
    associations,
    events,
    jobs,
    operators,
    payload_associations,
    payload_revisions,
    pipelines,
    results,
)
from gateway.events.record import Kind

BATCH = 200
"""Events that are read at once."""


@dataclass(frozen=True)
class Span:
    """Something that took time: what, in which trace, below what, from when to when."""

    name: str
    trace: str
    """32 hex digits."""
    id: str
    """16 hex digits."""
    parent: str | None
    began: float
    """Seconds since the epoch."""
    ended: float
    error: str | None = None
    """Why it did not end well; None when it did."""
    outwards: bool = False
    """True for a request of ours to another system."""
    attributes: Mapping[str, str | int] = field(default_factory=dict)


def span_id(*parts: object) -> str:
    """The id of the span of one record: always the same."""
    text = "/".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def read(connection: Connection, after: int, before: float) -> list[Row[Any]]:
    """Events that follow number ``after``, of the time until ``before``; at most :data:`BATCH`."""
    query = sa.select(events).where(events.c.seq > after).order_by(events.c.seq).limit(BATCH)
    found = []
    for row in connection.execute(query):
        # A younger one may have an older one beside it that is not committed yet.
        if row.time > before:
            break
        found.append(row)
    return found


def spans(connection: Connection, rows: Iterable[Row[Any]]) -> list[Span]:
    """The spans that ended with these events; none for a record that is gone or open again."""
    found: list[Span] = []
    for row in rows:
        make = _MAKERS.get(row.kind)
        if make is not None and row.correlation_id is not None:
            found += make(connection, row)
    return found


def _association(connection: Connection, event: Row[Any]) -> Iterator[Span]:
    row = _one(connection, associations, event.association_id)
    if row is not None:
        yield _of_association(row, row.id, None)


def _of_association(row: Row[Any], trace: str, parent: str | None) -> Span:
    failed = row.state in {"ABORTED", "REJECTED"}
    return Span(
        "association",
        trace,
        span_id(trace, row.id),
        parent,
        row.opened_at,
        row.closed_at or row.opened_at,
        error=row.state if failed else None,
        attributes=_known(
            association_id=row.id,
            called_ae=row.called_ae,
            calling_ae=row.calling_ae,
            host=row.host,
            instances=row.instances,
            bytes=row.bytes,
            state=row.state,
        ),
    )


def _payload(connection: Connection, event: Row[Any]) -> Iterator[Span]:
    trace = event.correlation_id
    query = sa.select(payload_revisions).where(payload_revisions.c.payload_id == event.payload_id)
    for row in connection.execute(query):
        # An event tells of one revision; those before it are the same spans once more.
        own = span_id(row.payload_id, row.revision)
        yield Span(
            "payload",
            trace,
            own,
            span_id(trace, trace),
            row.opened_at,
            row.completed_at,
            attributes=_known(
                payload_id=row.payload_id,
                revision=row.revision,
                instances=row.instances,
                reason=row.reason,
            ),
        )
    fed = sa.select(payload_associations.c.association_id)
    fed = fed.where(payload_associations.c.payload_id == event.payload_id)
    further = sa.select(associations).where(
        associations.c.id.in_(fed), associations.c.id != trace, associations.c.closed_at.isnot(None)
    )
    for row in connection.execute(further):
        yield _of_association(row, trace, span_id(event.payload_id, 1))


def _stopped(connection: Connection, event: Row[Any]) -> Iterator[Span]:
    """The last attempt of a job, from being queued on: what it waited is part of its story."""
    row = _job(connection, event.job_id)
    if row is not None and row.stopped_at is not None:
        error = None if row.status == "HEALTHY" else row.status
        began = row.queued_at or row.created_at
        yield _of_attempt(row, row.attempt, (began, row.stopped_at), error)
        yield from _operators(connection, event)


def _requeued(connection: Connection, event: Row[Any]) -> Iterator[Span]:
    """An attempt that ended without an end of its job."""
    row, attempt = _job(connection, event.job_id), event.data.get("attempt")
    if row is None or attempt is None:
        return
    mine = (operators.c.job_id == row.id, operators.c.attempt == attempt)
    began = connection.execute(sa.select(sa.func.min(operators.c.started_at)).where(*mine)).scalar()
    yield _of_attempt(row, attempt, (began or event.time, event.time), "requeued")
    yield from _operators(connection, event)


def _job(connection: Connection, job_id: str | None) -> Row[Any] | None:
    query = sa.select(jobs, pipelines.c.name.label("pipeline")).join(pipelines)
    return connection.execute(query.where(jobs.c.id == job_id)).first()


def _of_attempt(row: Row[Any], attempt: int, took: tuple[float, float], error: str | None) -> Span:
    # Reasons stay in the record: a person's or an operator's words may name a patient.
    received = row.received_payload_id
    return Span(
        "job",
        row.correlation_id,
        span_id(row.id, attempt),
        None if received is None else span_id(received, row.revision),
        *took,
        error=error,
        attributes=_known(
            job_id=row.id,
            pipeline=row.pipeline,
            attempt=attempt,
            priority=row.priority,
            status=row.status,
            rule=row.rule,
            node=row.node,
        ),
    )


def _operators(connection: Connection, event: Row[Any]) -> Iterator[Span]:
    query = sa.select(operators).where(
        operators.c.job_id == event.job_id,
        operators.c.started_at.isnot(None),
        operators.c.stopped_at.isnot(None),
    )
    for row in connection.execute(query.order_by(operators.c.attempt, operators.c.position)):
        yield Span(
            f"operator {row.name}",
            event.correlation_id,
            span_id(row.job_id, row.attempt, row.name),
            span_id(row.job_id, row.attempt),
            row.started_at,
            row.stopped_at,
            error=None if row.status == "COMPLETED" else row.status,
            attributes=_known(
                job_id=row.job_id, attempt=row.attempt, operator=row.name, exit_code=row.exit_code
            ),
        )


def _delivery(connection: Connection, event: Row[Any]) -> Iterator[Span]:
    row = _one(connection, results, event.result_id)
    if row is None:
        return
    failed = event.kind == Kind.RESULT_FAILED
    yield Span(
        "delivery",
        row.correlation_id,
        span_id(row.id),
        span_id(row.job_id, row.attempt),
        row.created_at,
        event.time if failed else row.delivered_at or event.time,
        error=row.state if failed else None,
        outwards=True,
        attributes=_known(
            result_id=row.id,
            job_id=row.job_id,
            agent=row.agent,
            destination=row.destination,
            retries=row.retries,
        ),
    )


def _one(connection: Connection, table: sa.Table, identifier: str | None) -> Row[Any] | None:
    return connection.execute(sa.select(table).where(table.c.id == identifier)).first()


def _known(**attributes: str | int | None) -> dict[str, str | int]:
    return {f"gateway.{name}": value for name, value in attributes.items() if value is not None}


_MAKERS: Mapping[str, Callable[[Connection, Row[Any]], Iterator[Span]]] = {
    Kind.ASSOCIATION_CLOSED: _association,
    Kind.ASSOCIATION_REJECTED: _association,
    Kind.PAYLOAD_COMPLETED: _payload,
    Kind.JOB_REQUEUED: _requeued,
    Kind.JOB_STOPPED: _stopped,
    Kind.RESULT_DELIVERED: _delivery,
    Kind.RESULT_FAILED: _delivery,
}
