"""Which job starts next: four priorities on one machine.

* IMMEDIATE goes first.  While one waits for resources, what it needs is set aside: nothing else
  starts on it, though jobs of any priority may use what it would leave idle.
* HIGHER, NORMAL and LOWER share the *starts* 4:2:1 while all three wait (stride scheduling).
* Within a priority the order is first in, first out; nothing overtakes.
* A job that is next of its priority and does not fit has its need set aside in the same way, so a
  stream of small jobs never starves a big one; other priorities use what it leaves idle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.jobs.creation import PRIORITIES
from gateway.jobs.ledger import Need, fits, set_aside

IMMEDIATE = PRIORITIES["immediate"]

WEIGHTS: Mapping[int, int] = {
    PRIORITIES["higher"]: 4,
    PRIORITIES["normal"]: 2,
    PRIORITIES["lower"]: 1,
}
"""Starts of each priority out of seven, while all three wait."""

_STRIDES = {priority: 4 / weight for priority, weight in WEIGHTS.items()}


@dataclass(frozen=True)
class Waiting:
    """A job in the queue."""

    job_id: str
    priority: int
    need: Need


class FairQueue:
    """Chooses among waiting jobs; one thread.

    The counters of the shares live in memory and begin anew with the process: a restart costs at
    most one round of fairness.
    """

    def __init__(self) -> None:
        self._passes = dict.fromkeys(WEIGHTS, 0.0)
        self._present: frozenset[int] = frozenset()

    def choose(self, waiting: Sequence[Waiting], free: Need) -> Waiting | None:
        """The job to start now, or None.

        ``waiting`` is in order of arrival within each priority; ``free`` is what nobody holds.
        The choice counts as a start.
        """
        for job in waiting:
            if job.priority != IMMEDIATE:
                continue
            if fits(job.need, free):
                return job
            free = set_aside(job.need, free)
        heads = self._heads(waiting)
        for priority in sorted(heads, key=lambda each: (self._passes[each], -each)):
            job = heads[priority]
            if fits(job.need, free):
                self._passes[priority] += _STRIDES[priority]
                return job
            free = set_aside(job.need, free)
        return None

    def _heads(self, waiting: Sequence[Waiting]) -> dict[int, Waiting]:
        """The first job of each priority; one that comes back from idling claims no arrears."""
        heads: dict[int, Waiting] = {}
        for job in waiting:
            if job.priority in WEIGHTS:
                heads.setdefault(job.priority, job)
        stayed = [self._passes[priority] for priority in heads if priority in self._present]
        floor = min(stayed) if stayed else max(self._passes.values())
        for priority in heads:
            if priority not in self._present:
                self._passes[priority] = max(self._passes[priority], floor)
        self._present = frozenset(heads)
        return heads
