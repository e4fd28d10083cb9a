"""The scheduler: takes jobs from the queue, has them run, and records how they end.

One thread works from the records: it ends what is done, stops what ran too long or was cancelled,
and starts what is decided.  Engines run the jobs and report from their own threads.  Only the
handles of running attempts are in memory: a job found RUNNING whose scheduler is dead lost its
attempt, and gets the next one once nothing of the dead one is left.  On PostgreSQL any number of
schedulers share one queue.
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
from gateway.database.schema import jobs
from gateway.errors import Permanent
from gateway.events.faults import point
from gateway.events.wake import Topic, Wakeups
from gateway.jobs import controls
from gateway.jobs.admission import Admission, Begin
from gateway.jobs.adoption import Adoption
from gateway.jobs.attempt import Attempt
from gateway.jobs.decision import Rules
from gateway.jobs.endings import Halt, Verdict
from gateway.jobs.executor import Executor, Lasting, Stop
from gateway.jobs.launch import Launcher
from gateway.jobs.ledger import Capacity
from gateway.jobs.logs import Logs
from gateway.jobs.names import first_line
from gateway.jobs.payload_files import PayloadFiles
from gateway.jobs.presence import Lease, Presence
from gateway.jobs.states import JobEvent, State
from gateway.jobs.transitions import Facts, Fenced, Job, move_job, still_mine
from gateway.results import registry as results
from gateway.results.backoff import Backoff

log = logging.getLogger(__name__)


_RULES = Rules()
_REST = 3.0
"""Between two looks at the queue, as a multiple of what the first one took."""


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
    lease: Lease = field(default_factory=Lease)
    """Of one scheduler among several."""


class Scheduler:
    """Runs jobs; made once, on SQLite only while its process holds the lock of the data folder.

    Call :meth:`recover` once, then :meth:`run` in a thread of its own; :meth:`stop` from any.
    """

    def __init__(
        self,
        *,
        database: Database,
        wakeups: Wakeups,
        executor: Executor,
        capacity: Capacity,
        files: PayloadFiles,
        logs: Logs,
        known_destinations: Callable[[str], bool],
        tempo: Tempo = Tempo(),
        rules: Rules = _RULES,
        node: str | None = None,
    ) -> None:
        """``node``: the name of the machine whose ``capacity`` it gives; None = its host name."""
        self._database = database
        self._wakeups = wakeups
        self._executor = executor
        self._files = files
        self._logs = logs
        self._known_destinations = known_destinations
        self._tempo = tempo
        self._attempts: dict[str, Attempt] = {}
        self._look_at = 0.0
        self._look_owed = False
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
            allowed=lambda: self._presence.valid(),
        )
        self._presence = Presence(database, node, tempo.lease)
        self._adoption = Adoption(database, executor, self._presence, self._carry_on)
        self._admission = Admission(
            database=database,
            presence=self._presence,
            capacity=capacity,
            rules=rules,
            grace=tempo.grace + tempo.leave,
            engine=executor.name,
            attempt=self._attempt,
        )
        self._heart = threading.Thread(
            target=self._presence.beat, args=(self._lost,), name="scheduler-lease", daemon=True
        )

    def recover(self) -> None:
        """Give up the attempts that died with the last process; their jobs wait for the next."""
        with self._database.begin() as connection:
            controls.prepare(connection)
            self._presence.tidy(connection)
        self._presence.join()
        if not self._presence.alone:
            self._heart.start()
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

    @property
    def presence(self) -> Presence:
        """This scheduler among the others."""
        return self._presence

    def running(self) -> int:
        """How many attempts this process runs now."""
        return len(self._attempts)

    def _turn(self) -> None:
        self._finish_ended()
        self._rejoin()
        self._adopt()
        self._stop_late()
        self._stop_cancelled()
        while self._admit():
            pass

    def _sleep(self) -> float:
        now = time.monotonic()
        waits = [a.deadline - now for a in self._attempts.values() if not a.stopping()]
        if self._look_owed:
            waits.append(self._look_at - now)
        return max(0.0, min([self._tempo.poll, *waits]))

    # --- among other schedulers --------------------------------------------------------------

    def _adopt(self) -> None:
        if self._adoption.turn():
            self._wakeups.notify(Topic.EVENTS)

    def _rejoin(self) -> None:
        """Begin anew after being taken for dead, once nothing of the old life runs."""
        if self._presence.expelled and not self._attempts:
            self._presence.join()

    def _lost(self) -> None:
        """The lease ran out: end everything before others begin the next attempts."""
        for attempt in list(self._attempts.values()):
            if not attempt.stopping():
                attempt.stop(Halt(Stop.SHUTDOWN, "the scheduler could not renew its lease"))

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
        self._leave()

    def _leave(self) -> None:
        if self._attempts:
            # Others wait for the end of this process or of its lease, and reap what is left.
            self._presence.end()
            return
        try:
            self._presence.leave()
        except SQLAlchemyError as error:
            log.warning("the scheduler's record stays: %s", first_line(error))

    # --- ending ------------------------------------------------------------------------------

    def _finish_ended(self) -> None:
        while not self._ended.empty():
            self._unrecorded.append(self._ended.get())
        for attempt in list(self._unrecorded):
            # An engine that says twice that it is done must not end the next attempt.
            if self._attempts.get(attempt.job.id) is attempt:
                self._finish(attempt)
                del self._attempts[attempt.job.id]
            self._unrecorded.remove(attempt)

    def _finish(self, attempt: Attempt) -> None:
        """Record the end of an attempt in one transaction; results go out with it or not at all."""
        verdict = attempt.verdict()
        if verdict.event is JobEvent.GIVE_UP and isinstance(self._executor, Lasting):
            # It goes on without us: whoever is next finds it RUNNING and carries it on.
            return
        try:
            event = self._record_end(attempt, verdict)
        except Fenced as error:
            log.warning("the end of a job does not count: %s", error)
            return
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
            job = still_mine(connection, attempt.job)
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
        begin = time.monotonic()
        self._look_owed = begin < self._look_at
        if self._look_owed or not self._presence.valid():
            return False
        attempts, more = self._admission.turn()
        if not more:
            # A flood of submissions must not make this thread read a long queue all the time.
            end = time.monotonic()
            self._look_at = end + _REST * (end - begin)
        for attempt in attempts:
            self._attempts[attempt.job.id] = attempt
            self._launcher.launch(attempt)
        if attempts or more:
            self._wakeups.notify(Topic.EVENTS)
        return more

    def _carry_on(self, begin: Begin) -> None:
        """Follow an attempt that outlived its scheduler."""
        attempt = self._attempt(begin, resumed=True)
        self._attempts[attempt.job.id] = attempt
        self._launcher.launch(attempt)

    def _attempt(self, begin: Begin, *, resumed: bool = False) -> Attempt:
        return Attempt(
            begin.job,
            begin.definition,
            begin.gpus,
            folder=self._files.folder(begin.job.payload_id),
            database=self._database,
            logs=self._logs,
            recorded=lambda: self._wakeups.notify(Topic.EVENTS),
            kept=begin.kept,
            unreleased=begin.unreleased,
            resumed=resumed,
        )

    def _done(self, attempt: Attempt) -> None:
        self._ended.put(attempt)
        self._wakeups.notify(Topic.JOBS)
