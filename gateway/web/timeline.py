"""The story of one payload, from its associations to its results, told from the records.

Records, not events, are the source wherever they suffice: they survive whatever happened to the
events.  Events add what leaves no record of its own (a circuit that opened, a person's release).
Every text is free of patient data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import (
    associations,
    decisions,
    events,
    jobs,
    operators,
    payload_associations,
    payload_revisions,
    payloads,
    quarantine,
    result_files,
    results,
)
from gateway.events.record import Kind
from gateway.events.times import rfc3339

MAX_ENTRIES = 5000
"""Longest timeline; beyond it the middle of a very long story is left out by its newest part."""

_EXTRA = (
    Kind.PAYLOAD_UNMATCHED,
    Kind.PAYLOAD_CONFLICT,
    Kind.PAYLOAD_RELEASED,
    Kind.PAYLOAD_RETRIED,
    Kind.PAYLOAD_DELETED,
    Kind.INSTANCE_RETURNED,
    Kind.RESULT_WAITING,
    Kind.RESULT_FAILED,
    Kind.RESULT_RETRIED,
    Kind.COMMITMENT_ASKED,
    Kind.COMMITMENT_WAITING,
    Kind.RESULT_COMMITTED,
)
_SENTENCES = {
    Kind.PAYLOAD_UNMATCHED: "no rule matched",
    Kind.PAYLOAD_CONFLICT: "held back: different patients under one UID, a person must release it",
    Kind.PAYLOAD_RELEASED: "released by a person",
    Kind.PAYLOAD_RETRIED: "taken out of quarantine and tried again",
    Kind.PAYLOAD_DELETED: "deleted",
    Kind.INSTANCE_RETURNED: "an instance that the gateway had delivered came back",
    Kind.RESULT_WAITING: "delivery waits for another try",
    Kind.RESULT_FAILED: "delivery failed",
    Kind.RESULT_RETRIED: "delivery is tried again by hand",
    Kind.COMMITMENT_ASKED: "the destination was asked to commit",
    Kind.COMMITMENT_WAITING: "storage commitment waits for another try",
    Kind.RESULT_COMMITTED: "the destination committed it",
}


@dataclass(frozen=True)
class Entry:
    """Something that happened: when, what, in words, and to which record."""

    at: float
    kind: str
    text: str
    ids: tuple[tuple[str, str], ...] = ()

    def body(self) -> dict[str, Any]:
        """As REST shows it."""
        return {"time": rfc3339(self.at), "kind": self.kind, "text": self.text, **dict(self.ids)}


def timeline(connection: Connection, payload_id: str) -> list[dict[str, Any]]:
    """Everything that happened to the payload, oldest first; empty when there is no such one."""
    found = connection.execute(sa.select(payloads).where(payloads.c.id == payload_id)).first()
    if found is None:
        return []
    job_rows = connection.execute(
        sa.select(jobs).where(jobs.c.received_payload_id == payload_id).order_by(jobs.c.created_at)
    ).all()
    job_ids = [row.id for row in job_rows]
    entries = [
        *_associations(connection, payload_id),
        *_revisions(connection, found),
        *_quarantine(connection, payload_id),
        *_decisions(connection, payload_id),
        *_jobs(job_rows),
        *_operators(connection, job_ids),
        *_results(connection, job_ids),
        *_events(connection, payload_id, job_ids),
    ]
    # Sorting is stable: what happened in the same instant stays in the order of the way.
    return [entry.body() for entry in sorted(entries, key=lambda e: e.at)[-MAX_ENTRIES:]]


def _associations(connection: Connection, payload_id: str) -> Iterator[Entry]:
    fed = sa.select(payload_associations.c.association_id)
    fed = fed.where(payload_associations.c.payload_id == payload_id)
    query = sa.select(associations).where(associations.c.id.in_(fed)).limit(MAX_ENTRIES)
    for row in connection.execute(query):
        ids = (("association_id", row.id),)
        who = f"{row.calling_ae} ({row.host}) to {row.called_ae}"
        yield Entry(row.opened_at, "association/opened", f"association opened: {who}", ids)
        if row.closed_at is not None:
            counts = f"{row.instances} instances kept"
            for name in ("duplicates", "ignored", "refused"):
                if getattr(row, name):
                    counts += f", {getattr(row, name)} {name}"
            text = f"association {row.state.lower()}{_because(row.reason)}: {counts}"
            yield Entry(row.closed_at, "association/closed", text, ids)


def _revisions(connection: Connection, payload: sa.Row[Any]) -> Iterator[Entry]:
    ids = (("payload_id", payload.id),)
    query = sa.select(payload_revisions).where(payload_revisions.c.payload_id == payload.id)
    done = connection.execute(query.order_by(payload_revisions.c.revision)).all()
    for row in done:
        yield Entry(row.opened_at, "payload/received", _opened(row.revision), ids)
        text = f"revision {row.revision} complete ({row.reason}): {row.instances} instances"
        yield Entry(row.completed_at, "payload/completed", text, ids)
    if payload.revision not in {row.revision for row in done}:
        text = f"{_opened(payload.revision)}; {payload.instances} so far"
        yield Entry(payload.opened_at, "payload/received", text, ids)


def _opened(revision: int) -> str:
    return "first instance received" if revision == 1 else f"revision {revision}: late instance"


def _quarantine(connection: Connection, payload_id: str) -> Iterator[Entry]:
    query = sa.select(quarantine).where(quarantine.c.payload_id == payload_id).limit(MAX_ENTRIES)
    for row in connection.execute(query):
        ids = (("quarantine_id", row.id),)
        text = f"unusable data set put into quarantine: {row.reason}"
        yield Entry(row.received_at, "payload/quarantined", text, ids)


def _decisions(connection: Connection, payload_id: str) -> Iterator[Entry]:
    query = sa.select(decisions).where(decisions.c.payload_id == payload_id)
    for row in connection.execute(query.order_by(decisions.c.id).limit(MAX_ENTRIES)):
        outcome = row.outcome.lower().replace("_", " ")
        text = f"rule {row.rule!r}: {outcome}" if row.rule else f"no rule: {outcome}"
        text += f" (revision {row.revision})"
        if row.error:
            text += f": {row.error}"
        ids = (("job_id", row.job_id),) if row.job_id else ()
        yield Entry(row.decided_at, f"rule/{row.outcome.lower()}", text, ids)


def _jobs(rows: Iterable[sa.Row[Any]]) -> Iterator[Entry]:
    for row in rows:
        ids = (("job_id", row.id),)
        yield Entry(row.created_at, "job/created", f"job created: {row.name}", ids)
        if row.started_at is not None:
            text = f"job started, attempt {row.attempt}"
            yield Entry(row.started_at, "job/started", text, ids)
            for note in row.notes:
                yield Entry(row.started_at, "job/note", note, ids)
        if row.stopped_at is not None:
            text = f"job stopped: {row.status}{_because(row.reason)}"
            yield Entry(row.stopped_at, "job/stopped", text, ids)


def _operators(connection: Connection, job_ids: list[str]) -> Iterator[Entry]:
    query = sa.select(operators).where(operators.c.job_id.in_(job_ids)).limit(MAX_ENTRIES)
    query = query.order_by(operators.c.attempt, operators.c.position)
    for row in connection.execute(query):
        ids = (("job_id", row.job_id), ("operator", row.name))
        if row.started_at is not None:
            text = f"operator {row.name} started"
            yield Entry(row.started_at, "operator/started", text, ids)
        if row.stopped_at is not None:
            text = f"operator {row.name} {row.status.lower()}{_because(row.reason)}"
            if row.started_at is not None:
                text += f" after {row.stopped_at - row.started_at:.1f} s"
            yield Entry(row.stopped_at, "operator/stopped", text, ids)


def _results(connection: Connection, job_ids: list[str]) -> Iterator[Entry]:
    counted = sa.select(result_files.c.result_id, sa.func.count().label("n"))
    files = counted.group_by(result_files.c.result_id).subquery()
    query = (
        sa.select(results, sa.func.coalesce(files.c.n, 0).label("files"))
        .outerjoin(files, files.c.result_id == results.c.id)
        .where(results.c.job_id.in_(job_ids))
        .limit(MAX_ENTRIES)
    )
    for row in connection.execute(query):
        ids = (("job_id", row.job_id), ("result_id", row.id))
        where = row.destination or row.agent
        text = f"result registered for {where}: {row.files} files"
        yield Entry(row.created_at, "result/registered", text, ids)
        if row.delivered_at is not None:
            text = f"delivered to {where}: {row.files} files"
            yield Entry(row.delivered_at, "result/delivered", text, ids)


def _events(connection: Connection, payload_id: str, job_ids: list[str]) -> Iterator[Entry]:
    result_ids = sa.select(results.c.id).where(results.c.job_id.in_(job_ids))
    about = sa.or_(
        events.c.payload_id == payload_id,
        events.c.job_id.in_(job_ids),
        events.c.result_id.in_(result_ids),
    )
    query = sa.select(events).where(about, events.c.kind.in_(_EXTRA))
    for row in connection.execute(query.order_by(events.c.seq.desc()).limit(MAX_ENTRIES)):
        text = _SENTENCES[Kind(row.kind)]
        if row.kind == Kind.PAYLOAD_DELETED and row.job_id:
            text = "the files of a job deleted"
        text += _because((row.data or {}).get("reason"))
        ids = tuple(
            (name, getattr(row, name))
            for name in ("association_id", "job_id", "result_id")
            if getattr(row, name)
        )
        yield Entry(row.time, row.kind, text, ids)


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""
