"""One operator of a job: its folders, its sandbox, and the verdict on how it ended."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.executors import gpus, interpreter, outputs, shared
from gateway.executors.environment import environment
from gateway.executors.images import Images, Program
from gateway.executors.launch import Guard, Outcome, StopFlag, launch
from gateway.executors.limits import Limiter
from gateway.executors.logfile import LogFile
from gateway.executors.sandbox import Bind, Bubblewrap, Plan, SandboxError
from gateway.jobs.executor import End, JobRun, OperatorEnd
from gateway.pipelines import layout
from gateway.pipelines.model import Operator

log = logging.getLogger(__name__)

_NOT_EXECUTED = (126, 127)
"""Exit codes of a shell that cannot execute a program."""

RETRY_SECONDS = 1.0
"""Wait before an operator that was lost is tried again."""


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


def mark(job_id: str, attempt: int) -> str:
    """The word by which the processes of one attempt are found again."""
    return f"gateway-{job_id}-{attempt}"


def obstacle(engine: Engine, operator: Operator) -> OperatorEnd | None:
    """Why an operator can never run here, or None; asked before the job's first one starts."""
    image = f"{operator.image}:{operator.tag}"
    if operator.services:
        names = ", ".join(s.name for s in operator.services)
        reason = f"the process executor runs no services, and {image} needs: {names}"
        return OperatorEnd(End.IMAGE_MISSING, reason)
    if operator.models:
        names = ", ".join(operator.models)
        reason = f"the process executor loads no models, and {image} needs: {names}"
        return OperatorEnd(End.IMAGE_MISSING, reason)
    volume = operator.host_volume
    if volume is not None and not _allowed(engine, volume):
        reason = f"`host-volumes` of gateway.yaml does not allow the folder {volume}"
        return OperatorEnd(End.IMAGE_MISSING, reason)
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


def _allowed(engine: Engine, volume: str) -> bool:
    """True when the folder is there and is, links followed, one that operators may ask for."""
    path = Path(volume)
    real = path.resolve()
    inside = any(real.is_relative_to(Path(a).resolve()) for a in engine.host_volumes)
    return inside and path.is_dir()


def run(
    engine: Engine,
    job: JobRun,
    operator: Operator,
    devices: tuple[int, ...],
    stop: StopFlag,
    started: Callable[[float], None],
) -> OperatorEnd:
    """Run one operator to its end, again as often as it allows while it is lost.

    Returns when no process of it is left and its outputs are checked.
    """
    end = _once(engine, job, operator, devices, stop, started)
    for _ in range(operator.retries):
        if end.end is not End.LOST or stop.is_set:
            break
        time.sleep(RETRY_SECONDS)
        end = _once(engine, job, operator, devices, stop, started)
    if end.end is not End.COMPLETED and outputs.full(job):
        # Nobody reads them any more, and while the disk is full no job's end can be recorded.
        outputs.discard(job, operator)
    return end


def _once(
    engine: Engine,
    job: JobRun,
    operator: Operator,
    devices: tuple[int, ...],
    stop: StopFlag,
    started: Callable[[float], None],
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
            guard = Guard(shared.counted(cage, job, operator), sink, stop, job.grace_seconds)
            plan = _plan(engine, job, operator, program, devices)
            outcome = launch(engine.bwrap, plan, guard, word, started)
        finally:
            cage.close()
        return _verdict(job, operator, outcome, sink)
    except SandboxError as error:
        sink.write(f"{error}\n".encode())
        return OperatorEnd(End.LOST, f"the sandbox could not be made: {error}")
    except OSError as error:
        return OperatorEnd(End.LOST, f"the operator could not be run: {error.strerror}")
    finally:
        sink.close()


def _plan(
    engine: Engine, job: JobRun, operator: Operator, program: Program, devices: tuple[int, ...]
) -> Plan:
    shown = [Bind(p, str(p)) for p in (*interpreter.visible(), *program.visible)]
    shown += [
        Bind(layout.source_dir(job.folder, job.definition, i), i.path) for i in operator.inputs
    ]
    shown += [
        Bind(layout.output_dir(job.folder, operator, o.name), o.path, writable=True)
        for o in operator.outputs
    ]
    shown += shared.binds(job, operator)
    if operator.host_volume is not None:
        shown.append(Bind(Path(operator.host_volume).resolve(), operator.host_volume))
    if not operator.outputs:
        folder = layout.operator_dir(job.folder, operator)
        shown.append(Bind(folder, layout.private_output(operator), writable=True))
    return Plan(
        command=program.command,
        folder=program.folder,
        environ=environment(job, operator, program, gpus.names(devices, engine.gpus)),
        binds=tuple(dict.fromkeys([*shown, *gpus.binds(devices, engine.gpus)])),
        network=operator.network,
        memory_mb=operator.requests.memory,
    )


def _paths(operator: Operator) -> list[str]:
    paths = [*(i.path for i in operator.inputs), *(o.path for o in operator.outputs)]
    if operator.host_volume is not None:
        paths.append(operator.host_volume)
    return paths if operator.outputs else [*paths, layout.private_output(operator)]


def _verdict(job: JobRun, operator: Operator, outcome: Outcome, sink: LogFile) -> OperatorEnd:
    code = outcome.exit_code
    if outcome.out_of_memory:
        reason = f"it needed more memory than the {operator.requests.memory} MB it asked for"
        return OperatorEnd(End.OUT_OF_MEMORY, reason, code)
    if outcome.stopped:
        return OperatorEnd(End.STOPPED, "it was ended from outside", code if outcome.ran else None)
    if not outcome.ran:
        return OperatorEnd(End.LOST, f"the sandbox could not be made: {sink.last_line}")
    full = "; the disk that holds its outputs is full" if outputs.full(job) else ""
    if code != 0:
        return OperatorEnd(End.EXIT_CODE, _exit_reason(code, sink.last_line) + full, code)
    fault = outputs.fault(job, operator) or shared.fault(job, operator)
    if fault is not None:
        return OperatorEnd(fault.end, fault.reason + full, code)
    if full:
        reason = f"its outputs may be cut short{full}"
        return OperatorEnd(End.OUTPUT_UNSAFE, reason, code)
    return OperatorEnd(End.COMPLETED, "", 0)


def _exit_reason(code: int, last_line: str) -> str:
    if code in _NOT_EXECUTED and last_line.startswith("operator: "):
        said = last_line.rpartition("exec: ")[2]
        return f"exit code {code}: its program cannot be executed in the sandbox: {said}"
    if code > 128:
        try:
            return f"exit code {code} ({signal.Signals(code - 128).name})"
        except ValueError:
            return f"exit code {code}"
    return f"exit code {code}"
