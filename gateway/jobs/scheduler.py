"""The scheduler: takes jobs from the queue, has them run, and records how they end.

One thread works from the records: it ends what is done, stops what ran too long or was cancelled,
and starts what fits.  Engines run the jobs and report from their own threads.  Whatever is only in
memory (handles, grants, shares) is rebuilt after a crash: a job found RUNNING at the start lost its
attempt, and gets the next one once nothing of the dead one is left.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.database.engine import Database
from gateway.database.schema import jobs, payloads
from gateway.errors import GatewayError, Permanent, Refused
from gateway.events.faults import point
from gateway.events.wake import Topic, Wakeups
from gateway.jobs.attempt import Attempt
from gateway.jobs.creation import PRIORITIES, resolved
from gateway.jobs.endings import Halt, Verdict
from gateway.jobs.executor import Executor, Stop
from gateway.jobs.launch import Launcher
from gateway.jobs.ledger import Ledger, Need
from gateway.jobs.logs import Logs, relative_log
from gateway.jobs.names import first_line
from gateway.jobs.payload_files import PayloadFiles
from gateway.jobs.queue import FairQueue, Waiting
from gateway.jobs.states import PENDING, JobEvent, State
from gateway.jobs.transitions import Facts, Job, OperatorLog, load, move_job, place_of
from gateway.pipelines import registry as pipelines
from gateway.pipelines.model import Definition
from gateway.pipelines.orchestration import notes
from gateway.results import registry as results
from gateway.results.backoff import Backoff

log = logging.getLogger(__name__)

WINDOW = 16
"""Waiting jobs of each priority looked at in one turn."""

MOST_ATTEMPTS = 50
"""A job whose attempts keep dying with the gateway may be what kills it: no further one."""


_HELD = sa.exists().where(
    payloads.c.id == jobs.c.received_payload_id,
    payloads.c.conflict,
    ~payloads.c.conflict_released,
)
"""Several patients under one UID: no job of the payload starts until a person releases it."""


@dataclass(frozen=True)
class Tempo:
    """How long the scheduler waits for what, in seconds."""

    grace: float = 15.0
    """Between the polite and the hard end of a job's processes."""
    poll: float = 1.0
    """Longest sleep: other processes cannot wake this one."""
    leave: float = 10.0
    """After the grace, how long a shutdown waits for engines to say that they are done."""
    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=5.0))
    """Between the attempts of a job that is retried."""


class Scheduler:
    """Runs jobs; made once, and only while its process holds the lease of the data folder.

    Call :meth:`recover` once, then :meth:`run` in a thread of its own; :meth:`stop` from any.
    """

    def __init__(
        self,
        *,
        database: Database,
        wakeups: Wakeups,
        executor: Executor,
        ledger: Ledger,
        files: PayloadFiles,
        logs: Logs,
        known_destinations: Callable[[str], bool],
        tempo: Tempo = Tempo(),
    ) -> None:
        self._database = database
        self._wakeups = wakeups
        self._executor = executor
        self._ledger = ledger
        self._files = files
        self._logs = logs
        self._known_destinations = known_destinations
        self._tempo = tempo
        self._queue = FairQueue()
        self._attempts: dict[str, Attempt] = {}
        self._orphans: dict[str, int] = {}
        self._ended: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
        self._unrecorded: list[Attempt] = []
        self._stopping = threading.Event()
        self._launcher = Launcher(
            executor=executor,
            database=database,
            files=files,
            logs=logs,
            grace_seconds=tempo.grace,
            done=self._done,
        )

    def recover(self) -> None:
        """Give up the attempts that died with the last process; their jobs wait for the next."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(jobs)
                .where(jobs.c.state == State.RUNNING.value)
                .order_by(jobs.c.queued_at)
            ).all()
        for job in rows:
            # Until it is certain that nothing of it runs, it holds what it held.
            self._ledger.acquire(job.id, Need(job.cpu, job.memory_mb, job.gpus))
            self._orphans[job.id] = job.attempt
        self._adopt()

    def run(self) -> None:
        """Schedule until :meth:`stop`; returns when no attempt of this process runs any more."""
        while not self._stopping.is_set():
            try:
                self._turn()
            except SQLAlchemyError as error:
                log.error("the scheduler lost a turn: %s", first_line(error))  # noqa: TRY400
            except Exception:
                # The task boundary: one job's trouble must not end the scheduling of all others.
                log.exception("the scheduler lost a turn")
            self._wakeups.wait(Topic.JOBS, self._sleep())
        self._shut_down()

    def stop(self) -> None:
        """Ask :meth:`run` to give up every running attempt and return."""
        self._stopping.set()
        self._wakeups.notify(Topic.JOBS)

    def running(self) -> int:
        """How many attempts this process runs now."""
        return len(self._attempts)

    def _turn(self) -> None:
        self._finish_ended()
        if self._orphans:
            self._adopt()
        self._stop_late()
        self._stop_cancelled()
        while self._admit():
            pass

    def _sleep(self) -> float:
        now = time.monotonic()
        waits = [a.deadline - now for a in self._attempts.values() if not a.stopping()]
        return max(0.0, min([self._tempo.poll, *waits]))

    # --- after a crash -----------------------------------------------------------------------

    def _adopt(self) -> None:
        for job_id, attempt in list(self._orphans.items()):
            try:
                self._executor.reap(job_id, attempt)
            except (GatewayError, OSError) as error:
                log.warning("attempt %d of job %s cannot be reaped yet: %s", attempt, job_id, error)
                continue
            self._give_up(job_id, f"the gateway ended during attempt {attempt}")
            del self._orphans[job_id]
            self._ledger.release(job_id)

    def _give_up(self, job_id: str, reason: str) -> None:
        with self._database.begin() as connection:
            job = load(connection, job_id)
            if job.cancel_requested is not None:
                event, facts = JobEvent.CANCEL, Facts(reason=job.cancel_requested)
            elif job.attempt >= MOST_ATTEMPTS:
                event, facts = JobEvent.FAULT, Facts(reason=f"{reason}; no further one is made")
            else:
                event, facts = JobEvent.GIVE_UP, Facts(reason=reason)
            move_job(connection, job_id, event, facts)
        point(f"job.{event}.after")
        self._wakeups.notify(Topic.EVENTS)

    # --- stopping ----------------------------------------------------------------------------

    def _stop_late(self) -> None:
        now = time.monotonic()
        for attempt in self._attempts.values():
            if attempt.deadline <= now and not attempt.stopping():
                seconds = attempt.job.timeout_seconds
                attempt.stop(Halt(Stop.TIMEOUT, f"it ran longer than {seconds:g} seconds"))

    def _stop_cancelled(self) -> None:
        if not self._attempts:
            return
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(jobs.c.id, jobs.c.cancel_requested).where(
                    jobs.c.state == State.RUNNING.value, jobs.c.cancel_requested.is_not(None)
                )
            ).all()
        for row in rows:
            attempt = self._attempts.get(row.id)
            if attempt is not None:
                attempt.stop(Halt(Stop.CANCEL, row.cancel_requested))

    def _shut_down(self) -> None:
        for attempt in self._attempts.values():
            words = f"the gateway stopped during attempt {attempt.job.attempt}"
            attempt.stop(Halt(Stop.SHUTDOWN, words))
        deadline = time.monotonic() + self._tempo.grace + self._tempo.leave
        while self._attempts and time.monotonic() < deadline:
            try:
                self._finish_ended()
            except SQLAlchemyError as error:
                log.error("an end was not recorded: %s", first_line(error))  # noqa: TRY400
            if self._attempts:
                self._wakeups.wait(Topic.JOBS, min(self._tempo.poll, 0.5))
        for job_id in self._attempts:
            log.warning("job %s did not end in time; the next start gives it up", job_id)
        self._launcher.close(wait=not self._attempts)

    # --- ending ------------------------------------------------------------------------------

    def _finish_ended(self) -> None:
        while not self._ended.empty():
            self._unrecorded.append(self._ended.get())
        for attempt in list(self._unrecorded):
            # An engine that says twice that it is done must not end the next attempt.
            if self._attempts.get(attempt.job.id) is attempt:
                self._finish(attempt)
                del self._attempts[attempt.job.id]
                self._ledger.release(attempt.job.id)
            self._unrecorded.remove(attempt)

    def _finish(self, attempt: Attempt) -> None:
        """Record the end of an attempt in one transaction; results go out with it or not at all."""
        try:
            event = self._record_end(attempt, attempt.verdict())
        except Permanent as error:
            # Results without a known destination, most often.
            event = self._record_end(attempt, Verdict(JobEvent.FAULT, str(error)))
        point(f"job.{event}.after")
        self._wakeups.notify(Topic.EVENTS)
        if event is JobEvent.COMPLETE:
            self._wakeups.notify(Topic.RESULTS)

    def _record_end(self, attempt: Attempt, verdict: Verdict) -> JobEvent:
        job_id = attempt.job.id
        with self._database.begin() as connection:
            job = load(connection, job_id)
            if job.cancel_requested is not None and verdict.event is not JobEvent.CANCEL:
                verdict = Verdict(JobEvent.CANCEL, job.cancel_requested)
            not_before = None
            if verdict.event is JobEvent.RETRY:
                not_before = time.time() + self._tempo.backoff.wait(job.retries + 1)
            facts = Facts(
                reason=verdict.reason,
                exit_code=verdict.exit_code,
                not_before=not_before,
                results=lambda c, j: self._release(c, j, attempt),
            )
            move_job(connection, job_id, verdict.event, facts)
        return verdict.event

    def _release(self, connection: Connection, job: Job, attempt: Attempt) -> None:
        results.register(
            connection,
            job_id=job.id,
            attempt=job.attempt,
            correlation_id=job.correlation_id,
            registrations=attempt.registrations,
            default_destinations=job.destinations,
            known_destinations=self._known_destinations,
        )
        results.release(connection, job.id, job.attempt)

    # --- starting ----------------------------------------------------------------------------

    def _admit(self) -> bool:
        """Start what may start of the jobs now waiting; True when there may be more."""
        with self._database.read() as connection:
            waiting = self._waiting(connection)
        fitting = [job for job in waiting if not self._refuse_misfit(job)]
        started = len(fitting) < len(waiting)
        while (chosen := self._queue.choose(fitting, self._ledger.free())) is not None:
            fitting.remove(chosen)
            started |= self._start(chosen)
        return started

    def _waiting(self, connection: Connection) -> list[Waiting]:
        now = time.time()
        waiting: list[Waiting] = []
        for priority in sorted(PRIORITIES.values(), reverse=True):
            rows = connection.execute(
                sa.select(jobs.c.id, jobs.c.cpu, jobs.c.memory_mb, jobs.c.gpus)
                .where(
                    jobs.c.state == State.PENDING.value,
                    jobs.c.priority == priority,
                    jobs.c.queued_at.is_not(None),
                    sa.or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now),
                    ~_HELD,
                )
                .order_by(jobs.c.queued_at, jobs.c.id)
                .limit(WINDOW)
            )
            waiting += [
                Waiting(row.id, priority, Need(row.cpu, row.memory_mb, row.gpus)) for row in rows
            ]
        return waiting

    def _refuse_misfit(self, waiting: Waiting) -> bool:
        """End a job that the machine, smaller than when the job was made, can never hold."""
        shortage = self._ledger.capacity.shortage(waiting.need)
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
        self._wakeups.notify(Topic.EVENTS)

    def _start(self, waiting: Waiting) -> bool:
        """Begin the next attempt of a job; False when it may not begin after all."""
        grant = self._ledger.acquire(waiting.job_id, waiting.need)
        if grant is None:
            return False
        try:
            attempt = self._begin(waiting.job_id, grant.gpus)
        except Permanent as error:
            self._ledger.release(waiting.job_id)
            self._refuse(waiting.job_id, f"it cannot start: {error}")
            return True
        except BaseException:
            self._ledger.release(waiting.job_id)
            raise
        if attempt is None:
            self._ledger.release(waiting.job_id)
            return False
        point(f"job.{JobEvent.START}.after")
        self._attempts[waiting.job_id] = attempt
        self._launcher.launch(attempt)
        self._wakeups.notify(Topic.EVENTS)
        return True

    def _begin(self, job_id: str, gpus: tuple[int, ...]) -> Attempt | None:
        """Record the attempt's begin; None when the job left the queue in the meantime."""
        with self._database.begin() as connection:
            job = load(connection, job_id)
            held = connection.execute(sa.select(_HELD).where(jobs.c.id == job_id)).scalar()
            if place_of(job) != PENDING or held:
                return None
            definition = definition_of(connection, job)
            number = job.attempt + 1
            facts = Facts(
                operators=[
                    OperatorLog(operator.name, relative_log(job_id, number, operator.name))
                    for operator in definition.operators
                ],
                notes=notes(definition, self._executor.name),
                results=lambda c, j: _discard(c, j, number),
            )
            job = move_job(connection, job_id, JobEvent.START, facts)
        return Attempt(
            job,
            definition,
            gpus,
            folder=self._files.folder(job.payload_id),
            database=self._database,
            logs=self._logs,
            recorded=lambda: self._wakeups.notify(Topic.EVENTS),
        )

    def _done(self, attempt: Attempt) -> None:
        self._ended.put(attempt)
        self._wakeups.notify(Topic.JOBS)


def definition_of(connection: Connection, job: Job) -> Definition:
    """What the job runs: the version it was made with, its variables filled in."""
    return resolved(pipelines.get(connection, job.pipeline_id), job.variables, job.id)


def _discard(connection: Connection, job: Job, attempt: int) -> None:
    results.discard(connection, job.id, attempt)
