"""Taking a step of the state tables in a transaction: record, stamps and event together.

Callers bring the connection of their own write transaction and wake :data:`Topic.JOBS` after it
committed.  Nothing here keeps anything in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import jobs, operators
from gateway.errors import Refused
from gateway.events.faults import point
from gateway.events.record import Kind, record
from gateway.jobs.names import clean_text
from gateway.jobs.states import (
    Effect,
    JobEvent,
    OperatorEffect,
    OperatorEvent,
    OperatorStatus,
    Place,
    State,
    Status,
    next_job,
    next_operator,
)

Job = Row[Any]
"""A row of ``jobs``."""


class UnknownJob(Refused):
    """No job has that id."""


class Fenced(Refused):
    """The attempt is over in the records, or another scheduler's: what it says counts no more."""


@dataclass(frozen=True)
class OperatorLog:
    """An operator of an attempt and its log file, relative to data-dir."""

    name: str
    log: str


@dataclass(frozen=True)
class Holder:
    """Who runs an attempt, and on what."""

    owner: str
    node: str
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What an event brings with it; what does not matter to it stays at its default."""

    at: float = field(default_factory=time.time)
    reason: str | None = None
    exit_code: int | None = None
    not_before: float | None = None
    operators: Sequence[OperatorLog] = ()
    holder: Holder | None = None
    """Who runs the attempt, and on what."""
    rerun_from: str | None = None
    """The operator a rerun begins at; None = the first."""
    notes: Sequence[str] = ()
    """What the attempt says about its definition, a sentence each."""
    results: Callable[[Connection, Job], None] | None = None
    """Called for :data:`Effect.BEGIN_ATTEMPT` (discard) and :data:`Effect.RELEASE_RESULTS`."""


@dataclass(frozen=True)
class Ending:
    """How an operator ended, as it is recorded."""

    reason: str | None = None
    exit_code: int | None = None
    tail: str | None = None
    at: float = field(default_factory=time.time)
    image: str | None = None
    """At its start: what runs, by digest."""


def load(connection: Connection, job_id: str) -> Job:
    """The job, locked until the transaction ends; :class:`UnknownJob` if there is none."""
    row = connection.execute(
        sa.select(jobs).where(jobs.c.id == job_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise UnknownJob(f"there is no job {job_id}")
    return row


def still_mine(connection: Connection, job: Job) -> Job:
    """The record of the attempt that ``job`` tells of, locked; :class:`Fenced` if it is over.

    ``job`` is the record as it was when the attempt began.
    """
    present = load(connection, job.id)
    token = (present.state, present.attempt, present.owner)
    if token != (State.RUNNING.value, job.attempt, job.owner):
        raise Fenced(f"attempt {job.attempt} of job {job.id} is over")
    return present


def place_of(job: Job) -> Place:
    """State and status of ``job``."""
    return Place(State(job.state), Status(job.status))


def move_job(connection: Connection, job_id: str, event: JobEvent, facts: Facts) -> Job:
    """Take the step of ``event`` and return the job as it is now.

    Raises :class:`UnknownJob`, or :class:`Refused` when the table has no such step; then nothing
    is written.
    """
    job = load(connection, job_id)
    step = next_job(place_of(job), event)
    changes: dict[str, Any] = {"state": step.to.state.value, "status": step.to.status.value}
    for effect in step.effects:
        changes |= _EFFECTS[effect](connection, job, facts)
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(**changes))
    job = load(connection, job_id)
    for effect in step.effects:
        if effect in _TELLINGS:
            _tell(connection, job, _TELLINGS[effect], event, facts)
    point(f"job.{event}.before")
    return job


def _enqueue(_connection: Connection, job: Job, facts: Facts) -> dict[str, Any]:
    return {"queued_at": facts.at if job.queued_at is None else job.queued_at}


def _begin_attempt(connection: Connection, job: Job, facts: Facts) -> dict[str, Any]:
    attempt = job.attempt + 1
    if facts.results is not None:
        facts.results(connection, job)
    if facts.operators:
        connection.execute(
            sa.insert(operators),
            [
                {
                    "job_id": job.id,
                    "attempt": attempt,
                    "name": operator.name,
                    "position": position,
                    "status": OperatorStatus.PENDING.value,
                    "log": operator.log,
                    "created_at": facts.at,
                }
                for position, operator in enumerate(facts.operators)
            ],
        )
    holder = facts.holder
    return {
        "attempt": attempt,
        "owner": None if holder is None else holder.owner,
        "node": None if holder is None else holder.node,
        "devices": None if holder is None else list(holder.devices),
        "started_at": facts.at,
        "not_before": None,
        "reason": None,
        "exit_code": None,
        "notes": list(facts.notes),
    }


def _release_results(connection: Connection, job: Job, facts: Facts) -> dict[str, Any]:
    if facts.results is not None:
        facts.results(connection, job)
    return {}


def _end_operators(connection: Connection, job: Job, facts: Facts) -> dict[str, Any]:
    rows = connection.execute(
        sa.select(operators.c.name).where(
            operators.c.job_id == job.id,
            operators.c.attempt == job.attempt,
            operators.c.status == OperatorStatus.RUNNING.value,
        )
    ).scalars()
    for name in rows.all():
        ending = Ending(facts.reason, at=facts.at)
        move_operator(connection, job, name, OperatorEvent.FAULT, ending)
    return {}


def _count_retry(_connection: Connection, job: Job, facts: Facts) -> dict[str, Any]:
    return {
        "retries": job.retries + 1,
        "not_before": facts.not_before,
        "reason": _clean(facts.reason),
    }


def _stop(_connection: Connection, _job: Job, facts: Facts) -> dict[str, Any]:
    return {
        "stopped_at": facts.at,
        "reason": _clean(facts.reason),
        "exit_code": facts.exit_code,
        "cancel_requested": None,
        "not_before": None,
    }


def _reset(_connection: Connection, _job: Job, facts: Facts) -> dict[str, Any]:
    return {
        "rerun_from": facts.rerun_from,
        "queued_at": facts.at,
        "stopped_at": None,
        "started_at": None,
        "reason": None,
        "exit_code": None,
        "retries": 0,
        "cancel_requested": None,
        "not_before": None,
        # Its files are laid out anew: nobody may take them for deleted ones.
        "payload_deleted_at": None,
    }


def _clean(text: str | None) -> str | None:
    return None if text is None else clean_text(text)


def _nothing(_connection: Connection, _job: Job, _facts: Facts) -> dict[str, Any]:
    return {}


_EFFECTS: Mapping[Effect, Callable[[Connection, Job, Facts], dict[str, Any]]] = {
    Effect.ENQUEUE: _enqueue,
    Effect.BEGIN_ATTEMPT: _begin_attempt,
    Effect.RELEASE_RESULTS: _release_results,
    Effect.END_OPERATORS: _end_operators,
    Effect.COUNT_RETRY: _count_retry,
    Effect.STOP: _stop,
    Effect.RESET: _reset,
    Effect.TELL_STARTED: _nothing,
    Effect.TELL_REQUEUED: _nothing,
    Effect.TELL_STOPPED: _nothing,
}

_TELLINGS: Mapping[Effect, Kind] = {
    Effect.TELL_STARTED: Kind.JOB_STARTED,
    Effect.TELL_REQUEUED: Kind.JOB_REQUEUED,
    Effect.TELL_STOPPED: Kind.JOB_STOPPED,
}


def _tell(connection: Connection, job: Job, kind: Kind, event: JobEvent, facts: Facts) -> None:
    # Reasons stay in the record: a person's or an operator's words may name a patient.
    data = {
        "name": job.name,
        "state": job.state,
        "status": job.status,
        "attempt": job.attempt,
        "cause": event.value,
        "exit_code": job.exit_code,
    }
    record(
        connection,
        kind,
        correlation_id=job.correlation_id,
        payload_id=job.received_payload_id,
        job_id=job.id,
        data=data,
        at=facts.at,
    )


def move_operator(
    connection: Connection, job: Job, name: str, event: OperatorEvent, ending: Ending
) -> OperatorStatus:
    """Take an operator's step within the job's present attempt; return its new status.

    Raises :class:`Fenced` when the attempt is over, :class:`Refused` when the table has no such
    step, ``KeyError`` for an operator the attempt does not have.
    """
    still_mine(connection, job)
    key = (
        operators.c.job_id == job.id,
        operators.c.attempt == job.attempt,
        operators.c.name == name,
    )
    row = connection.execute(sa.select(operators).where(*key).with_for_update()).one_or_none()
    if row is None:
        raise KeyError(name)
    step = next_operator(OperatorStatus(row.status), event)
    changes: dict[str, Any] = {"status": step.to.value}
    if OperatorEffect.STAMP_START in step.effects:
        changes["started_at"] = ending.at
    if OperatorEffect.STAMP_STOP in step.effects:
        changes |= {
            "stopped_at": ending.at,
            "reason": _clean(ending.reason),
            "exit_code": ending.exit_code,
            "tail": ending.tail,
        }
    connection.execute(sa.update(operators).where(*key).values(**changes))
    kinds = {
        OperatorEffect.TELL_STARTED: Kind.OPERATOR_STARTED,
        OperatorEffect.TELL_STOPPED: Kind.OPERATOR_STOPPED,
    }
    for effect in step.effects:
        if effect in kinds:
            record(
                connection,
                kinds[effect],
                correlation_id=job.correlation_id,
                payload_id=job.received_payload_id,
                job_id=job.id,
                data={
                    "operator": name,
                    "attempt": job.attempt,
                    "status": step.to.value,
                    "exit_code": ending.exit_code,
                    **({} if ending.image is None else {"image": ending.image}),
                },
                at=ending.at,
            )
    point(f"operator.{event}.before")
    return step.to
