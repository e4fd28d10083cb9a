"""Bringing an admitted attempt to its engine: files first, then the programs.

Laying out thousands of links takes a while, so it happens beside the scheduler's own thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import SQLAlchemyError

from gateway.database.engine import Database
from gateway.errors import GatewayError, Permanent
from gateway.events.faults import point
from gateway.jobs.attempt import Attempt
from gateway.jobs.creation import word_of
from gateway.jobs.endings import Fault, Halt
from gateway.jobs.executor import End, Executor, JobRun, OperatorEnd, Stop
from gateway.jobs.logs import Logs, relative_log
from gateway.jobs.names import first_line
from gateway.jobs.payload_files import PayloadFiles

log = logging.getLogger(__name__)

THREADS = 4
"""Jobs whose files are laid out at the same time."""


class Launcher:
    """Starts attempts; ``done`` is called once for each, from any thread, when it ended."""

    def __init__(
        self,
        *,
        executor: Executor,
        database: Database,
        files: PayloadFiles,
        logs: Logs,
        grace_seconds: float,
        done: Callable[[Attempt], None],
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        """``allowed`` says whether this scheduler may still start anything."""
        self._executor = executor
        self._database = database
        self._files = files
        self._logs = logs
        self._grace_seconds = grace_seconds
        self._done = done
        self._allowed = allowed
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="job-launch")

    def launch(self, attempt: Attempt) -> None:
        """Start ``attempt`` soon; returns at once."""
        self._pool.submit(self._launch, attempt)

    def close(self, *, wait: bool) -> None:
        """Launch no more; with ``wait``, return when no launch is under way."""
        self._pool.shutdown(wait=wait, cancel_futures=True)

    def _launch(self, attempt: Attempt) -> None:
        try:
            self._execute(attempt)
        except Permanent as error:
            self._lose(attempt, End.REFUSED, str(error))
        except (GatewayError, OSError, SQLAlchemyError) as error:
            self._lose(attempt, End.LOST, f"it could not be started: {first_line(error)}")
        except Exception as error:
            # The task boundary: whatever an engine raises, the job must not be forgotten.
            log.exception("job %s could not be started", attempt.job.id)
            self._lose(attempt, End.LOST, f"it could not be started: {type(error).__name__}")

    def _execute(self, attempt: Attempt) -> None:
        job = attempt.job
        point("job.materialise.before")
        if not attempt.resumed:
            # What runs already has the files open.
            with self._database.read() as connection:
                self._files.materialise(connection, job)
        attempt.collect_kept()
        point("job.materialise.after")
        run = self._run(attempt)
        for path in run.logs.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        if not self._allowed():
            # Others may take this scheduler for dead, and begin the next attempt at any moment.
            attempt.stop(Halt(Stop.SHUTDOWN, "the scheduler's lease ran out before it began"))
        if attempt.stopping():
            self._done(attempt)
            return
        for note in job.notes:
            log.info("about its definition: %s", note, extra={"job": job.id})
        point("job.execute.before")
        handle = self._executor.start(run, attempt, lambda: self._done(attempt))
        point("job.execute.after")
        attempt.attach(handle)

    def _run(self, attempt: Attempt) -> JobRun:
        job = attempt.job
        return JobRun(
            job_id=job.id,
            attempt=job.attempt,
            name=job.name,
            payload_id=job.payload_id,
            correlation_id=job.correlation_id,
            definition=attempt.definition,
            folder=attempt.folder,
            logs={
                operator.name: self._logs.path(relative_log(job.id, job.attempt, operator.name))
                for operator in attempt.definition.operators
            },
            gpus=attempt.gpus,
            grace_seconds=self._grace_seconds,
            kept=attempt.kept,
            priority=word_of(job.priority),
            resumed=attempt.resumed,
        )

    def _lose(self, attempt: Attempt, end: End, reason: str) -> None:
        attempt.fail(Fault(OperatorEnd(end, reason)))
        self._done(attempt)
