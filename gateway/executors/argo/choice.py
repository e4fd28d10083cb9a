"""Pods or Workflows, job by job: the engine of ``executor: kubernetes``.

A definition that asks for Argo runs on Argo where the cluster has it, elsewhere as one Pod, and
the job says so.  Only the cluster knows which, and it may be away when a job starts: a thread asks
until there is an answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gateway.config.settings import GatewaySettings
from gateway.executors.argo.executor import ArgoExecutor
from gateway.executors.kubernetes.api import ClusterError
from gateway.executors.kubernetes.executor import KubernetesExecutor
from gateway.executors.kubernetes.watch import AGAIN_SECONDS
from gateway.jobs.executor import Executor, JobHandle, JobRun, Report, Stop
from gateway.pipelines.orchestration import asks_for_argo

log = logging.getLogger(__name__)


def cluster_executor(settings: GatewaySettings, data_dir: Path) -> Executor:
    """The engine of ``executor: argo`` or ``kubernetes``."""
    if settings.executor == "argo":
        return ArgoExecutor.of_settings(settings, data_dir)
    return ClusterExecutor(
        KubernetesExecutor.of_settings(settings, data_dir),
        ArgoExecutor.of_settings(settings, data_dir),
    )


class ClusterExecutor:
    """Runs jobs on a cluster as their definitions ask; any thread may call it."""

    def __init__(self, pods: KubernetesExecutor, argo: ArgoExecutor) -> None:
        """Both engines are of the same settings."""
        self._pods = pods
        self._argo = argo

    @property
    def name(self) -> str:
        """``kubernetes``."""
        return self._pods.name

    def check(self) -> list[str]:
        """What keeps Pods from running; Argo is not needed."""
        return self._pods.check()

    def start(self, run: JobRun, report: Report, done: Callable[[], None]) -> JobHandle:
        """Start an attempt, or carry it on, and return at once."""
        if asks_for_argo(run.definition) is None:
            return self._pods.start(run, report, done)
        job = _Undecided(self._engine, run, report, done)
        job.start()
        return job

    def has(self, job_id: str, attempt: int) -> bool:
        """True when one of both engines has the attempt."""
        return self._pods.has(job_id, attempt) or self._on_argo(job_id, attempt)

    def reap(self, job_id: str, attempt: int) -> None:
        """End what a dead attempt left; :class:`ClusterError` while it may still be there."""
        self._pods.reap(job_id, attempt)
        if self._on_argo(job_id, attempt):
            self._argo.reap(job_id, attempt)

    def close(self) -> None:
        """Hear no more of the cluster."""
        self._pods.close()
        self._argo.close()

    def _on_argo(self, job_id: str, attempt: int) -> bool:
        """True when the attempt is a Workflow; where we may make none, none is."""
        return self._argo.workflows.usable() and self._argo.has(job_id, attempt)

    def _engine(self, run: JobRun, report: Report) -> Executor:
        """Who runs this attempt; :class:`ClusterError` when nobody can tell."""
        if run.resumed:
            return self._argo if self._on_argo(run.job_id, run.attempt) else self._pods
        if self._argo.workflows.usable():
            return self._argo
        cause = asks_for_argo(run.definition)
        has = "does not let us use" if self._argo.workflows.served() else "does not have"
        said = f"the definition asks for Argo ({cause}), which the cluster {has}: it runs as a Pod"
        report.noticed(time.time(), "Argo", said)
        return self._pods


class _Undecided:
    """A job whose engine the cluster has not told yet."""

    def __init__(
        self,
        engine: Callable[[JobRun, Report], Executor],
        run: JobRun,
        report: Report,
        done: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._run = run
        self._report = report
        self._done = done
        self._lock = threading.Lock()
        self._why: Stop | None = None
        self._job: JobHandle | None = None
        self._stopped = threading.Event()
        self._finished = threading.Event()

    def start(self) -> None:
        """Begin to ask; once."""
        threading.Thread(target=self._lead, name=f"job-{self._run.job_id[:8]}", daemon=True).start()

    def stop(self, why: Stop) -> None:
        """End the job, or never begin it; the first reason counts."""
        with self._lock:
            self._why = self._why or why
            job = self._job
        self._stopped.set()
        if job is not None:
            job.stop(why)

    def done(self) -> bool:
        """True when nothing is left and every report was made."""
        return self._finished.is_set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for :meth:`done`."""
        return self._finished.wait(timeout)

    def _lead(self) -> None:
        try:
            engine = self._chosen()
            with self._lock:
                if engine is not None and self._why is None:
                    self._job = engine.start(self._run, self._report, self._end)
                    return
        except Exception:  # a thread's boundary: the scheduler must hear that the job is over
            log.exception("job thread failed", extra={"job": self._run.job_id})
        self._end()

    def _chosen(self) -> Executor | None:
        """The engine; None when the job was stopped before the cluster told."""
        faults = 0
        while not self._stopped.is_set():
            try:
                return self._engine(self._run, self._report)
            except ClusterError as error:
                self._report.noticed(time.time(), "Cluster", f"Cluster: {error}", hinders=True)
                self._stopped.wait(AGAIN_SECONDS[min(faults, len(AGAIN_SECONDS) - 1)])
                faults += 1
        return None

    def _end(self) -> None:
        self._finished.set()
        self._done()
