"""From a decision to attempts: look at the queue, decide, and record the begins together.

The decision is made on a snapshot without any lock.  It is carried out under the lock of the
ruling, and only if no other scheduler decided in between and nobody paused anything: otherwise it
is made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.engine import Database
from gateway.database.schema import jobs
from gateway.errors import Permanent, Refused
from gateway.events.faults import point
from gateway.jobs.attempt import Attempt
from gateway.jobs.backlog import Backlog, Waiting
from gateway.jobs.controls import holds, keep, ruling
from gateway.jobs.creation import definition_of
from gateway.jobs.decision import IMMEDIATE, Plan, Rules, Start, plan
from gateway.jobs.labels import lacking
from gateway.jobs.ledger import Capacity
from gateway.jobs.logs import relative_log
from gateway.jobs.presence import Presence
from gateway.jobs.rerun import kept, unreleased
from gateway.jobs.services import give_way, in_the_way, reserve
from gateway.jobs.snapshot import HELD, Snapshot, snapshot
from gateway.jobs.states import PENDING, JobEvent
from gateway.jobs.transitions import Facts, Holder, Job, OperatorLog, load, move_job, place_of
from gateway.pipelines.model import Definition
from gateway.pipelines.orchestration import notes
from gateway.results import registry as results


@dataclass(frozen=True)
class Begin:
    """An attempt whose begin was recorded."""

    job: Job
    definition: Definition
    gpus: tuple[int, ...]
    kept: frozenset[str] = frozenset()
    """Operators that do not run: an earlier attempt completed them."""
    unreleased: frozenset[str] = frozenset()
    """Those of them whose registrations go out with this attempt."""


class Admission:
    """Admits jobs on one machine; the scheduler's thread."""

    def __init__(
        self,
        *,
        database: Database,
        presence: Presence,
        capacity: Capacity,
        rules: Rules,
        grace: float,
        engine: str,
        attempt: Callable[[Begin], Attempt],
    ) -> None:
        """``grace``: seconds a job may hold on after its time-out; ``attempt`` makes one."""
        self._database = database
        self._presence = presence
        self._capacity = capacity
        self._rules = rules
        self._grace = grace
        self._engine = engine
        self._attempt = attempt

    def turn(self) -> tuple[list[Attempt], bool]:
        """Begin what may start now; True with it when there may be more to do at once."""
        now = time.time()
        with self._database.read() as connection:
            seen = snapshot(connection, self._presence.node, self._grace, now, self._presence.id)
            others = not self._presence.alone and self._presence.others(connection)
        fitting = [job for job in seen.waiting if others or not self._refuse_misfit(job)]
        decided = plan(
            Backlog(fitting), seen.running, self._capacity, self._rules, seen.ruling.history, now
        )
        self._make_way(seen, fitting, decided)
        if not decided.starts and decided.history.line == seen.ruling.history.line:
            return [], len(fitting) < len(seen.waiting)
        return self._carry_out(seen, decided), bool(decided.starts)

    def _carry_out(self, seen: Snapshot, decided: Plan) -> list[Attempt]:
        attempts: list[Attempt] = []
        impossible: list[tuple[str, str]] = []
        with self._database.begin() as connection:
            if ruling(connection, lock=True).version != seen.ruling.version:
                return []
            if holds(connection) != seen.holds or not self._presence.confirmed(connection):
                return []
            for start in decided.starts:
                try:
                    with connection.begin_nested():
                        begin = self._begin(connection, start)
                except Permanent as error:
                    impossible.append((start.job.job_id, f"it cannot start: {error}"))
                    continue
                if begin is not None:
                    attempts.append(self._attempt(begin))
            keep(connection, decided.history)
        if attempts:
            point(f"job.{JobEvent.START}.after")
        for job_id, reason in impossible:
            self._refuse(job_id, reason)
        return attempts

    def _begin(self, connection: Connection, start: Start) -> Begin | None:
        """Record the attempt's begin; None when the job left the queue in the meantime."""
        job_id = start.job.job_id
        job = load(connection, job_id)
        held = connection.execute(sa.select(HELD).where(jobs.c.id == job_id)).scalar()
        if place_of(job) != PENDING or held:
            return None
        definition = definition_of(connection, job)
        number = job.attempt + 1
        idle = kept(definition, job.rerun_from)
        # What is left of the devices is for services that are not up yet.
        gpus = start.gpus[: job.gpus]
        if job.services:
            reserve(
                connection,
                job.services,
                self._presence.id,
                self._presence.node,
                start.gpus[job.gpus :],
            )
        facts = Facts(
            operators=[
                OperatorLog(operator.name, relative_log(job_id, number, operator.name))
                for operator in definition.operators
                if operator.name not in idle
            ],
            holder=Holder(self._presence.id, self._presence.node, gpus),
            notes=notes(definition, self._engine),
            results=lambda c, j: _discard(c, j, number),
        )
        waiting = unreleased(connection, job, idle)
        job = move_job(connection, job_id, JobEvent.START, facts)
        return Begin(job, definition, gpus, idle, waiting)

    def _make_way(self, seen: Snapshot, waiting: list[Waiting], decided: Plan) -> None:
        """End idle services for the job that comes first of those that do not fit."""
        if not any(each.idle for each in seen.up):
            return
        started = {start.job.job_id for start in decided.starts}
        urgent = [job for job in waiting if job.priority == IMMEDIATE]
        first = [job for job in urgent if job.job_id not in started]
        first += [job for job in waiting if job.job_id == decided.reserved]
        if not first:
            return
        held = [each.need for each in seen.running if each.here]
        held += [start.job.need for start in decided.starts]
        free = self._capacity.free(held)
        calls = seen.calls.get(first[0].job_id, ())
        found = in_the_way(seen.up, first[0].need, free, calls)
        if found:
            with self._database.begin() as connection:
                give_way(connection, found)

    def _refuse_misfit(self, waiting: Waiting) -> bool:
        """End a job that the machine, smaller than when the job was made, can never hold."""
        shortage = self._capacity.shortage(waiting.need)
        if shortage is None and self._presence.alone:
            # Elsewhere a node that has them may only be away: the job waits for it.
            shortage = lacking(waiting.labels, self._capacity.labels)
        if shortage is None:
            return False
        self._refuse(waiting.job_id, shortage)
        return True

    def _refuse(self, job_id: str, reason: str) -> None:
        try:
            with self._database.begin() as connection:
                move_job(connection, job_id, JobEvent.FAULT, Facts(reason=reason))
        except Refused:
            # Cancelled in the meantime.
            return
        point(f"job.{JobEvent.FAULT}.after")


def _discard(connection: Connection, job: Job, attempt: int) -> None:
    results.discard(connection, job.id, attempt)
