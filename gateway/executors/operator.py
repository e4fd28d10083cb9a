"""One operator of a job: its folders, its sandbox, and the verdict on how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.executors import gpus, interpreter, needs, outputs, shared
from gateway.executors.environment import environment
from gateway.executors.images import Images, Program
from gateway.executors.launch import Guard
from gateway.executors.limits import Limiter
from gateway.executors.logfile import LogFile
from gateway.executors.ready import Ahead, Ready, identities
from gateway.executors.sandbox import Bind, Bubblewrap, Plan, SandboxError
from gateway.executors.serving import Links, Serving, connected, needs_services
from gateway.executors.steps import Started
from gateway.executors.stopping import StopFlag
from gateway.executors.verdict import persist, verdict
from gateway.executors.warm.pool import Parents
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
    warm: Parents | None = None
    """Who keeps warm parents; None = every operator starts cold."""


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
    ahead: Ahead

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
                lambda links: _once(
                    self.engine, self.ahead, run, operator, devices, stop, started, links
                ),
            ),
        )


def ahead_of(engine: Engine, job: JobRun) -> Ahead:
    """What makes the job's warm operators ready before their turn."""

    def make(operator: Operator) -> Ready | None:
        program = engine.images.find(operator)
        if program is None or not _foreseeable(engine, operator, program):
            return None
        plan = _plan(engine, job, operator, program, (), Links())
        if not all(bind.source.exists() for bind in plan.binds if not bind.writable):
            return None
        ready = _ready(engine, job, operator, program, plan)
        if ready.cell is None:
            ready.close()
            return None
        return ready

    return Ahead(job, make)


def _foreseeable(engine: Engine, operator: Operator, program: Program) -> bool:
    """True when what the operator will see is known before its turn."""
    later = operator.data_inputs or operator.requests.gpu or needs_services(operator)
    return engine.warm is not None and program.warm and not operator.network and not later


def _ready(engine: Engine, job: JobRun, operator: Operator, program: Program, plan: Plan) -> Ready:
    """Folders, limits, and a warm sandbox if there is a parent; OSError if a folder fails."""
    outputs.prepare(job, operator)
    shared.prepare(job, operator)
    word = mark(job.job_id, job.attempt)
    position = job.definition.operators.index(operator)
    with contextlib.ExitStack() as stack:
        cage = engine.limiter.cage(f"{word}-{position}", operator.requests.memory)
        stack.callback(cage.close)
        cage = shared.counted(cage, job, operator)
        cell = None
        if engine.warm is not None:
            cell = engine.warm.hold(stack, program, plan, operator.requests.cpu, word)
        if cell is not None and not cell.confine(cage):
            raise SandboxError("a warm sandbox ended while it was made")
        return Ready(stack.pop_all(), plan, cage, cell, identities(plan))


def _once(
    engine: Engine,
    ahead: Ahead,
    job: JobRun,
    operator: Operator,
    devices: tuple[int, ...],
    stop: StopFlag,
    started: Started,
    links: Links,
) -> OperatorEnd:
    program = engine.images.find(operator)
    if program is None:
        return OperatorEnd(End.IMAGE_MISSING, "its image is not known any more")
    with contextlib.ExitStack() as stack:
        try:
            sink = LogFile(job.logs[operator.name])
            stack.callback(sink.close)
            ready = ahead.take(operator)
            if ready is None:
                plan = _plan(engine, job, operator, program, devices, links)
                ready = _ready(engine, job, operator, program, plan)
            stack.callback(ready.close)
        except SandboxError as error:
            return OperatorEnd(End.LOST, f"the sandbox could not be made: {error}")
        except OSError as error:
            return OperatorEnd(End.LOST, f"its folders cannot be made: {error.strerror}")
        return _conducted(engine, job, operator, ready, sink, stop, started, links)


def _conducted(
    engine: Engine,
    job: JobRun,
    operator: Operator,
    ready: Ready,
    sink: LogFile,
    stop: StopFlag,
    started: Started,
    links: Links,
) -> OperatorEnd:
    try:
        guard = Guard(ready.cage, sink, stop, job.grace_seconds, links.attach)
        outcome = ready.run(engine.bwrap, guard, mark(job.job_id, job.attempt), started)
        return verdict(job, operator, outcome, sink.last_line)
    except SandboxError as error:
        sink.write(f"{error}\n".encode())
        return OperatorEnd(End.LOST, f"the sandbox could not be made: {error}")
    except OSError as error:
        return OperatorEnd(End.LOST, f"the operator could not be run: {error.strerror}")


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
