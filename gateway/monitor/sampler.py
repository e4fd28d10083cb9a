"""The thread that looks at the machine: GPUs, operators, the gateway's own processes.

Everything else of the machine is read when somebody asks (:mod:`gateway.monitor.machine_metrics`);
what is here must be looked at again and again, because it ends, or because streams follow it.
All looks together take less than one hundredth of a core: each has its share, and one that gets
dear (hundreds of processes, many GPUs) is taken less often.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.monitor import proc
from gateway.monitor.nvml import Nvml, Reading
from gateway.monitor.operators import OperatorRun, OperatorWatch, Totals, Usage
from gateway.monitor.own import OwnProcesses, RoleUsage
from gateway.monitor.pace import Pace

HISTORY = 300
"""Looks at the GPUs that are kept, five minutes of them: what a stream that lags may catch up."""
_FIRST_SECONDS = 5.0
"""Longest wait for the first look."""


@dataclass(frozen=True)
class GpuUser:
    """A process on a GPU: of an operator's run, or one of the machine (``run`` None)."""

    name: str
    """The operator's name; else ``gateway <role>``, or the name of its program."""
    run: OperatorRun | None
    memory: int | None
    """Bytes; None = the driver does not tell."""


@dataclass(frozen=True)
class Gpu:
    """One GPU and who uses it."""

    reading: Reading
    users: tuple[GpuUser, ...]


@dataclass(frozen=True)
class GpuLook:
    """All GPUs at one time; numbers grow by one from look to look, the first is 1."""

    number: int
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True)
class Machine:
    """The last look of each kind, for metrics."""

    gpus: tuple[Gpu, ...] = ()
    running: tuple[tuple[tuple[str, str], Usage], ...] = ()
    """Each running operator with its labels, pipeline and operator."""
    totals: Mapping[tuple[str, str], Totals] = field(default_factory=dict)
    """By pipeline and operator."""
    gpu_memory: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Bytes that running operators hold on all GPUs, by pipeline and operator."""
    roles: Mapping[str, RoleUsage] = field(default_factory=dict)
    cost_seconds: float = 0.0
    """CPU time that the sampler's thread took."""


class Sampler:
    """A worker for a thread of its own; what it saw may be asked for from any thread."""

    def __init__(
        self,
        nvml: Nvml,
        lookup: Callable[[str, str], OperatorRun | None],
        data_dir: Path,
        roles: Collection[str],
    ) -> None:
        self._nvml = nvml
        self._operators = OperatorWatch(lookup)
        self._own = OwnProcesses(data_dir, roles)
        self._paces = (
            # The order of the first looks: whose a process is must be known before it is named.
            Pace("processes", self._look_at_processes, 5.0, 0.001),
            Pace("operators", self._look_at_operators, 0.5, 0.0025),
            Pace("memory", self._operators.look_at_memory, 2.0, 0.0015),
            Pace("gpus", self._look_at_gpus, 1.0, 0.003),
        )
        self._changed = threading.Condition()
        self._history: deque[GpuLook] = deque(maxlen=HISTORY)
        self._machine = Machine()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look until stopped."""
        while not self._stopping.is_set():
            now = time.monotonic()
            due = [pace for pace in self._paces if pace.due <= now]
            for pace in due:
                pace.take()
            if due:
                self._publish()
            self._stopping.wait(min(p.due for p in self._paces) - time.monotonic())

    def stop(self) -> None:
        """Let :meth:`run` end, and whoever waits for a look."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def machine(self) -> Machine:
        """The last look of each kind; empty before the first."""
        with self._changed:
            return self._machine

    def latest(self) -> GpuLook:
        """The last look at the GPUs; waits for the first.  Number 0, without GPUs, if none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._history or self._stopping.is_set(), _FIRST_SECONDS)
            return self._history[-1] if self._history else GpuLook(0, ())

    def after(self, number: int, seconds: float) -> Sequence[GpuLook]:
        """The looks after the one of this number, oldest first, as far as they are kept.

        Waits up to ``seconds`` for one; empty when none came or the gateway stops.
        """

        def later() -> list[GpuLook]:
            return [look for look in self._history if look.number > number]

        with self._changed:
            self._changed.wait_for(lambda: later() or self._stopping.is_set(), seconds)
            return later()

    def _look_at_processes(self) -> None:
        self._own.look(proc.pids())

    def _look_at_operators(self) -> None:
        self._operators.look(proc.pids())

    def _look_at_gpus(self) -> None:
        readings = self._nvml.read()
        gpus = tuple(self._gpu(reading) for reading in readings)
        with self._changed:
            number = self._history[-1].number + 1 if self._history else 1
            self._history.append(GpuLook(number, gpus))
            self._changed.notify_all()

    def _gpu(self, reading: Reading) -> Gpu:
        return Gpu(reading, tuple(self._user(p.pid, p.memory) for p in reading.processes))

    def _user(self, pid: int, memory: int | None) -> GpuUser:
        run = self._operators.run_of(pid)
        if run is not None:
            return GpuUser(run.operator, run, memory)
        role = self._own.role_of(pid)
        return GpuUser(proc.program(pid) if role is None else f"gateway {role}", None, memory)

    def _publish(self) -> None:
        gpus = self._history[-1].gpus if self._history else ()
        watch = self._operators
        made = Machine(
            gpus=gpus,
            running=tuple((watch.labels_of(u.run), u) for u in watch.usages()),
            totals=watch.totals(),
            gpu_memory=self._gpu_memory(gpus),
            roles=self._own.usages(),
            cost_seconds=time.thread_time(),
        )
        with self._changed:
            self._machine = made

    def _gpu_memory(self, gpus: Sequence[Gpu]) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for gpu in gpus:
            for user in gpu.users:
                if user.run is not None:
                    labels = self._operators.labels_of(user.run)
                    found[labels] = found.get(labels, 0) + (user.memory or 0)
        return found
