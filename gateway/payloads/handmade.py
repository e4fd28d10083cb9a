"""Payloads of jobs that people make over the platform API: when they may go, and that they went.

Such a job has no received payload: what it worked on was uploaded to its own, or linked into it
from reusable ones.  Reusable payloads are not looked at here: the gateway cannot know whether one
is wanted again, so it stays until its owner deletes it.  The same holds for a job that was never
started: it is open.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import jobs, results
from gateway.errors import Refused
from gateway.events.record import Kind, record
from gateway.results.states import still_needed


@dataclass(frozen=True)
class Finished:
    """A job made by hand whose work is over: since when, and whether badly."""

    job_id: str
    payload_id: str
    since: float
    failed: bool


def finished(connection: Connection, before: float) -> Iterator[Finished]:
    """Jobs made by hand that stopped by ``before``, have no open result and still their files."""
    c = jobs.c
    mine = (results.c.job_id == c.id, results.c.deliverable)
    last = sa.func.max(
        sa.func.coalesce(results.c.committed_at, results.c.delivered_at, results.c.created_at)
    )
    query = sa.select(
        c.id,
        c.payload_id,
        c.stopped_at,
        c.status,
        sa.select(last).where(*mine).scalar_subquery().label("left_at"),
        sa.exists().where(*mine, results.c.state == "FAILED").label("undelivered"),
    ).where(
        c.received_payload_id.is_(None),
        c.payload_deleted_at.is_(None),
        c.state == "STOPPED",
        c.stopped_at <= before,
        ~_open(c.id),
    )
    for row in connection.execute(query):
        failed = row.undelivered or row.status not in {"HEALTHY", "CANCELED"}
        yield Finished(row.id, row.payload_id, max(row.stopped_at, row.left_at or 0.0), failed)


def mark_deleted(connection: Connection, job_id: str, reason: str) -> None:
    """Record that the payload of a job made by hand is gone, with its event.

    Its files go after the commit.  Refused when it is gone already, and while the job or a result
    of it is open: it may have been rerun since someone looked.
    """
    job = connection.execute(
        sa.select(jobs).where(jobs.c.id == job_id).with_for_update()
    ).one_or_none()
    if job is None or job.payload_deleted_at is not None:
        raise Refused(f"job {job_id} has no payload any more")
    if job.state != "STOPPED" or connection.execute(sa.select(_open(sa.literal(job_id)))).scalar():
        raise Refused(f"job {job_id} or a result of it is not finished")
    forget(connection, job, reason)


def forget(connection: Connection, job: Row[Any], reason: str) -> None:
    """Record that the payload of ``job`` is gone; the caller has made sure that it may go.

    The event names that payload, not the received one that the job may have been made from.
    """
    now = time.time()
    connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(payload_deleted_at=now))
    record(
        connection,
        Kind.PAYLOAD_DELETED,
        correlation_id=job.correlation_id,
        payload_id=job.payload_id,
        job_id=job.id,
        data={"state": "DELETED", "reason": reason},
        at=now,
    )


def _open(job_id: sa.ColumnElement[str]) -> sa.Exists:
    return sa.exists().where(results.c.job_id == job_id, results.c.deliverable, still_needed())
