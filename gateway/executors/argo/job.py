"""A job in work on Argo: its Workflow from the making of it until nothing of it is left.

Everything is as with a job's one Pod, but for what is looked at: what Argo tells of the Workflow,
and of its Pods only what Argo does not know.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gateway.executors.argo import status
from gateway.executors.argo.api import Workflows
from gateway.executors.argo.removal import remove
from gateway.executors.argo.workflow import Form, ambiguous, workflow
from gateway.executors.kubernetes import containers, names
from gateway.executors.kubernetes.api import ClusterError, Object
from gateway.executors.kubernetes.job import Engine, PodJob, obstacle
from gateway.executors.kubernetes.names import container_name
from gateway.executors.kubernetes.pod import grace
from gateway.executors.kubernetes.watch import Watcher
from gateway.jobs.executor import End, JobRun, OperatorEnd, Report
from gateway.pipelines.model import Operator

log = logging.getLogger(__name__)

TAKEN_SECONDS = 30.0
"""A Workflow that Argo has not looked at for so long has no controller."""


class WorkflowJob(PodJob):
    """One attempt; made and started by the executor."""

    KIND = "Workflow"

    def __init__(
        self,
        workflows: Workflows,
        watcher: Watcher,
        form: Form,
        run: JobRun,
        report: Report,
        done: Callable[[], None],
    ) -> None:
        """``watcher`` is one of ``workflows``."""
        engine = Engine(workflows, watcher, form.site, form.owner, form.deadline_seconds)
        super().__init__(engine, run, report, done)
        self._workflows = workflows
        self._form = form
        self._operators = {container_name(run.definition, o): o for o in containers.running(run)}
        self._pods: list[Object] = []
        self._phases: object = None
        self._begun_at = time.monotonic()
        self._seen = False

    def _obstacle(self) -> tuple[Operator, OperatorEnd] | None:
        found = obstacle(self._form.site, self._run, "argo")
        for operator in containers.running(self._run) if found is None else ():
            path = ambiguous(self._run, operator)
            if path is not None:
                reason = f"Argo would put values of its own into the path {path}"
                return operator, OperatorEnd(End.IMAGE_MISSING, reason)
        return found

    def _body(self) -> Object:
        return workflow(self._form, self._run)

    def _gone(self) -> None:
        self._following.lost(status.DELETED)

    def _take(self, told: Object) -> None:
        found = self._read(told)
        self._following.take(found.facts)
        for name, why in found.lost.items():
            operator = self._operators.get(name)
            if operator is not None and not self._following.over:
                self._following.fail(operator, OperatorEnd(End.LOST, why))
        if found.refused is not None and not self._following.over:
            first = next(iter(self._operators.values()))
            reason = f"Argo does not take its Workflow: {found.refused}"
            self._following.fail(first, OperatorEnd(End.IMAGE_MISSING, reason))

    def _read(self, told: Object) -> status.Told:
        """What the Workflow says, and its Pods: those are asked for at each change of a phase."""
        self._seen = self._seen or status.phase_of(told) != ""
        phases = status.phases(told)
        if phases != self._phases:
            try:
                self._pods = self._workflows.pods(self._name)
                self._phases = phases
            except ClusterError as error:
                log.debug("the Pods of a Workflow cannot be looked at: %s", error)
        return status.read(told, self._pods, self._run.definition)

    def _hear(self) -> None:
        super()._hear()
        if not self._seen and time.monotonic() - self._begun_at > TAKEN_SECONDS:
            self._following.hinder("Argo", "no controller of Argo has looked at its Workflow yet")

    def _remove(self) -> None:
        remove(self._workflows, self._name, self._feed, grace(self._run), self._ended)

    def _ended(self, told: Object) -> None:
        """The Workflow as it ends."""
        self._following.take(self._read(told).facts)

    def _purge(self) -> None:
        found, _ = self._workflows.find(names.of_job(self._run.job_id))
        pods = self._workflows.pods_of_job(self._run.job_id)
        left = {each["metadata"]["name"] for each in found}
        left |= {
            names.pod_name(self._run.job_id, int(each["metadata"]["labels"][names.ATTEMPT]))
            for each in status.active(pods)
        }
        for name in sorted(left - {self._name}):
            log.warning("a Workflow of an earlier attempt is ended", extra={"workflow": name})
            remove(self._workflows, name, None, grace(self._run))
