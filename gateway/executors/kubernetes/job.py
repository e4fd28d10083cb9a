"""A job in work on a cluster: its Pod from the making of it until nothing of it is left.

One thread leads.  It works from what the watch tells, so an API server that is away only makes it
wait: the Pod goes on by itself.  The Pod's name is that of the attempt, so however often it is
made there is one, and a gateway that starts again finds it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.executors import needs
from gateway.executors.kubernetes import containers, folders, names, volumes
from gateway.executors.kubernetes.api import (
    Cluster,
    ClusterError,
    InvalidError,
    NotThereError,
    Object,
    ThereError,
)
from gateway.executors.kubernetes.containers import Site
from gateway.executors.kubernetes.following import Following
from gateway.executors.kubernetes.pod import grace, pod
from gateway.executors.kubernetes.removal import remove
from gateway.executors.kubernetes.status import read
from gateway.executors.kubernetes.watch import AGAIN_SECONDS, Watcher
from gateway.executors.stopping import WORDS
from gateway.jobs.executor import End, JobRun, OperatorEnd, Report, Stop
from gateway.pipelines.model import Operator

log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0


@dataclass(frozen=True)
class Engine:
    """What every job is run with."""

    cluster: Cluster
    watcher: Watcher
    site: Site
    owner: str
    """The label of this gateway's Pods."""
    deadline_seconds: int
    """The cluster ends a Pod after this, should no gateway ever come back to it."""


class PodJob:
    """One attempt; made and started by the executor."""

    def __init__(
        self, engine: Engine, run: JobRun, report: Report, done: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._run = run
        self._report = report
        self._done = done
        self._name = names.pod_name(run.job_id, run.attempt)
        self._feed = engine.watcher.subscribe(self._name)
        self._lock = threading.Lock()
        self._why: Stop | None = None
        self._finished = threading.Event()
        self._made = False
        """True once there may be a Pod."""
        self._following = Following(
            engine.cluster, self._name, run, report, engine.site.settings.image_seconds
        )
        self._thread = threading.Thread(
            target=self._lead, name=f"job-{run.job_id[:8]}", daemon=True
        )

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self, why: Stop) -> None:
        """Begin to end the Pod, or for a shutdown turn away from it; the first reason counts."""
        with self._lock:
            self._why = self._why or why
        self._feed.wake()

    def done(self) -> bool:
        """True when nothing is left, or the Pod was left to itself, and every report was made."""
        return self._finished.is_set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for :meth:`done`."""
        return self._finished.wait(timeout)

    def _lead(self) -> None:
        try:
            self._work()
        except Exception:  # a thread's boundary: the scheduler must hear that the job is over
            log.exception("job thread failed", extra={"job": self._run.job_id})
        finally:
            self._end()
            self._engine.watcher.unsubscribe(self._name)
            self._finished.set()
            try:
                self._done()
            except Exception:  # the callback is the scheduler's own
                log.exception("end of a job not taken", extra={"job": self._run.job_id})

    def _end(self) -> None:
        """Nothing of the job may be left when its end is told; a shutdown leaves it whole."""
        try:
            if self._why is Stop.SHUTDOWN and not self._following.over:
                self._following.leave()
                return
            self._following.ending = True
            if self._made:
                self._remove()
            self._following.stopped(WORDS.get(self._why) if self._why else None)
        except Exception:  # a thread's boundary
            log.exception("a job did not end cleanly", extra={"job": self._run.job_id})

    def _work(self) -> None:
        found = self._obstacle()
        if found is not None:
            self._following.fail(*found)
            return
        told = self._begun()
        if told is None:
            return
        self._take(told)
        while not self._following.over and self._why is None:
            self._feed.wait(_TICK_SECONDS)
            self._hear()

    def _hear(self) -> None:
        """Take in what is new."""
        for event in self._feed.events():
            self._following.event(event)
        told = self._feed.pod()
        if told is not None:
            self._take(told)
        if self._feed.missed() and not self._following.over:
            self._look()
        self._following.patience()

    def _look(self) -> None:
        """The watch did not find the Pod: ask for it by its name."""
        try:
            self._take(self._engine.cluster.get(self._name))
        except NotThereError:
            self._gone()
        except ClusterError as error:
            log.debug("a Pod cannot be looked at: %s", error)

    # --- what is special about one Pod ---------------------------------------------------------

    KIND = "Pod"
    """What is created, in the words of the cluster."""

    def _gone(self) -> None:
        """It is not there any more, and it was not us."""
        self._following.gone()

    def _obstacle(self) -> tuple[Operator, OperatorEnd] | None:
        """The first operator that can never run here, and why."""
        return obstacle(self._engine.site, self._run)

    def _body(self) -> Object:
        """What is created."""
        engine = self._engine
        return pod(engine.site, self._run, engine.owner, engine.deadline_seconds)

    def _take(self, told: Object) -> None:
        """What was created is like this now."""
        self._following.take(read(told))

    def _remove(self) -> None:
        """End it; returns when nothing of it runs."""
        remove(self._engine.cluster, self._name, self._feed, grace(self._run), self._following.take)

    # --- beginning ---------------------------------------------------------------------------

    def _begun(self) -> Object | None:
        """The Pod, made or found; None when the job was stopped or failed before."""
        first = containers.running(self._run)[0]
        faults = 0
        while self._why is None:
            try:
                return self._found() if self._run.resumed else self._created()
            except InvalidError as error:
                reason = f"the cluster does not take its {self.KIND}: {error}"
                self._following.fail(first, OperatorEnd(End.IMAGE_MISSING, reason))
                return None
            except OSError as error:
                reason = f"its folders cannot be made: {error.strerror}"
                self._following.fail(first, OperatorEnd(End.LOST, reason))
                return None
            except ClusterError as error:
                self._following.hinder("Cluster", str(error))
                self._feed.wait(AGAIN_SECONDS[min(faults, len(AGAIN_SECONDS) - 1)])
                faults += 1
        return None

    def _found(self) -> Object | None:
        """The Pod of an attempt that goes on."""
        self._made = True
        try:
            return self._engine.cluster.get(self._name)
        except NotThereError:
            self._gone()
            return None

    def _created(self) -> Object:
        """A new Pod, once nothing of an earlier attempt runs; ours already if we made it before."""
        cluster, run = self._engine.cluster, self._run
        self._purge()
        if not self._made:
            folders.prepare(run)
        self._made = True
        try:
            return cluster.create(self._body())
        except ThereError:
            # An answer that was lost; nobody else makes Pods of this name.
            return cluster.get(self._name)

    def _purge(self) -> None:
        """End what an earlier attempt left; returns when it is gone."""
        found, _ = self._engine.cluster.find(names.of_job(self._run.job_id))
        for each in found:
            name = each["metadata"]["name"]
            if name != self._name:
                log.warning("a Pod of an earlier attempt is ended", extra={"pod": name})
                remove(self._engine.cluster, name, None, grace(self._run))


def obstacle(
    site: Site, run: JobRun, engine: str = "kubernetes"
) -> tuple[Operator, OperatorEnd] | None:
    """The first operator that can never run on a cluster, and why."""
    for operator in containers.running(run):
        folder = operator.host_volume
        if folder is not None and not volumes.allowed(folder, site.host_volumes):
            reason = f"`host-volumes` of gateway.yaml does not allow the folder {folder}"
            return operator, OperatorEnd(End.IMAGE_MISSING, reason)
        if operator.data_inputs or operator.data_outputs:
            reason = f"the {engine} executor hands no arrays on from operator to operator"
            return operator, OperatorEnd(End.IMAGE_MISSING, reason)
        end = needs.obstacle(engine, replace(operator, host_volume=None), ())
        if end is not None:
            return operator, end
    return None
