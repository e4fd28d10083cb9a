"""One operator of a job: its folders, its sandbox, and the verdict on how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.executors import gpus, interpreter, needs, outputs, shared
from gateway.executors.environment import environment
from gateway.executors.images import Images, Program
from gateway.executors.launch import Guard, launch
from gateway.executors.limits import Limiter
from gateway.executors.logfile import LogFile
from gateway.executors.sandbox import Bind, Bubblewrap, Plan, SandboxError
from gateway.executors.serving import Links, Serving, connected
from gateway.executors.steps import Started
from gateway.executors.stopping import StopFlag
from gateway.executors.verdict import persist, verdict
from gateway.jobs.executor import End, JobRun, OperatorEnd
from gateway.pipelines import layout
from gateway.pipelines.model import Operator


@dataclass(frozen=True)
class Engine:
    """What every operator of every job is run with."""

    bwrap: Bubblewrap
    images: Images
    limiter: Limiter
    host_volumes: tuple[str, ...] = ()
    """Folders of this machine that operators may ask for."""
    gpus: Mapping[int, gpus.Gpu] = field(default_factory=dict)
    """What the devices are called, by index; one that is not there is called by its index."""
    services: Serving | None = None
    """Who keeps services; None = there are none."""


def mark(job_id: str, attempt: int) -> str:
    """The word by which the processes of one attempt are found again."""
    return f"gateway-{job_id}-{attempt}"


def obstacle(engine: Engine, operator: Operator) -> OperatorEnd | None:
    """Why an operator can never run here, or None; asked before the job's first one starts."""
    end = needs.obstacle("process", operator, engine.host_volumes, engine.services)
    if end is not None:
        return end
    image = f"{operator.image}:{operator.tag}"
    program = engine.images.find(operator)
    if program is None:
        reason = f"no command is known for the image {image}; `images` of gateway.yaml knows: "
        return OperatorEnd(End.IMAGE_MISSING, reason + ", ".join(engine.images.names))
    for path in _paths(operator):
        for shown in (*interpreter.visible(), *program.visible):
            if f"{path}/".startswith(f"{shown}/") or f"{shown}/".startswith(f"{path}/"):
                reason = f"the path {path} overlaps {shown}, which holds programs of {image}"
                return OperatorEnd(End.IMAGE_MISSING, reason)
    return None


@dataclass(frozen=True)
class ProcessSteps:
    """Operators as sandboxed processes (:class:`~gateway.executors.steps.Steps`)."""

    engine: Engine

    def obstacle(self, run: JobRun) -> tuple[Operator, OperatorEnd] | None:
        """The first operator that can never run here, and why."""
        ends = (
            (operator, obstacle(self.engine, operator)) for operator in run.definition.operators
        )
        return next(((operator, end) for operator, end in ends if end is not None), None)

    def run(
        self,
        run: JobRun,
        operator: Operator,
        devices: tuple[int, ...],
        stop: StopFlag,
        started: Started,
    ) -> OperatorEnd:
        """Run one operator to its end; returns when no process of it is left."""
        return persist(
            run,
            operator,
            stop,
            lambda: connected(
                self.engine.services,
                run,
                operator,
                stop,
                lambda links: _once(self.engine, run, operator, devices, stop, started, links),
            ),
        )


def _once(
    engine: Engine,
    job: JobRun,
    operator: Operator,
    devices: tuple[int, ...],
    stop: StopFlag,
    started: Started,
    links: Links,
) -> OperatorEnd:
    try:
        outputs.prepare(job, operator)
        shared.prepare(job, operator)
        sink = LogFile(job.logs[operator.name])
    except OSError as error:
        return OperatorEnd(End.LOST, f"its folders cannot be made: {error.strerror}")
    program = engine.images.find(operator)
    if program is None:
        return OperatorEnd(End.IMAGE_MISSING, "its image is not known any more")
    word = mark(job.job_id, job.attempt)
    position = job.definition.operators.index(operator)
    try:
        cage = engine.limiter.cage(f"{word}-{position}", operator.requests.memory)
        try:
            counted = shared.counted(cage, job, operator)
            guard = Guard(counted, sink, stop, job.grace_seconds, links.attach)
            plan = _plan(engine, job, operator, program, devices, links)
            outcome = launch(engine.bwrap, plan, guard, word, started)
        finally:
            cage.close()
        return verdict(job, operator, outcome, sink.last_line)
    except SandboxError as error:
        sink.write(f"{error}\n".encode())
        return OperatorEnd(End.LOST, f"the sandbox could not be made: {error}")
    except OSError as error:
        return OperatorEnd(End.LOST, f"the operator could not be run: {error.strerror}")
    finally:
        sink.close()


def _plan(
    engine: Engine,
    job: JobRun,
    operator: Operator,
    program: Program,
    devices: tuple[int, ...],
    links: Links,
) -> Plan:
    shown = [Bind(p, str(p)) for p in (*interpreter.visible(), *program.visible)]
    shown += [
        Bind(layout.source_dir(job.folder, job.definition, i), i.path) for i in operator.inputs
    ]
    shown += [
        Bind(layout.output_dir(job.folder, operator, o.name), o.path, writable=True)
        for o in operator.outputs
    ]
    shown += [*shared.binds(job, operator), *links.binds]
    if operator.host_volume is not None:
        shown.append(Bind(Path(operator.host_volume).resolve(), operator.host_volume))
    if not operator.outputs:
        folder = layout.operator_dir(job.folder, operator)
        shown.append(Bind(folder, layout.private_output(operator), writable=True))
    return Plan(
        command=program.command,
        folder=program.folder,
        environ=environment(
            job, operator, program, gpus.names(devices, engine.gpus), links.environ
        ),
        binds=tuple(dict.fromkeys([*shown, *gpus.binds(devices, engine.gpus)])),
        network=operator.network,
        memory_mb=operator.requests.memory,
    )


def _paths(operator: Operator) -> list[str]:
    paths = [*(i.path for i in operator.inputs), *(o.path for o in operator.outputs)]
    if operator.host_volume is not None:
        paths.append(operator.host_volume)
    return paths if operator.outputs else [*paths, layout.private_output(operator)]
