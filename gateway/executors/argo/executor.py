"""The engine itself: what the scheduler calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway.config.kubernetes import KubernetesSettings
from gateway.config.settings import GatewaySettings, ImageSettings
from gateway.executors.argo.api import GROUP, PLURAL, Workflows
from gateway.executors.argo.job import WorkflowJob
from gateway.executors.argo.removal import Removal
from gateway.executors.argo.workflow import Form
from gateway.executors.images import Images
from gateway.executors.kubernetes import names
from gateway.executors.kubernetes.api import ClusterError, NotThereError
from gateway.executors.kubernetes.containers import Site
from gateway.executors.kubernetes.executor import FOLDER, INTERPRETER, deadline, owner_of, right
from gateway.executors.kubernetes.watch import Watcher
from gateway.jobs.executor import JobHandle, JobRun, Report

RIGHTS = (
    ("list", "pods", ""), ("delete", "pods", ""), ("get", "pods", "log"),
    ("list", "events", ""), ("watch", "events", ""),
)  # fmt: skip
"""All that the engine does on a cluster besides Workflows: verb, kind and part."""
VERBS = ("create", "get", "list", "watch", "patch", "delete")
"""All that it does to Workflows."""
_REAP_GRACE = 1


class ArgoExecutor:
    """Runs jobs as Workflows; any thread may call it.  The cluster need not be there yet."""

    def __init__(
        self,
        settings: KubernetesSettings,
        data_dir: Path,
        *,
        images: Mapping[str, ImageSettings] | None = None,
        host_volumes: Sequence[str] = (),
        deadline_seconds: int = 3600,
    ) -> None:
        """As of :class:`~gateway.executors.kubernetes.executor.KubernetesExecutor`."""
        self._settings = settings
        self.workflows = Workflows(settings)
        folder = data_dir / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        owner = owner_of(folder)
        site = Site(
            settings=settings,
            images=Images(images, interpreter=INTERPRETER),
            data_dir=data_dir,
            host_volumes=tuple(host_volumes),
        )
        self._form = Form(site, settings.argo, owner, deadline_seconds)
        self._watcher = Watcher(self.workflows, owner)
        self._lock = threading.Lock()
        self._removals: dict[str, Removal] = {}

    @classmethod
    def of_settings(cls, settings: GatewaySettings, data_dir: Path) -> ArgoExecutor:
        """The executor that ``gateway.yaml`` describes."""
        return cls(
            settings.kubernetes,
            data_dir,
            images=settings.images,
            host_volumes=settings.host_volumes,
            deadline_seconds=deadline(settings),
        )

    @property
    def name(self) -> str:
        """``argo``."""
        return "argo"

    def check(self) -> list[str]:
        """Ask the API server; say what is wrong if it does not answer or something is missing."""
        return check(self._settings, self.workflows)

    def start(self, run: JobRun, report: Report, done: Callable[[], None]) -> JobHandle:
        """Start an attempt, or carry it on, in a thread of its own and return at once."""
        job = WorkflowJob(self.workflows, self._watcher, self._form, run, report, done)
        job.start()
        return job

    def has(self, job_id: str, attempt: int) -> bool:
        """True when the attempt's Workflow is there and nobody ends it."""
        try:
            found = self.workflows.get(names.pod_name(job_id, attempt))
        except NotThereError:
            return False
        return "deletionTimestamp" not in found["metadata"]

    def reap(self, job_id: str, attempt: int) -> None:
        """End the Workflow of a dead attempt; :class:`ClusterError` while it may still be there."""
        name = names.pod_name(job_id, attempt)
        with self._lock:
            if name not in self._removals:
                self._removals[name] = Removal(self.workflows, name, _REAP_GRACE)
            removal = self._removals[name]
        if not removal.step() and not removal.step():
            raise ClusterError("its Workflow has not ended yet")
        with self._lock:
            self._removals.pop(name, None)

    def close(self) -> None:
        """Hear no more of the cluster."""
        self._watcher.close()


def check(settings: KubernetesSettings, workflows: Workflows | None = None) -> list[str]:
    """What keeps jobs from running on Argo, one sentence each."""
    workflows = workflows or Workflows(settings)
    faults = []
    if (settings.claim is None) == (settings.host_path is None):
        faults.append("one of `kubernetes.claim` and `kubernetes.host-path` must be set")
    try:
        if not workflows.served():
            return [*faults, f"the cluster has no Argo Workflows ({PLURAL}.{GROUP})"]
        missing = [right(*each) for each in RIGHTS if not workflows.allowed(*each)]
        missing += [
            right(verb, f"{PLURAL}.{GROUP}")
            for verb in VERBS
            if not workflows.allowed(verb, PLURAL, group=GROUP)
        ]
        workflows.find(f"{names.MANAGED}={names.MANAGER}")
    except ClusterError as error:
        return [*faults, str(error)]
    if missing:
        place = workflows.namespace
        faults.append(f"the cluster does not let us in namespace {place}: {', '.join(missing)}")
    return faults
