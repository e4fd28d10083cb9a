"""The engine itself: what the scheduler calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway.config.container import ContainerSettings
from gateway.executors import shared
from gateway.executors.container.api import Api, EngineError
from gateway.executors.container.images import Images
from gateway.executors.container.layouts.choice import Layouts
from gateway.executors.container.operator import ContainerEngine, ContainerSteps
from gateway.executors.container.running import purge
from gateway.executors.gpus import Gpu
from gateway.executors.graph import GraphJob
from gateway.executors.serving import Serving, held
from gateway.jobs.executor import JobHandle, JobRun, Report

log = logging.getLogger(__name__)

_ROOTLESS_DOCKER = (
    "Docker runs without root here, so operators could not write as the gateway's own user: "
    "use Podman, or Docker's daemon of the machine"
)


class ContainerExecutor:
    """Runs jobs in containers; any thread may call it.  The engine need not be there yet."""

    def __init__(
        self,
        settings: ContainerSettings,
        *,
        host_volumes: Sequence[str] = (),
        gpus: Mapping[int, Gpu] | None = None,
    ) -> None:
        """``host_volumes`` is the settings' key of that name; ``gpus``: the devices by index."""
        api = Api(settings.socket)
        self._engine = ContainerEngine(
            api=api,
            settings=settings,
            images=Images(api, settings.pull, settings.pull_secrets),
            layouts=Layouts(api, settings.images),
            host_volumes=tuple(host_volumes),
            gpus=gpus or {},
        )

    @property
    def engine(self) -> ContainerEngine:
        """What every operator is run with; services are run with the same."""
        return self._engine

    def serve(self, services: Serving) -> None:
        """Let operators call services, which ``services`` keeps; before the first job."""
        self._engine = replace(self._engine, services=services)

    @property
    def name(self) -> str:
        """``container``."""
        return "container"

    def check(self) -> list[str]:
        """Ask the engine; say what is wrong if it does not answer or cannot do what is needed."""
        try:
            facts = self._engine.api.facts(fresh=True)
        except EngineError as error:
            return [str(error)]
        if facts.rootless and not facts.podman:
            return [_ROOTLESS_DOCKER]
        return []

    def start(self, run: JobRun, report: Report, done: Callable[[], None]) -> JobHandle:
        """Start an attempt in threads of its own and return at once."""
        done = held(self._engine.services, run, done)
        job = GraphJob(ContainerSteps(self._engine), run, report, done)
        job.start()
        return job

    def reap(self, job_id: str, attempt: int) -> None:
        """Remove every container of a dead attempt.

        Raises :class:`EngineError`, which is transient, when one may still be there.
        """
        count = purge(self._engine.api, job_id, attempt)
        if count:
            log.warning("containers of a dead attempt removed", extra={"job": job_id, "n": count})
        try:
            shared.clear(job_id, attempt)
        except OSError as error:
            raise EngineError(f"its shared memory cannot be freed: {error}") from error
