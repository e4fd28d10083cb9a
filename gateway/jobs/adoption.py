"""Jobs whose scheduler died.

Where the attempt died with it, nothing of it may be left before the next one begins.  Where the
engine has it still, it is taken over and carried on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Row

from gateway.database.engine import Database
from gateway.database.schema import jobs
from gateway.errors import GatewayError
from gateway.events.faults import point
from gateway.jobs.admission import Begin
from gateway.jobs.creation import definition_of
from gateway.jobs.executor import Executor, Lasting
from gateway.jobs.presence import Presence
from gateway.jobs.rerun import kept, unreleased
from gateway.jobs.states import JobEvent, State
from gateway.jobs.transitions import Facts, Fenced, load, move_job, still_mine

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 50
"""A job whose attempts keep dying with the gateway may be what kills it: no further one."""


class Adoption:
    """Carries on the attempts of dead schedulers, or gives them up: then the next one follows."""

    def __init__(
        self,
        database: Database,
        executor: Executor,
        presence: Presence,
        carry_on: Callable[[Begin], None],
    ) -> None:
        """``carry_on`` launches an attempt that was taken over."""
        self._database = database
        self._executor = executor
        self._presence = presence
        self._carry_on = carry_on
        self._settled = False

    def turn(self) -> bool:
        """Take over or give up what can be now; True when any job was."""
        if self._settled and self._presence.alone:
            return False
        with self._database.read() as connection:
            gone = self._presence.dead(connection)
            rows = connection.execute(
                sa.select(jobs)
                .where(jobs.c.state == State.RUNNING.value)
                .order_by(jobs.c.queued_at)
            ).all()
        orphans = [job for job in rows if gone(job.owner)]
        settled = [job for job in orphans if self._settle(job)]
        self._settled = len(settled) == len(orphans)
        return bool(settled)

    def _settle(self, job: Row[tuple[object, ...]]) -> bool:
        """True when the job has an owner that lives, or waits for its next attempt."""
        if isinstance(self._executor, Lasting) and job.cancel_requested is None:
            try:
                lives = self._executor.has(job.id, job.attempt)
            except GatewayError as error:
                log.warning("nobody can tell of job %s, attempt %d: %s", job.id, job.attempt, error)
                return False
            if lives:
                return self._take_over(job)
        return self._reaped(job) and self._give_up(job)

    def _take_over(self, orphan: Row[tuple[object, ...]]) -> bool:
        try:
            with self._database.begin() as connection:
                still_mine(connection, orphan)
                connection.execute(
                    sa.update(jobs)
                    .where(jobs.c.id == orphan.id)
                    .values(owner=self._presence.id, node=self._presence.node)
                )
                job = load(connection, orphan.id)
                definition = definition_of(connection, job)
                idle = kept(definition, job.rerun_from)
                waiting = unreleased(connection, job, idle)
        except Fenced:
            return True
        log.info("attempt %d of job %s is carried on", job.attempt, job.id)
        self._carry_on(Begin(job, definition, tuple(job.devices or ()), idle, waiting))
        return True

    def _reaped(self, job: Row[tuple[object, ...]]) -> bool:
        try:
            self._executor.reap(job.id, job.attempt)
        except (GatewayError, OSError) as error:
            log.warning("attempt %d of job %s cannot be reaped yet: %s", job.attempt, job.id, error)
            return False
        return True

    def _give_up(self, orphan: Row[tuple[object, ...]]) -> bool:
        reason = f"the gateway ended during attempt {orphan.attempt}"
        try:
            with self._database.begin() as connection:
                job = still_mine(connection, orphan)
                if job.cancel_requested is not None:
                    event, facts = JobEvent.CANCEL, Facts(reason=job.cancel_requested)
                elif job.attempt >= MOST_ATTEMPTS:
                    event, facts = JobEvent.FAULT, Facts(reason=f"{reason}; no further one is made")
                else:
                    event, facts = JobEvent.GIVE_UP, Facts(reason=reason)
                move_job(connection, job.id, event, facts)
        except Fenced:
            # Another scheduler was faster.
            return True
        point(f"job.{event}.after")
        return True
