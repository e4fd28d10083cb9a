"""A job in work: operators start when their upstream is complete, and the first fault ends all.

One thread leads, one reports; each running operator has a thread of its own, which lives until the
operator's last process ended.  How an operator runs is the engine's matter (:class:`Steps`).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from gateway.executors import outputs, shared
from gateway.executors.gpus import Devices
from gateway.executors.reporting import Reporter
from gateway.executors.steps import Steps
from gateway.executors.stopping import WORDS, StopFlag
from gateway.jobs.executor import End, JobRun, OperatorEnd, Report, Stop
from gateway.pipelines.model import Operator

log = logging.getLogger(__name__)


class GraphJob:
    """One attempt; made and started by the executor."""

    def __init__(
        self,
        steps: Steps,
        run: JobRun,
        report: Report,
        done: Callable[[], None],
        closing: Callable[[], None] = lambda: None,
    ) -> None:
        """``closing``: called when no operator runs any more, before the job is done."""
        self._steps = steps
        self._closing = closing
        self._run = run
        self._report = Reporter(report, run.job_id, lambda: self._end("the engine failed"))
        self._done = done
        self._devices = Devices(run.gpus)
        self._lock = threading.Lock()
        self._flags: dict[str, StopFlag] = {}
        self._why: str | None = None
        self._running = 0
        self._ended: queue.SimpleQueue[tuple[Operator, bool]] = queue.SimpleQueue()
        self._finished = threading.Event()
        # Daemons: with the gateway gone the kernel ends the sandboxes, so none is waited for.
        self._thread = threading.Thread(
            target=self._lead, name=f"job-{run.job_id[:8]}", daemon=True
        )

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self, why: Stop) -> None:
        """Begin to end every operator; the first reason counts."""
        self._end(WORDS[why])

    def done(self) -> bool:
        """True when no process is left and every report was made."""
        return self._finished.is_set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for :meth:`done`."""
        return self._finished.wait(timeout)

    def _end(self, why: str) -> None:
        with self._lock:
            self._why = self._why or why
            flags = list(self._flags.values())
        for flag in flags:
            flag.set()

    def _lead(self) -> None:
        try:
            if self._prepared():
                self._walk()
        except Exception:  # a thread's boundary: the scheduler must hear that the job is over
            log.exception("job thread failed", extra={"job": self._run.job_id})
            self._end("the engine failed")
        finally:
            while self._running:
                self._await_one()
            self._closing()
            self._free()
            self._report.close()
            self._finished.set()
            self._tell()

    def _free(self) -> None:
        """Give back the shared memory; nobody reads it any more."""
        try:
            shared.clear(self._run.job_id, self._run.attempt)
        except OSError as error:
            log.warning(
                "shared memory of a job cannot be freed: %s",
                error.strerror,
                extra={"job": self._run.job_id},
            )

    def _tell(self) -> None:
        try:
            self._done()
        except Exception:  # the callback is the scheduler's own
            log.exception("end of a job not taken", extra={"job": self._run.job_id})

    def _prepared(self) -> bool:
        """Look at every operator, and empty the output folders, before the first one starts."""
        found = self._steps.obstacle(self._run)
        if found is not None:
            operator, end = found
            self._report.operator_stopped(operator.name, time.time(), end)
            return False
        try:
            outputs.clear(self._run)
            shared.begin(self._run)
        except OSError as error:
            first = self._run.definition.operators[0]
            reason = f"the folder of its outputs cannot be emptied: {error.strerror}"
            end = OperatorEnd(End.LOST, reason)
            self._report.operator_stopped(first.name, time.time(), end)
            return False
        return True

    def _walk(self) -> None:
        kept = self._run.kept
        waiting = [each for each in self._run.definition.operators if each.name not in kept]
        complete = set(kept)
        while True:
            for operator in [o for o in waiting if complete.issuperset(o.upstream)]:
                if self._begin(operator):
                    waiting.remove(operator)
            if not self._running:
                return
            name = self._await_one()
            if name is not None:
                complete.add(name)

    def _await_one(self) -> str | None:
        """Wait for the next operator to end; its name if it completed, else the rest is ended."""
        operator, well = self._ended.get()
        self._running -= 1
        if well:
            return operator.name
        self._end(f"the operator {operator.name} did not complete")
        return None

    def _begin(self, operator: Operator) -> bool:
        """Start a thread for ``operator``; False when the job is being ended."""
        stop = StopFlag()
        with self._lock:
            if self._why is not None:
                stop.close()
                return False
            self._flags[operator.name] = stop
        threading.Thread(
            target=self._operate,
            args=(operator, stop),
            name=f"operator-{operator.name[:40]}",
            daemon=True,
        ).start()
        self._running += 1
        return True

    def _operate(self, operator: Operator, stop: StopFlag) -> None:
        devices = self._devices.take(operator.requests.gpu)
        well = False
        try:
            end = self._result(operator, devices, stop)
            self._report.operator_stopped(operator.name, time.time(), end)
            well = end.end is End.COMPLETED
        except Exception:  # a thread's boundary: the leading thread waits for this one
            log.exception(
                "operator thread failed",
                extra={"job": self._run.job_id, "operator": operator.name},
            )
        finally:
            self._devices.give_back(devices)
            with self._lock:
                del self._flags[operator.name]
            stop.close()
            self._ended.put((operator, well))

    def _result(self, operator: Operator, devices: tuple[int, ...], stop: StopFlag) -> OperatorEnd:
        told: list[float] = []

        def started(at: float, image: str | None = None) -> None:
            if not told:
                told.append(at)
                self._report.operator_started(operator.name, at, image)

        end = self._steps.run(self._run, operator, devices, stop, started)
        if end.end is End.STOPPED:
            return OperatorEnd(End.STOPPED, self._why or end.reason, end.exit_code)
        return end
