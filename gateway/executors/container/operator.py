"""One operator of a job as a container: its image, its folders, and the verdict on its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.container import ContainerSettings
from gateway.executors import access, gpus, needs, outputs, shared
from gateway.executors.container.api import Api, EngineError
from gateway.executors.container.images import (
    Image,
    ImageMissingError,
    Images,
    StoppedError,
)
from gateway.executors.container.layouts.base import Staged
from gateway.executors.container.layouts.choice import Layouts
from gateway.executors.container.plan import ATTEMPT, JOB, OPERATOR, Plan
from gateway.executors.container.running import Guard, execute, purge
from gateway.executors.container.secrets import SecretError, find
from gateway.executors.environment import environment
from gateway.executors.images import Program
from gateway.executors.logfile import LogFile
from gateway.executors.references import reference_of
from gateway.executors.sandbox import Bind
from gateway.executors.serving import Links, Serving, connected
from gateway.executors.steps import Started
from gateway.executors.stopping import StopFlag
from gateway.executors.verdict import persist, verdict
from gateway.jobs.executor import End, JobRun, OperatorEnd
from gateway.pipelines import layout
from gateway.pipelines.model import Operator

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""``PATH`` of an image that names none, as Docker has it."""


@dataclass(frozen=True)
class ContainerEngine:
    """What every operator of every job is run with."""

    api: Api
    settings: ContainerSettings
    images: Images
    layouts: Layouts
    host_volumes: tuple[str, ...] = ()
    gpus: Mapping[int, gpus.Gpu] = field(default_factory=dict)
    services: Serving | None = None
    """Who keeps services; None = there are none."""


@dataclass(frozen=True)
class ContainerSteps:
    """Operators as containers: the :class:`~gateway.executors.steps.Steps` of ``engine``."""

    engine: ContainerEngine

    def obstacle(self, run: JobRun) -> tuple[Operator, OperatorEnd] | None:
        """The first operator that can never run here, and why.

        On the way whatever an earlier attempt of the job left running is removed.
        """
        first = run.definition.operators[0]
        try:
            purge(self.engine.api, run.job_id)
            for operator in run.definition.operators:
                end = self._obstacle(run, operator)
                if end is not None:
                    return operator, end
        except EngineError as error:
            return first, OperatorEnd(End.LOST, str(error))
        except OSError as error:
            return first, OperatorEnd(End.LOST, f"its inputs cannot be read: {error.strerror}")
        return None

    def run(
        self,
        run: JobRun,
        operator: Operator,
        devices: tuple[int, ...],
        stop: StopFlag,
        started: Started,
    ) -> OperatorEnd:
        """Run one operator to its end; returns when its container is gone."""
        turn = _Turn(self.engine, run, operator, devices, stop, started)
        services = self.engine.services
        return persist(
            run, operator, stop, lambda: connected(services, run, operator, stop, turn.once)
        )

    def _obstacle(self, run: JobRun, operator: Operator) -> OperatorEnd | None:
        engine = self.engine
        end = needs.obstacle("container", operator, engine.host_volumes, engine.services)
        if end is not None:
            return end
        reference = reference_of(operator.image, operator.tag)
        try:
            find(engine.settings.pull_secrets, run.definition.pull_secrets, reference)
        except SecretError as error:
            return OperatorEnd(End.IMAGE_MISSING, str(error))
        if engine.settings.pull == "never" and engine.images.find(reference) is None:
            reason = f"the image {reference} is not on this machine, and `container.pull` is never"
            return OperatorEnd(End.IMAGE_MISSING, reason)
        if operator.requests.gpu and run.gpus and not engine.api.facts().gives_gpus:
            reason = "Podman gives no GPU over its Docker API before release 5: use that, or Docker"
            return OperatorEnd(End.IMAGE_MISSING, reason)
        access.open_to_group(layout.input_dir(run.folder))
        return None


@dataclass(frozen=True)
class _Turn:
    """One operator of one attempt."""

    engine: ContainerEngine
    job: JobRun
    operator: Operator
    devices: tuple[int, ...]
    stop: StopFlag
    started: Started

    def once(self, links: Links) -> OperatorEnd:
        try:
            self._prepare()
            sink = LogFile(self.job.logs[self.operator.name])
        except OSError as error:
            return OperatorEnd(End.LOST, f"its folders cannot be made: {error.strerror}")
        try:
            return self._run(sink, links)
        except StoppedError:
            return OperatorEnd(End.STOPPED, "it was ended from outside")
        except ImageMissingError as error:
            return OperatorEnd(End.IMAGE_MISSING, str(error))
        except EngineError as error:
            return OperatorEnd(End.LOST, str(error))
        except OSError as error:
            return OperatorEnd(End.LOST, f"the operator could not be run: {error.strerror}")
        finally:
            sink.close()

    def _prepare(self) -> None:
        """Make its folders, empty and its own."""
        job, operator = self.job, self.operator
        outputs.prepare(job, operator)
        shared.prepare(job, operator)
        user = access.user()
        access.give(layout.operator_dir(job.folder, operator), user)
        for output in operator.outputs:
            access.give(layout.output_dir(job.folder, operator, output.name), user)
        for bind in shared.binds(job, operator):
            if bind.writable:
                access.give(bind.source, user)

    def _run(self, sink: LogFile, links: Links) -> OperatorEnd:
        engine, job, operator = self.engine, self.job, self.operator
        reference = reference_of(operator.image, operator.tag)
        image = engine.images.obtain(reference, job.definition.pull_secrets, self.stop)
        chosen = engine.layouts.of(image, engine.layouts.settings(operator.image, operator.tag))
        staged = chosen.stage(job, operator)
        _tell(sink, staged.notes)
        guard = Guard(sink, self.stop, job.grace_seconds, image.stop_signal)
        outcome = execute(
            engine.api,
            self._plan(image, staged, links),
            guard,
            lambda at: self.started(at, image.digest),
        )
        last = sink.last_line
        _tell(sink, staged.after())
        return verdict(job, operator, outcome, last)

    def _plan(self, image: Image, staged: Staged, links: Links) -> Plan:
        engine, job, operator = self.engine, self.job, self.operator
        names = gpus.names(self.devices, engine.gpus)
        binds = [*staged.binds, *shared.binds(job, operator), *links.binds]
        networks = [*links.networks, *([engine.settings.network] if operator.network else [])]
        if operator.host_volume is not None:
            binds.append(Bind(Path(operator.host_volume).resolve(), operator.host_volume))
        position = job.definition.operators.index(operator)
        told = engine.layouts.settings(operator.image, operator.tag)
        program = Program((), {"PATH": PATH, **image.env, **staged.environ})
        return Plan(
            name=f"gateway-{job.job_id}-{job.attempt}-{position}",
            labels={JOB: job.job_id, ATTEMPT: str(job.attempt), OPERATOR: operator.name},
            image=image.id,
            user=access.user(),
            environ=environment(job, operator, program, names, links.environ),
            binds=tuple(dict.fromkeys(binds)),
            memory_mb=operator.requests.memory,
            cpu=operator.requests.cpu,
            command=operator.command or staged.command,
            folder=staged.folder,
            network=networks[0] if networks else "none",
            networks=tuple(networks[1:]),
            gpus=names,
            writable_root=told.writable_root,
        )


def _tell(sink: LogFile, notes: tuple[str, ...]) -> None:
    for note in notes:
        sink.write(f"[gateway] {note}\n".encode())
