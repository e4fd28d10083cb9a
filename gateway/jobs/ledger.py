"""What the machine has and what each job needs.

A job is admitted whole or not at all: its cores and memory are counted, its GPUs are its alone.
Who holds what stands in the records of RUNNING jobs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.config.settings import ResourceSettings
from gateway.errors import Refused
from gateway.jobs.labels import Labels, offered
from gateway.pipelines.model import Requests

MEGABYTE = 1024 * 1024
# Sums of decimal fractions such as 0.1 + 0.2 must not shut out a job that fits exactly.
EPSILON = 1e-9
_UNKNOWN = 10**9
_MOST_GPUS = 1024
# What a cluster has only the cluster knows: more than anybody asks for.


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
    labels: Labels = frozenset()
    """What jobs may ask a machine for, beside its size."""

    @classmethod
    def of_machine(cls, settings: ResourceSettings, gpus: Sequence[int] = ()) -> Capacity:
        """The settings, and where they say null, what this machine has: of GPUs, ``gpus``."""
        cpu = settings.cpu if settings.cpu is not None else float(len(os.sched_getaffinity(0)))
        memory = settings.memory_mb
        if memory is None:
            memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MEGABYTE
        indices = gpus if settings.gpus is None else range(settings.gpus)
        return cls(cpu, memory, tuple(indices), offered(settings.labels))

    @classmethod
    def of_cluster(cls, settings: ResourceSettings) -> Capacity:
        """The settings; where they say null there is no limit but the cluster's own."""
        return cls(
            _UNKNOWN if settings.cpu is None else settings.cpu,
            _UNKNOWN if settings.memory_mb is None else settings.memory_mb,
            tuple(range(_MOST_GPUS if settings.gpus is None else settings.gpus)),
            offered(settings.labels),
        )

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

    def free(self, held: Iterable[Need]) -> Need:
        """What is left beside ``held``: never below nothing."""
        left = Need(self.cpu, self.memory_mb, len(self.gpus))
        for each in held:
            left = set_aside(each, left)
        return left

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
