"""The engine itself: what the scheduler calls."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway.config.kubernetes import KubernetesSettings
from gateway.config.settings import GatewaySettings, ImageSettings
from gateway.database.schema import new_id
from gateway.executors.images import Images
from gateway.executors.kubernetes import names
from gateway.executors.kubernetes.api import Cluster, ClusterError, NotThereError
from gateway.executors.kubernetes.containers import Site
from gateway.executors.kubernetes.job import Engine, PodJob
from gateway.executors.kubernetes.removal import LOST_SECONDS
from gateway.executors.kubernetes.status import time_of
from gateway.executors.kubernetes.watch import Watcher
from gateway.jobs.executor import JobHandle, JobRun, Report

WAITER = "gateway-waiter"
FOLDER = "cluster"
"""Folder of the data folder with what Pods need of the gateway itself."""
RIGHTS = (
    ("create", "pods", ""), ("get", "pods", ""), ("list", "pods", ""), ("watch", "pods", ""),
    ("delete", "pods", ""), ("get", "pods", "log"), ("list", "events", ""), ("watch", "events", ""),
)  # fmt: skip
"""All that the engine does on a cluster: verb, kind and part."""
INTERPRETER = "python"
"""What images call the interpreter of the operators that ship."""


class KubernetesExecutor:
    """Runs jobs as Pods; any thread may call it.  The cluster need not be there yet."""

    def __init__(
        self,
        settings: KubernetesSettings,
        data_dir: Path,
        *,
        images: Mapping[str, ImageSettings] | None = None,
        host_volumes: Sequence[str] = (),
        deadline_seconds: int = 3600,
    ) -> None:
        """``images`` and ``host_volumes`` are the settings' keys of those names.

        ``data_dir`` is what ``host-path`` or ``claim`` holds.  ``deadline_seconds``: longer than
        any job may run.
        """
        self._settings = settings
        self._cluster = Cluster(settings)
        folder = data_dir / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self._owner = owner_of(folder)
        found = _waiter(settings)
        site = Site(
            settings=settings,
            images=Images(images, interpreter=INTERPRETER),
            data_dir=data_dir,
            waiter=None if found is None else _copied(found, folder),
            host_volumes=tuple(host_volumes),
        )
        self._engine = Engine(
            self._cluster, Watcher(self._cluster, self._owner), site, self._owner, deadline_seconds
        )

    @classmethod
    def of_settings(cls, settings: GatewaySettings, data_dir: Path) -> KubernetesExecutor:
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
        """``kubernetes``."""
        return "kubernetes"

    def check(self) -> list[str]:
        """Ask the API server; say what is wrong if it does not answer or something is missing."""
        return check(self._settings, self._cluster)

    def start(self, run: JobRun, report: Report, done: Callable[[], None]) -> JobHandle:
        """Start an attempt, or carry it on, in a thread of its own and return at once."""
        job = PodJob(self._engine, run, report, done)
        job.start()
        return job

    def has(self, job_id: str, attempt: int) -> bool:
        """True when the attempt's Pod is there and nobody ends it."""
        try:
            found = self._cluster.get(names.pod_name(job_id, attempt))
        except NotThereError:
            return False
        return "deletionTimestamp" not in found["metadata"]

    def reap(self, job_id: str, attempt: int) -> None:
        """End the Pod of a dead attempt; :class:`ClusterError` while it may still be there."""
        name = names.pod_name(job_id, attempt)
        try:
            due = time_of(self._cluster.get(name)["metadata"].get("deletionTimestamp"))
            # A node that is gone never says that its Pod has ended.
            lost = due is not None and time.time() > due + LOST_SECONDS
            self._cluster.delete(name, 0 if lost else 1)
            self._cluster.get(name)
        except NotThereError:
            return
        raise ClusterError("its Pod has not ended yet")

    def close(self) -> None:
        """Hear no more of the cluster."""
        self._engine.watcher.close()


def check(settings: KubernetesSettings, cluster: Cluster | None = None) -> list[str]:
    """What keeps jobs from running on the cluster of ``settings``, one sentence each."""
    cluster = cluster or Cluster(settings)
    faults = []
    if (settings.claim is None) == (settings.host_path is None):
        faults.append("one of `kubernetes.claim` and `kubernetes.host-path` must be set")
    if _waiter(settings) is None:
        faults.append(f"there is no {WAITER}: make -C deploy/waiter install")
    try:
        missing = [right(*each) for each in RIGHTS if not cluster.allowed(*each)]
        cluster.find(f"{names.MANAGED}={names.MANAGER}")
    except ClusterError as error:
        return [*faults, str(error)]
    if missing:
        place = cluster.namespace
        faults.append(f"the cluster does not let us in namespace {place}: {', '.join(missing)}")
    return faults


def deadline(settings: GatewaySettings) -> int:
    """Seconds after which the cluster ends what no gateway came back to: longer than any job."""
    return math.ceil(settings.jobs.maximum_timeout_seconds + settings.jobs.grace_seconds) + 60


def right(verb: str, resource: str, part: str = "") -> str:
    """A right in words."""
    return f"{verb} {resource}{'/' + part if part else ''}"


def owner_of(folder: Path) -> str:
    """This data folder's own name among the gateways of a cluster; made once."""
    path = folder / "owner"
    if not path.exists():
        fresh = folder / f"owner.{os.getpid()}"
        fresh.write_text(new_id())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()


def _waiter(settings: KubernetesSettings) -> Path | None:
    """The waiter of this installation."""
    if settings.waiter is not None:
        return settings.waiter if settings.waiter.is_file() else None
    beside = Path(sys.executable).parent / WAITER
    found = str(beside) if beside.is_file() else shutil.which(WAITER)
    return None if found is None else Path(found)


def _copied(waiter: Path, folder: Path) -> Path:
    """The waiter where Pods can see it, under the name of its contents: others may be in use."""
    data = waiter.read_bytes()
    path = folder / f"waiter-{hashlib.sha256(data).hexdigest()[:16]}"
    if not path.exists():
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(data)
        fresh.chmod(0o755)
        fresh.rename(path)
    return path
