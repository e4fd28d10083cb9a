"""Which payloads there are: those of jobs, and those made by hand to be reused."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import jobs, new_id, reusable_payloads
from gateway.events.record import Kind, record
from gateway.jobs.states import State
from gateway.jobs.transitions import Job
from gateway.payloads import handmade
from gateway.platform.errors import Code, PlatformError, not_found
from gateway.results import registry as results

STRIPES = 64
BY_A_PERSON = "by a person"


@dataclass(frozen=True)
class Payload:
    """A payload and, when it was made with a job, that job."""

    id: str
    job: Job | None
    metadata: Mapping[str, str]

    @property
    def writable(self) -> bool:
        """True while files may be added or removed: a job's payload only until it is started."""
        return self.job is None or (
            self.job.state == State.PENDING.value and self.job.queued_at is None
        )

    def check_writable(self) -> None:
        """Raise :class:`PlatformError` unless :attr:`writable`."""
        if not self.writable:
            raise PlatformError(
                Code.REFUSED,
                f"payload {self.id} belongs to a job that was started: it is read-only",
            )


class Locks:
    """One lock per payload, so that a start, a deletion and an upload never cross.

    Within this process, which is the only one of its data-dir that changes payloads by hand.
    """

    def __init__(self) -> None:
        self._stripes = [threading.Lock() for _ in range(STRIPES)]

    def of(self, payload_id: str) -> AbstractContextManager[object]:
        """The lock of a payload; hold it briefly and hold only one."""
        return self._stripes[int(payload_id, 16) % STRIPES]


def find(connection: Connection, payload_id: str) -> Payload:
    """The payload with that id; :class:`PlatformError` when there is none or it was deleted."""
    job = connection.execute(
        sa.select(jobs).where(jobs.c.payload_id == payload_id, jobs.c.payload_deleted_at.is_(None))
    ).one_or_none()
    if job is not None:
        return Payload(payload_id, job, {})
    row = connection.execute(
        sa.select(reusable_payloads).where(
            reusable_payloads.c.id == payload_id, reusable_payloads.c.deleted_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        raise not_found(f"there is no payload {payload_id}")
    return Payload(payload_id, None, row.metadata)


def find_reusable(connection: Connection, payload_id: str, purpose: str) -> Payload:
    """As :func:`find`, refusing a job's payload; ``purpose`` says what wants a reusable one."""
    payload = find(connection, payload_id)
    if payload.job is not None:
        raise PlatformError(
            Code.REFUSED, f"{purpose} needs a reusable payload; {payload_id} belongs to a job"
        )
    return payload


def create(connection: Connection, metadata: Mapping[str, str]) -> str:
    """Record a new reusable payload and return its id."""
    payload_id = new_id()
    connection.execute(
        sa.insert(reusable_payloads).values(
            id=payload_id, metadata=dict(metadata), created_at=time.time()
        )
    )
    return payload_id


def mark_deleted(connection: Connection, payload_id: str) -> None:
    """Record that the payload is gone; its files go after the commit.

    A job's payload can go once the job has stopped and its results have left.
    """
    payload = find(connection, payload_id)
    if payload.job is not None:
        _check_finished(connection, payload.job)
        handmade.forget(connection, payload.job, BY_A_PERSON)
        return
    now, c = time.time(), reusable_payloads.c
    connection.execute(
        sa.update(reusable_payloads).where(c.id == payload_id).values(deleted_at=now)
    )
    data = {"state": "DELETED", "reason": BY_A_PERSON}
    record(connection, Kind.PAYLOAD_DELETED, payload_id=payload_id, data=data, at=now)


def deleted(connection: Connection) -> list[str]:
    """Ids of every payload that was deleted by hand."""
    queries = (
        sa.select(jobs.c.payload_id).where(jobs.c.payload_deleted_at.is_not(None)),
        sa.select(reusable_payloads.c.id).where(reusable_payloads.c.deleted_at.is_not(None)),
    )
    return [row[0] for query in queries for row in connection.execute(query)]


def _check_finished(connection: Connection, job: Job) -> None:
    if job.state != State.STOPPED.value:
        raise PlatformError(Code.REFUSED, f"job {job.id} has not stopped; cancel it first")
    if results.open_results(connection, job.id):
        raise PlatformError(Code.REFUSED, f"results of job {job.id} are still to be delivered")
