"""Jobs whose scheduler died: nothing of the dead attempt may be left before the next one."""

from __future__ import annotations

import logging

import sqlalchemy as sa
from sqlalchemy.engine import Row

from gateway.database.engine import Database
from gateway.database.schema import jobs
from gateway.errors import GatewayError
from gateway.events.faults import point
from gateway.jobs.executor import Executor
from gateway.jobs.presence import Presence
from gateway.jobs.states import JobEvent, State
from gateway.jobs.transitions import Facts, Fenced, move_job, still_mine

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 50
"""A job whose attempts keep dying with the gateway may be what kills it: no further one."""


class Adoption:
    """Gives up the attempts of dead schedulers; their jobs wait for the next one."""

    def __init__(self, database: Database, executor: Executor, presence: Presence) -> None:
        self._database = database
        self._executor = executor
        self._presence = presence
        self._settled = False

    def turn(self) -> bool:
        """Give up what can be given up now; True when any job was."""
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
        given_up = [job for job in orphans if self._reaped(job) and self._give_up(job)]
        self._settled = len(given_up) == len(orphans)
        return bool(given_up)

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
