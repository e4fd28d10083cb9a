"""One attempt of a job while it runs: what the engine reports, and the way to stop it.

Reports come from the engine's threads and are recorded at once; the scheduler's thread asks for
the verdict when the engine is done.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from gateway.database.engine import Database
from gateway.database.schema import jobs
from gateway.errors import Permanent, Refused
from gateway.events.faults import point
from gateway.events.record import Kind, record
from gateway.jobs.endings import Fault, Halt, Verdict, explain, judge
from gateway.jobs.executor import End, JobHandle, OperatorEnd, Stop
from gateway.jobs.logs import Logs, relative_log
from gateway.jobs.names import clean_text
from gateway.jobs.states import JobEvent, OperatorEvent
from gateway.jobs.transitions import Ending, Fenced, Job, move_operator, still_mine
from gateway.pipelines.model import Definition
from gateway.results.registry import Registration, collect

log = logging.getLogger(__name__)


class Attempt:
    """A running attempt; it is the :class:`~gateway.jobs.executor.Report` of its engine.

    ``job`` is the record as it was when the attempt began.
    """

    def __init__(
        self,
        job: Job,
        definition: Definition,
        gpus: tuple[int, ...],
        *,
        folder: Path,
        database: Database,
        logs: Logs,
        recorded: Callable[[], None],
        kept: frozenset[str] = frozenset(),
        unreleased: frozenset[str] = frozenset(),
        resumed: bool = False,
    ) -> None:
        """``kept``: operators that do not run; ``unreleased``: whose registrations still count.

        ``resumed``: it began under another process and goes on.
        """
        self.job = job
        self.kept = kept
        self.resumed = resumed
        self._unreleased = unreleased
        self.definition = definition
        self.gpus = gpus
        self.folder = folder
        began = time.time() if job.started_at is None or not resumed else job.started_at
        self.deadline: float = time.monotonic() + job.timeout_seconds - (time.time() - began)
        self.registrations: list[Registration] = []
        self._database = database
        self._logs = logs
        self._recorded = recorded
        self._lock = threading.Lock()
        self._ends = {name: OperatorEnd(End.COMPLETED, "kept", 0) for name in kept}
        self._fault: Fault | None = None
        self._halt: Halt | None = None
        self._hindrance: str | None = None
        self._handle: JobHandle | None = None

    def collect_kept(self) -> None:
        """Read what kept operators registered; raises what :func:`collect` raises, ``OSError``."""
        for name in sorted(self._unreleased):
            found = collect(self.folder, self.definition, name)
            with self._lock:
                self.registrations += found

    def operator_started(self, operator: str, at: float, image: str | None = None) -> None:
        """Record that the operator's program was executed, and from which image."""
        name = self.definition.operator(operator).name
        if self._hindrance is not None:
            self._hinder(None)
        self._record(name, OperatorEvent.START, Ending(at=at, image=image))

    def noticed(self, at: float, reason: str, message: str, *, hinders: bool = False) -> None:
        """Put it on the job's timeline; what hinders the job is its reason until it goes on."""
        data = {"attempt": self.job.attempt, "reason": reason, "message": clean_text(message)}
        try:
            with self._database.begin() as connection:
                record(
                    connection,
                    Kind.JOB_NOTICED,
                    correlation_id=self.job.correlation_id,
                    payload_id=self.job.received_payload_id,
                    job_id=self.job.id,
                    data=data,
                    at=at,
                )
        except SQLAlchemyError as error:
            log.warning("a notice was not recorded (%s)", type(error).__name__)
            return
        if hinders:
            self._hinder(clean_text(message))
        self._recorded()

    def operator_stopped(self, operator: str, at: float, end: OperatorEnd) -> None:
        """Read what a completed operator registered, and record how it ended."""
        written = self.definition.operator(operator)
        if end.end is End.COMPLETED:
            end = self._collect(written.name, end)
        completed = end.end is End.COMPLETED
        tail = self._logs.tail(relative_log(self.job.id, self.job.attempt, written.name))
        ending = Ending(
            reason=None if completed else explain(written, end),
            exit_code=end.exit_code,
            tail=tail,
            at=at,
        )
        event = OperatorEvent.COMPLETE if completed else OperatorEvent.FAULT
        with self._lock:
            self._ends[written.name] = end
        if not completed and end.end is not End.STOPPED:
            self.fail(Fault(end, written.name))
        self._record(written.name, event, ending)

    def fail(self, fault: Fault) -> None:
        """Remember what went wrong first; what goes wrong after a stop is the stop's doing."""
        with self._lock:
            if self._fault is None and self._halt is None:
                self._fault = fault
            handle = self._handle
        # The engine ends the rest by itself after a fault it reported, not after one found here.
        if handle is not None and fault.end.end in (End.REFUSED, End.LOST):
            handle.stop(Stop.CANCEL)

    def stop(self, halt: Halt) -> None:
        """Begin to end the attempt; the first reason stays, but a cancel replaces any other."""
        with self._lock:
            if self._halt is None or halt.why is Stop.CANCEL:
                self._halt = halt
            handle = self._handle
        if handle is not None:
            handle.stop(halt.why)

    def stopping(self) -> bool:
        """True once the attempt was told to stop."""
        with self._lock:
            return self._halt is not None

    def attach(self, handle: JobHandle) -> None:
        """The engine runs it; a stop or fault that came before is passed on."""
        with self._lock:
            self._handle = handle
            halt, fault = self._halt, self._fault
        if halt is not None:
            handle.stop(halt.why)
        elif fault is not None:
            handle.stop(Stop.CANCEL)

    def verdict(self) -> Verdict:
        """What becomes of the job; call it when the engine is done."""
        with self._lock:
            found = judge(self.definition, self._ends, self._fault, self._halt, self.job.retries)
        if found.event is JobEvent.TIME_OUT and self._hindrance is not None:
            return dataclasses.replace(found, reason=f"{found.reason}; {self._hindrance}")
        return found

    def _hinder(self, reason: str | None) -> None:
        """What a job in work waits for is its reason, for whoever looks at it now."""
        self._hindrance = reason
        try:
            with self._database.begin() as connection:
                still_mine(connection, self.job)
                connection.execute(
                    sa.update(jobs).where(jobs.c.id == self.job.id).values(reason=reason)
                )
        except (SQLAlchemyError, Fenced) as error:
            log.warning("what a job waits for was not recorded (%s)", type(error).__name__)

    def _collect(self, name: str, end: OperatorEnd) -> OperatorEnd:
        point("job.collect.before")
        try:
            registrations = collect(self.folder, self.definition, name)
        except Permanent as error:
            return OperatorEnd(End.REFUSED, str(error), end.exit_code)
        except OSError as error:
            return OperatorEnd(
                End.LOST, f"its results cannot be read: {error.strerror}", end.exit_code
            )
        with self._lock:
            self.registrations += registrations
        point("job.collect.after")
        return end

    def _record(self, name: str, event: OperatorEvent, ending: Ending) -> None:
        try:
            with self._database.begin() as connection:
                move_operator(connection, self.job, name, event, ending)
        except SQLAlchemyError as error:
            # Without its record the attempt cannot be trusted; another one can.  The error's own
            # text would quote the statement's values, log lines among them.
            reason = f"the database failed ({type(error).__name__})"
            log.warning("operator %s of job %s: %s", name, self.job.id, reason)
            self.fail(Fault(OperatorEnd(End.LOST, reason), name))
            return
        except Fenced as error:
            log.warning("operator %s of job %s: %s", name, self.job.id, error)
            self.fail(Fault(OperatorEnd(End.LOST, str(error)), name))
            return
        except Refused as error:
            log.warning("operator %s of job %s: %s", name, self.job.id, error)
            return
        point(f"operator.{event}.after")
        self._recorded()
