"""An engine of real processes without a sandbox, for tests of what stands above engines.

An operator's command runs in its output folder.  Exit code 75 counts as the engine being lost.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gateway.jobs.executor import End, JobRun, OperatorEnd, Report, Stop
from gateway.pipelines import layout
from gateway.pipelines.graph import levels
from gateway.pipelines.model import Operator

LOST = 75
TAG = "LOCAL_ENGINE_TAG"


class LocalEngine:
    """Runs operators level by level, those of one level at the same time."""

    name = "local"

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.reaped: list[tuple[str, int]] = []

    def check(self) -> list[str]:
        return []

    def start(self, run: JobRun, report: Report, done: Callable[[], None]) -> LocalHandle:
        self.started.append((run.job_id, run.attempt))
        return LocalHandle(run, report, done)

    def reap(self, job_id: str, attempt: int) -> None:
        self.reaped.append((job_id, attempt))
        for pid in tagged(tag(job_id, attempt)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        while tagged(tag(job_id, attempt)):
            time.sleep(0.005)


class LocalHandle:
    def __init__(self, run: JobRun, report: Report, done: Callable[[], None]) -> None:
        self._run = run
        self._report = report
        self._done = done
        self._why: Stop | None = None
        self._failed = False
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def stop(self, why: Stop) -> None:
        with self._lock:
            self._why = self._why or why
            for process in self._processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def done(self) -> bool:
        return not self._thread.is_alive()

    def join(self, timeout: float | None = None) -> bool:
        self._thread.join(timeout)
        return self.done()

    def _work(self) -> None:
        for folder in layout.operators_dir(self._run.folder).glob("*"):
            if folder.name not in self._run.kept:
                shutil.rmtree(folder)
        for level in levels(self._run.definition):
            if self._failed or self._why:
                break
            threads = [
                threading.Thread(target=self._operate, args=(self._run.definition.operator(name),))
                for name in level
                if name not in self._run.kept
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self._done()

    def _operate(self, operator: Operator) -> None:
        cwd = layout.output_dir(self._run.folder, operator, None)
        cwd.mkdir(parents=True, exist_ok=True)
        with self._run.logs[operator.name].open("ab") as log:
            with self._lock:
                if self._why:
                    return
                process = subprocess.Popen(
                    operator.command,
                    cwd=cwd,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env={
                        "PATH": os.environ["PATH"],
                        TAG: tag(self._run.job_id, self._run.attempt),
                        "ATTEMPT": str(self._run.attempt),
                        "INPUT": str(layout.input_dir(self._run.folder)),
                        "TRACE": str(self._run.folder / "trace"),
                        **operator.variables,
                    },
                )
                self._processes.append(process)
            self._report.operator_started(operator.name, time.time())
            code = process.wait()
        self._report.operator_stopped(operator.name, time.time(), self._end(code))

    def _end(self, code: int) -> OperatorEnd:
        if self._why:
            return OperatorEnd(End.STOPPED, "stopped", code)
        if code == 0:
            return OperatorEnd(End.COMPLETED, "completed", 0)
        self._failed = True
        if code == LOST:
            return OperatorEnd(End.LOST, "the engine went away")
        return OperatorEnd(End.EXIT_CODE, f"exit code {code}", code)


def tag(job_id: str, attempt: int) -> str:
    return f"{job_id}-{attempt}"


def tagged(mark: str) -> list[int]:
    """The processes that carry ``mark``."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if f"{TAG}={mark}".encode() in environment.split(b"\0") and not zombie:
            found.append(int(entry.name))
    return found
