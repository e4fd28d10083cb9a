"""What the machine has, what each job needs, and who holds what.

A job is admitted whole or not at all: its cores and memory are counted, its GPUs are its alone.
The ledger lives in memory; the records of RUNNING jobs are the truth it is rebuilt from.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.config.settings import ResourceSettings
from gateway.errors import Refused
from gateway.pipelines.model import Requests

MEGABYTE = 1024 * 1024
# Sums of decimal fractions such as 0.1 + 0.2 must not shut out a job that fits exactly.
EPSILON = 1e-9


class NeverFits(Refused):
    """A job asks for more than the whole machine has."""


@dataclass(frozen=True)
class Need:
    """What a job holds while it runs: cores, MB of memory, exclusive devices."""

    cpu: float = 0.0
    memory_mb: int = 0
    gpus: int = 0


@dataclass(frozen=True)
class Capacity:
    """What jobs may use together: cores, MB of memory, indices of devices."""

    cpu: float
    memory_mb: int
    gpus: tuple[int, ...] = ()

    @classmethod
    def of_machine(cls, settings: ResourceSettings, gpus: Sequence[int] = ()) -> Capacity:
        """The settings, and where they say null, what this machine has: of GPUs, ``gpus``."""
        cpu = settings.cpu if settings.cpu is not None else float(len(os.sched_getaffinity(0)))
        memory = settings.memory_mb
        if memory is None:
            memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MEGABYTE
        indices = gpus if settings.gpus is None else range(settings.gpus)
        return cls(cpu, memory, tuple(indices))

    def admit(self, requests: Requests, *, missing_gpu: str = "refuse") -> Need:
        """The need of a job whose operators ask for ``requests`` at their peak.

        cpu is capped to the machine; with ``missing_gpu="cpu"`` a machine without any GPU runs
        the job without one.  Raises :class:`NeverFits`, naming the resource and both figures.
        """
        need = Need(min(requests.cpu, self.cpu), requests.memory, requests.gpu)
        if need.gpus and not self.gpus and missing_gpu == "cpu":
            need = replace(need, gpus=0)
        shortage = self.shortage(need)
        if shortage:
            raise NeverFits(shortage)
        return need

    def shortage(self, need: Need) -> str | None:
        """Why ``need`` can never fit, as a sentence; None when it can."""
        pairs = (
            ("cores", need.cpu, self.cpu),
            ("MB of memory", need.memory_mb, self.memory_mb),
            ("GPUs", need.gpus, len(self.gpus)),
        )
        for unit, wanted, owned in pairs:
            if wanted > owned + EPSILON:
                return f"the job needs {wanted:g} {unit} at once, the machine has {owned:g}"
        return None


@dataclass(frozen=True)
class Grant:
    """What one job holds."""

    need: Need
    gpus: tuple[int, ...]


class Ledger:
    """Who holds what; every method may be called from any thread."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._grants: dict[str, Grant] = {}
        self._lock = threading.Lock()

    def acquire(self, job_id: str, need: Need) -> Grant | None:
        """Give ``job_id`` all it needs, or None and nothing.

        A job that already holds something gets its grant again, whatever it asks for.
        """
        with self._lock:
            held = self._grants.get(job_id)
            if held is not None:
                return held
            if not fits(need, self._free()):
                return None
            taken = {index for grant in self._grants.values() for index in grant.gpus}
            spare = [index for index in self.capacity.gpus if index not in taken]
            grant = self._grants[job_id] = Grant(need, tuple(spare[: need.gpus]))
            return grant

    def release(self, job_id: str) -> None:
        """Take back what ``job_id`` holds; nothing when it holds nothing."""
        with self._lock:
            self._grants.pop(job_id, None)

    def free(self) -> Need:
        """What nobody holds."""
        with self._lock:
            return self._free()

    def grants(self) -> Mapping[str, Grant]:
        """A copy of who holds what."""
        with self._lock:
            return dict(self._grants)

    def check(self) -> list[str]:
        """Every invariant that does not hold, as sentences; empty = all is well."""
        with self._lock:
            grants, free = dict(self._grants), self._free()
        faults = []
        if free.cpu < -EPSILON or free.memory_mb < 0 or free.gpus < 0:
            faults.append(f"more is granted than the machine has: {free} is left")
        indices = [index for grant in grants.values() for index in grant.gpus]
        if len(indices) != len(set(indices)):
            faults.append(f"a GPU is granted twice: {sorted(indices)}")
        if not set(indices) <= set(self.capacity.gpus):
            faults.append(f"a GPU is granted that is not there: {sorted(indices)}")
        faults += [
            f"job {job_id} asked for {grant.need.gpus} GPUs and holds {len(grant.gpus)}"
            for job_id, grant in grants.items()
            if len(grant.gpus) != grant.need.gpus
        ]
        return faults

    def _free(self) -> Need:
        needs = [grant.need for grant in self._grants.values()]
        return Need(
            self.capacity.cpu - sum(need.cpu for need in needs),
            self.capacity.memory_mb - sum(need.memory_mb for need in needs),
            len(self.capacity.gpus) - sum(need.gpus for need in needs),
        )


def fits(need: Need, free: Need) -> bool:
    """True when ``free`` holds all of ``need``."""
    return (
        need.cpu <= free.cpu + EPSILON
        and need.memory_mb <= free.memory_mb
        and need.gpus <= free.gpus
    )


def set_aside(need: Need, free: Need) -> Need:
    """What is left of ``free`` for others while a job waits for ``need``: never below nothing."""
    return Need(
        max(0.0, free.cpu - need.cpu),
        max(0, free.memory_mb - need.memory_mb),
        max(0, free.gpus - need.gpus),
    )
