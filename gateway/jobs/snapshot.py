"""Reading the queue: what a decision needs to know, from the records.

A snapshot is read without any lock.  Whoever carries the decision out looks again under the lock:
see :mod:`gateway.jobs.admission`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import jobs, payloads, pipelines
from gateway.jobs import labels
from gateway.jobs.backlog import Waiting
from gateway.jobs.controls import EVERYTHING, Holds, Mode, Ruling, holds, ruling
from gateway.jobs.decision import IMMEDIATE, Held
from gateway.jobs.ledger import Need
from gateway.jobs.services import Up, lacking, need_of, plus, up
from gateway.jobs.states import State

WINDOW = 8
"""Jobs of a bunch that are looked at in one turn; of IMMEDIATE ones all."""

# Names of pipelines count in any case of letters.
_name = sa.func.lower(pipelines.c.name)

HELD = sa.exists().where(
    payloads.c.id == jobs.c.received_payload_id,
    payloads.c.conflict,
    ~payloads.c.conflict_released,
)
"""Several patients under one UID: no job of the payload starts until a person releases it."""


@dataclass(frozen=True)
class Snapshot:
    """The queue and the machine at one moment."""

    waiting: Sequence[Waiting]
    running: Sequence[Held]
    ruling: Ruling
    holds: Holds
    up: Sequence[Up] = ()
    """Services of this machine."""
    calls: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Identities of the services of the jobs that wait and have any."""


def snapshot(
    connection: Connection, node: str, grace: float, now: float, owner: str = ""
) -> Snapshot:
    """Read what waits and runs; ``grace``: seconds a job may hold on after its time-out.

    ``owner``: the scheduler that asks.  What waits needs the services that it has not got yet;
    those that it has hold what they need, until the last job here is over or, idle, until now.
    """
    # Before all else: on PostgreSQL each query sees what was committed until then, and a decision
    # of another scheduler that this one sees in part must change the version.
    decided = ruling(connection)
    held = holds(connection)
    services = up(connection, node, owner)
    running = _running(connection, node, grace)
    last = max((job.until for job in running if job.here), default=now)
    running += [
        Held(each.id, each.need, each.devices, now if each.idle else last) for each in services
    ]
    waiting, calls = _waiting(connection, held, grace, now, services)
    return Snapshot(waiting, running, decided, held, services, calls)


def _waiting(
    connection: Connection, held: Holds, grace: float, now: float, services: Sequence[Up]
) -> tuple[list[Waiting], dict[str, Sequence[str]]]:
    whole = held.get(EVERYTHING)
    if whole is not None and whole.mode is Mode.PAUSED:
        return [], {}
    numbered = (
        sa.select(
            jobs.c.id,
            jobs.c.priority,
            jobs.c.cpu,
            jobs.c.memory_mb,
            jobs.c.gpus,
            jobs.c.services,
            jobs.c.labels,
            jobs.c.called_ae,
            _name.label("pipeline"),
            jobs.c.timeout_seconds,
            jobs.c.queued_at,
            sa.func.row_number()
            .over(
                partition_by=(jobs.c.priority, jobs.c.called_ae, _name, jobs.c.labels),
                order_by=(jobs.c.queued_at, jobs.c.id),
            )
            .label("place"),
        )
        .join(pipelines, pipelines.c.id == jobs.c.pipeline_id)
        .where(
            jobs.c.state == State.PENDING.value,
            jobs.c.queued_at.is_not(None),
            sa.or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now),
            ~HELD,
            *_kept_back(held),
        )
        .subquery()
    )
    rows = connection.execute(
        sa.select(numbered).where(
            sa.or_(numbered.c.place <= WINDOW, numbered.c.priority == IMMEDIATE)
        )
    )
    waiting: list[Waiting] = []
    calls: dict[str, Sequence[str]] = {}
    for row in rows:
        job = Waiting(
            row.id,
            row.priority,
            Need(row.cpu, row.memory_mb, row.gpus),
            row.called_ae or "",
            row.pipeline,
            row.timeout_seconds + grace,
            row.queued_at,
            labels.read(row.labels),
        )
        if row.services:
            calls[row.id] = tuple(row.services)
            missing = map(need_of, lacking(row.services, services).values())
            job = replace(job, need=plus(job.need, missing))
        waiting.append(job)
    return waiting, calls


def _kept_back(held: Holds) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    for name, hold in held.items():
        queued_before = jobs.c.queued_at <= hold.since
        if name == EVERYTHING:
            conditions.append(queued_before)
        elif hold.mode is Mode.PAUSED:
            conditions.append(_name != name)
        else:
            conditions.append(sa.or_(_name != name, queued_before))
    return conditions


def _running(connection: Connection, node: str, grace: float) -> list[Held]:
    rows = connection.execute(
        sa.select(jobs, _name.label("pipeline"))
        .join(pipelines, pipelines.c.id == jobs.c.pipeline_id)
        .where(jobs.c.state == State.RUNNING.value)
    )
    return [
        Held(
            row.id,
            Need(row.cpu, row.memory_mb, row.gpus),
            tuple(row.devices or ()),
            row.started_at + row.timeout_seconds + grace,
            row.priority,
            row.called_ae or "",
            row.pipeline,
            here=row.node == node,
        )
        for row in rows
    ]
