"""The jobs that wait, in the order in which each may start.

Jobs of one priority, application and pipeline form a *bunch*: first in, first out (those that ask
for labels of a machine form one for each set of labels).  A decision
looks at the first jobs of the bunches only, so its cost grows with the variety of what waits and
not with its number.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.jobs.labels import Labels
from gateway.jobs.ledger import Need


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job in the queue."""

    job_id: str
    priority: int
    need: Need
    application: str = ""
    """Called AE title; empty for a job made by hand."""
    pipeline: str = ""
    seconds: float = 0.0
    """Longest it holds what it gets: time-out, grace and the engine's own end."""
    since: float = 0.0
    """When it joined the queue."""
    labels: Labels = frozenset()
    """What its machine must have."""

    @property
    def order(self) -> tuple[float, str]:
        """What comes first in a bunch."""
        return (self.since, self.job_id)

    @property
    def bunch(self) -> str:
        """Which bunch it belongs to: its pipeline, apart for other labels.

        Else a job for one machine would keep those for all others behind it.
        """
        return " ".join((self.pipeline, *sorted(self.labels))) if self.labels else self.pipeline


Bunches = dict[str, list[Waiting]]
"""The bunches of one priority and application, by pipeline; none is empty."""


class Backlog:
    """What waits, by priority and application; one thread."""

    def __init__(self, waiting: Iterable[Waiting] = ()) -> None:
        self._lines: dict[tuple[int, str], Bunches] = {}
        self._jobs: dict[str, Waiting] = {}
        for job in sorted(waiting, key=lambda each: each.order):
            self._line(job).setdefault(job.bunch, []).append(job)
            self._jobs[job.job_id] = job

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._jobs.values())

    @property
    def lines(self) -> Mapping[tuple[int, str], Bunches]:
        """The bunches of each priority and application; not to be changed."""
        return self._lines

    def get(self, job_id: str) -> Waiting | None:
        """The job, if it waits."""
        return self._jobs.get(job_id)

    def add(self, job: Waiting) -> None:
        """Put a job where its time in the queue belongs."""
        bisect.insort(self._line(job).setdefault(job.bunch, []), job, key=lambda each: each.order)
        self._jobs[job.job_id] = job

    def remove(self, job_id: str) -> None:
        """Take a job out, started or not; KeyError when it does not wait."""
        job = self._jobs.pop(job_id)
        line = self._line(job)
        line[job.bunch].remove(job)
        if not line[job.bunch]:
            del line[job.bunch]
        if not line:
            del self._lines[job.priority, job.application]

    def _line(self, job: Waiting) -> Bunches:
        return self._lines.setdefault((job.priority, job.application), {})
