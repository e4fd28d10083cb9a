from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.config.settings import ImageSettings
from gateway.database.schema import new_id
from gateway.executors.limits import Limiter
from gateway.executors.process import ProcessExecutor
from gateway.jobs.executor import Executor, JobHandle, JobRun, OperatorEnd, Stop
from gateway.pipelines.parse import parse
from tests.support.kube import Kube, shared_cluster, tool, waiter
from tests.support.podman import Podman, running_podman, shell
from tests.support.registry import Registry, running_registry


@dataclass
class Recorder:
    """What an engine reported, in order."""

    started: dict[str, float] = field(default_factory=dict)
    stopped: dict[str, float] = field(default_factory=dict)
    ends: dict[str, OperatorEnd] = field(default_factory=dict)
    images: dict[str, str | None] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    running: threading.Event = field(default_factory=threading.Event)

    def operator_started(self, operator: str, at: float, image: str | None = None) -> None:
        assert operator not in self.started
        self.started[operator] = at
        self.images[operator] = image
        self.running.set()

    def operator_stopped(self, operator: str, at: float, end: OperatorEnd) -> None:
        assert operator not in self.ends
        self.stopped[operator] = at
        self.ends[operator] = end

    def noticed(self, at: float, reason: str, message: str, *, hinders: bool = False) -> None:
        self.notices.append(message)


@dataclass
class Job:
    """A started attempt."""

    run: JobRun
    report: Recorder
    handle: JobHandle
    done: list[float]

    def wait(self, seconds: float = 40) -> Recorder:
        assert self.handle.join(seconds), "the job did not end"
        assert self.handle.done()
        deadline = time.monotonic() + 2
        while not self.done and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(self.done) == 1
        return self.report

    def log(self, operator: str) -> str:
        path = self.run.logs[operator]
        return path.read_text(errors="replace") if path.exists() else ""

    def output(self, operator: str) -> Path:
        return self.run.folder / "operators" / operator


Start = Callable[..., Job]


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A registry that asks for a password, on this machine."""
    with running_registry() as service:
        yield service


@pytest.fixture(scope="session")
def podman(registry: Registry) -> Iterator[Podman]:
    """A real Podman; images are made of files of this machine."""
    with running_podman(registry.port) as service:
        service.image("sh:1", shell(), "ENV PATH=/bin", "ENV FROM_IMAGE=yes")
        yield service


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """A real Kubernetes that runs Pods, one for all test processes."""
    tool()
    if os.geteuid() != 0:
        pytest.skip("a kubelet needs root")
    base = tmp_path_factory.getbasetemp()
    with shared_cluster(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def waiter_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program that keeps operators of a Pod in order."""
    return waiter(tmp_path_factory.mktemp("waiter"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a definition, given as YAML of its operators, on an executor, the process one if none
    is given.
    """
    jobs: list[Job] = []

    def make(
        operators: str,
        *,
        images: Mapping[str, ImageSettings] | None = None,
        limiter: Limiter | None = None,
        folder: Path | None = None,
        gpus: tuple[int, ...] = (),
        grace: float = 1.0,
        version: str = "0.4.0",
        host_volumes: tuple[str, ...] = (),
        executor: Executor | None = None,
        extra: str = "",
        attempt: int = 1,
        priority: str = "normal",
        job_id: str | None = None,
    ) -> Job:
        shell = {"test/sh": ImageSettings(command=["/bin/sh"])}
        text = f"api-version: {version}\nname: test\n{extra}operators:\n{operators}"
        definition = parse(text, "test.yaml")
        job_id = job_id or new_id()
        base = folder or tmp_path / job_id
        scan = base / "input" / "dcm" / "p" / "st" / "se"
        scan.mkdir(parents=True, exist_ok=True)
        if not any(scan.iterdir()):
            (scan / "1.2.3.dcm").write_bytes(b"image")
        run = JobRun(
            job_id=job_id,
            attempt=attempt,
            name="test-job",
            payload_id=new_id(),
            correlation_id=new_id(),
            definition=definition,
            folder=base,
            logs={o.name: tmp_path / "logs" / f"{job_id}-{o.name}" for o in definition.operators},
            gpus=gpus,
            grace_seconds=grace,
            priority=priority,
        )
        report = Recorder()
        done: list[float] = []
        executor = executor or ProcessExecutor(
            {**shell, **(images or {})}, limiter=limiter, host_volumes=host_volumes
        )
        handle = executor.start(run, report, lambda: done.append(time.time()))
        job = Job(run, report, handle, done)
        jobs.append(job)
        return job

    yield make
    for job in jobs:
        job.handle.stop(Stop.CANCEL)
        job.handle.join(20)
        shutil.rmtree(job.run.folder, ignore_errors=True)
