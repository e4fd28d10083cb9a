"""What people do to the queue: pause, drain and resume it, one pipeline of it, or one job's place.

* *Paused*: nothing starts.  *Draining*: what is queued still starts, what is queued later waits.
* Running jobs go on in either case, and jobs are still made and queued.

Every function works in the caller's write transaction, records an event, and the caller wakes
:data:`~gateway.events.wake.Topic.JOBS` after it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import jobs, pipelines, scheduling, scheduling_holds
from gateway.errors import Refused
from gateway.events.record import Kind, record
from gateway.jobs.creation import PRIORITIES, priority_of
from gateway.jobs.shares import History
from gateway.jobs.states import State
from gateway.jobs.transitions import Job, load

EVERYTHING = ""
"""Name under which the whole queue is held."""


class Mode(StrEnum):
    """How starts are held back."""

    PAUSED = "PAUSED"
    DRAINING = "DRAINING"


_KINDS = {Mode.PAUSED: Kind.SCHEDULING_PAUSED, Mode.DRAINING: Kind.SCHEDULING_DRAINING}


@dataclass(frozen=True)
class Hold:
    """A pause or drain."""

    mode: Mode
    since: float


Holds = Mapping[str, Hold]
"""By pipeline, in small letters; :data:`EVERYTHING` for the whole queue."""


@dataclass(frozen=True)
class Ruling:
    """The record that makes decisions of several schedulers one after another."""

    version: int
    history: History


def ruling(connection: Connection, *, lock: bool = False) -> Ruling:
    """What the last decision left; ``lock`` keeps other schedulers from deciding until the end."""
    query = sa.select(scheduling.c.version, scheduling.c.history)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        return Ruling(0, History())
    return Ruling(row.version, History.of_json(row.history))


def keep(connection: Connection, history: History) -> None:
    """Store what a decision leaves, under :func:`ruling`'s lock; the version grows by one."""
    changes = {"version": scheduling.c.version + 1, "history": history.as_json()}
    connection.execute(sa.update(scheduling).values(**changes))


def prepare(connection: Connection) -> None:
    """Make the record of decisions, if there is none yet."""
    if connection.execute(sa.select(scheduling.c.id)).first() is not None:
        return
    # Another scheduler may do the same at this moment.
    with contextlib.suppress(sa.exc.IntegrityError), connection.begin_nested():
        connection.execute(
            sa.insert(scheduling).values(id=1, version=0, history=History().as_json())
        )


def holds(connection: Connection) -> dict[str, Hold]:
    """Every pause and drain."""
    rows = connection.execute(sa.select(scheduling_holds))
    return {row.pipeline: Hold(Mode(row.mode), row.since) for row in rows}


def hold(connection: Connection, mode: Mode, pipeline: str | None = None) -> None:
    """Pause or drain the queue, or one pipeline; :class:`Refused` for one that is not known.

    A pause takes the place of a drain and the other way round; the same again changes nothing.
    """
    name = _known(connection, pipeline)
    ruling(connection, lock=True)
    present = holds(connection).get(name)
    if present is not None and present.mode is mode:
        return
    now = time.time()
    connection.execute(sa.delete(scheduling_holds).where(scheduling_holds.c.pipeline == name))
    connection.execute(
        sa.insert(scheduling_holds).values(pipeline=name, mode=mode.value, since=now)
    )
    record(connection, _KINDS[mode], data={"pipeline": pipeline}, at=now)


def resume(connection: Connection, pipeline: str | None = None) -> None:
    """Take back a pause or drain; :class:`Refused` when there is none of that name."""
    name = EVERYTHING if pipeline is None else pipeline.lower()
    gone = connection.execute(
        sa.delete(scheduling_holds).where(scheduling_holds.c.pipeline == name)
    )
    if gone.rowcount == 0:
        what = "the scheduler" if pipeline is None else f"pipeline {pipeline!r}"
        raise Refused(f"{what} is neither paused nor draining")
    record(connection, Kind.SCHEDULING_RESUMED, data={"pipeline": pipeline})


def prioritise(connection: Connection, job_id: str, priority: str) -> Job:
    """Give a waiting job another priority; its time in the queue stays.

    Raises :class:`~gateway.jobs.transitions.UnknownJob`, or :class:`Refused` for a word that is no
    priority and for a job that does not wait.
    """
    wanted = priority_of(priority)
    job = load(connection, job_id)
    if job.state != State.PENDING.value:
        raise Refused(f"job {job_id} is {job.state}: only a waiting job has a place in the queue")
    if job.priority == wanted:
        return job
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(priority=wanted))
    words = {number: word for word, number in PRIORITIES.items()}
    record(
        connection,
        Kind.JOB_PRIORITISED,
        correlation_id=job.correlation_id,
        payload_id=job.received_payload_id,
        job_id=job_id,
        data={"before": words[job.priority], "priority": words[wanted]},
    )
    return load(connection, job_id)


def overview(connection: Connection) -> dict[str, Any]:
    """What is held and how much waits and runs, for people."""
    found = holds(connection)
    query = sa.select(jobs.c.state, sa.func.count()).where(
        sa.or_(
            jobs.c.state == State.RUNNING.value,
            sa.and_(jobs.c.state == State.PENDING.value, jobs.c.queued_at.is_not(None)),
        )
    )
    rows = connection.execute(query.group_by(jobs.c.state)).all()
    counts: dict[str, int] = {row[0]: row[1] for row in rows}
    whole = found.get(EVERYTHING)
    return {
        "mode": "RUNNING" if whole is None else whole.mode.value,
        "since": None if whole is None else whole.since,
        "waiting": counts.get(State.PENDING.value, 0),
        "running": counts.get(State.RUNNING.value, 0),
        "pipelines": [
            {"pipeline": name, "mode": each.mode.value, "since": each.since}
            for name, each in sorted(found.items())
            if name != EVERYTHING
        ],
    }


def _known(connection: Connection, pipeline: str | None) -> str:
    if pipeline is None:
        return EVERYTHING
    name = pipeline.lower()
    query = sa.select(pipelines.c.id).where(
        sa.func.lower(pipelines.c.name) == name, pipelines.c.removed_at.is_(None)
    )
    if connection.execute(query).first() is None:
        raise Refused(f"there is no pipeline {pipeline!r}")
    return name
