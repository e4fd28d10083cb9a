"""Which jobs start now: a pure function of what waits, what runs, the rules and the past.

* IMMEDIATE goes first.  While one waits, what it needs is set aside: nothing of another priority
  starts on it, though jobs may use what it would leave idle.  Running jobs are not preempted.
* HIGHER, NORMAL and LOWER share the *starts* by weight while all three have something to start;
  applications (called AE titles) share those of a priority evenly; a bunch is first in, first out.
* A job whose turn it is and that does not fit joins the *line*; the first of the line has its need
  reserved.  Others start before it only as backfill: on what it would leave idle, or when their
  longest time is over before it could start at the earliest.  A reservation thus never moves back,
  and every job gets to the front of its bunch, of the line, and to its start.
* Limits count running jobs per pipeline and per application, IMMEDIATE ones too.

No database, no clock, no randomness: the same arguments always give the same plan.
"""

from __future__ import annotations

import heapq
import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.config.settings import JobSettings
from gateway.jobs.backlog import Backlog, Bunches, Waiting
from gateway.jobs.ledger import EPSILON, Capacity, Need, fits, set_aside
from gateway.jobs.shares import History, Shares

IMMEDIATE = 4
WEIGHTS: Mapping[int, float] = {3: 4.0, 2: 2.0, 1: 1.0}
"""Starts of HIGHER, NORMAL and LOWER out of seven, unless configured."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a running job holds."""

    job_id: str
    need: Need
    gpus: tuple[int, ...]
    until: float
    """When it is over at the latest, on the clock of ``now``."""
    priority: int = 2
    application: str = ""
    pipeline: str = ""
    here: bool = True
    """On the machine that is decided for; one that runs elsewhere counts for limits only."""


@dataclass(frozen=True)
class Limits:
    """Most jobs that run at once; what is not named has no limit."""

    pipelines: Mapping[str, int] = field(default_factory=dict)
    applications: Mapping[str, int] = field(default_factory=dict)
    each_pipeline: int | None = None
    """Of a pipeline that is not named."""
    each_application: int | None = None

    @property
    def any(self) -> bool:
        """False when nothing is limited."""
        return bool(self.pipelines or self.applications) or not (
            self.each_pipeline is None and self.each_application is None
        )

    def of(self, pipeline: str, application: str) -> list[tuple[str, int]]:
        """The limits that count for a job: a key for counting, and the most."""
        found = (
            (f"pipeline {pipeline}", self.pipelines.get(pipeline, self.each_pipeline)),
            (f"ae {application}", self.applications.get(application, self.each_application)),
        )
        return [(key, most) for key, most in found if most is not None]


@dataclass(frozen=True)
class Rules:
    """What the settings say about the queue."""

    weights: Mapping[int, float] = field(default_factory=lambda: WEIGHTS)
    limits: Limits = Limits()

    @classmethod
    def of_settings(cls, settings: JobSettings) -> Rules:
        """The rules of ``jobs:`` in the settings."""
        weights, limits = settings.weights, settings.limits
        return cls(
            {3: weights.higher, 2: weights.normal, 1: weights.lower},
            Limits(
                {name.lower(): most for name, most in limits.pipelines.items()},
                limits.applications,
                limits.each_pipeline,
                limits.each_application,
            ),
        )


@dataclass(frozen=True)
class Start:
    """A job that starts now, with the devices that are its alone."""

    job: Waiting
    gpus: tuple[int, ...]
    backfill: bool = False
    """It goes before one whose need is reserved."""


@dataclass(frozen=True)
class Plan:
    """What is decided."""

    starts: tuple[Start, ...]
    history: History
    """For the next decision, if all the starts are carried out."""
    reserved: str | None = None
    """The job of the shared priorities whose need is kept free."""
    earliest: float | None = None
    """When it starts at the latest, if no IMMEDIATE job comes and nothing overruns its time."""


def plan(
    backlog: Backlog,
    running: Sequence[Held],
    capacity: Capacity,
    rules: Rules,
    history: History,
    now: float,
    most: int = 64,
) -> Plan:
    """Decide what starts now, at most ``most`` jobs; ``backlog`` is not changed.

    A job that ``capacity`` can never hold is passed over: the caller ends or keeps it.
    """
    return _Planner(backlog, running, capacity, rules, history, now, most).plan()


class _Slots:
    """Running jobs counted against the limits, and slots that IMMEDIATE jobs wait for."""

    def __init__(self, limits: Limits, running: Iterable[Held]) -> None:
        self._limits = limits
        self._limited = limits.any
        self._used: Counter[str] = Counter()
        self._immediate: Counter[str] = Counter()
        self._aside: Counter[str] = Counter()
        self._keys: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for held in running:
            self.take(held)

    def take(self, job: Held | Waiting) -> None:
        for key, _ in self._of(job):
            self._used[key] += 1
            self._immediate[key] += job.priority == IMMEDIATE

    def open(self, job: Waiting) -> bool:
        """True when no limit keeps ``job`` from starting."""
        return not self._limited or all(
            self._used[key] + self._aside[key] < most for key, most in self._of(job)
        )

    def entitled(self, job: Waiting) -> bool:
        """False when an IMMEDIATE job waits for others of its own kind alone."""
        return all(self._immediate[key] + self._aside[key] < most for key, most in self._of(job))

    def keep(self, job: Waiting) -> None:
        """Keep the next slot for an IMMEDIATE job."""
        for key, _ in self._of(job):
            self._aside[key] += 1

    def _of(self, job: Held | Waiting) -> list[tuple[str, int]]:
        kind = (job.pipeline, job.application)
        found = self._keys.get(kind)
        if found is None:
            found = self._keys[kind] = self._limits.of(*kind) if self._limited else []
        return found


@dataclass(frozen=True, slots=True)
class _Reach:
    """What a job may use that goes before the reserved one."""

    free: Need
    spare: Need
    """What the reserved one would leave idle."""
    seconds: float
    """A job that is over by then may use all that is free."""


class _Planner:
    """One decision; the work of :func:`plan`."""

    def __init__(
        self,
        backlog: Backlog,
        running: Sequence[Held],
        capacity: Capacity,
        rules: Rules,
        history: History,
        now: float,
        most: int,
    ) -> None:
        self._backlog = backlog
        self._capacity = capacity
        self._now = now
        self._most = most
        self._slots = _Slots(rules.limits, running)
        self._held = [held for held in running if held.here]
        self._free = _left(capacity, self._held)
        # What is free and no IMMEDIATE job waits for.
        self._open = self._free
        self._taken: set[str] = set()
        self._starts: list[Start] = []
        # Whatever left the queue, or became IMMEDIATE, has left the line as well.
        self._line = [
            job_id
            for job_id in history.line
            if (job := backlog.get(job_id)) is not None and job.priority in rules.weights
        ]
        present = {
            key
            for key, bunches in backlog.lines.items()
            if key[0] in rules.weights and any(map(self._slots.open, _firsts(bunches)))
        }
        self._shares = Shares(history, rules.weights, present)
        self._present = sorted(present)

    def plan(self) -> Plan:
        self._immediate()
        while len(self._starts) < self._most and self._shared():
            pass
        reserved = self._reserved()
        return Plan(
            tuple(self._starts),
            self._shares.history(tuple(self._line)),
            None if reserved is None else reserved.job_id,
            None if reserved is None else self._earliest(reserved.need),
        )

    # --- IMMEDIATE ---------------------------------------------------------------------------

    def _immediate(self) -> None:
        bunches = [
            bunch
            for (priority, _), bunches in self._backlog.lines.items()
            if priority == IMMEDIATE
            for bunch in bunches.values()
        ]
        for job in heapq.merge(*bunches, key=lambda each: each.order):
            if len(self._starts) >= self._most or _nothing(self._open):
                # Those not looked at could not start and would be given what is left.
                self._open = Need()
                return
            if self._slots.entitled(job) and self._fits_at_all(job):
                self._start_or_keep(job)

    def _start_or_keep(self, job: Waiting) -> None:
        if self._slots.open(job) and fits(job.need, self._open):
            self._start(job)
        else:
            self._slots.keep(job)
            self._open = set_aside(job.need, self._open)

    # --- the priorities that share the starts ------------------------------------------------

    def _shared(self) -> bool:
        """Start one job, if one may start."""
        if _nothing(self._open):
            return False
        reserved = self._reserved()
        if reserved is not None and fits(reserved.need, self._open):
            self._begin(reserved)
            return True
        reach = self._reach(reserved)
        turn = True
        for key in self._order():
            heads = self._heads(key)
            if turn:
                holder = self._first(heads)
                if holder is None:
                    continue
                turn = False
                late = self._queue_up(holder, reach)
                if reserved is None and late is not None:
                    reserved, reach = late, self._reach(late)
            job = self._first([head for head in heads if self._within(head, reach)])
            if job is not None:
                self._begin(job, backfill=reserved is not None)
                return True
        return False

    def _queue_up(self, holder: Waiting, reach: _Reach) -> Waiting | None:
        """Let the job whose turn it is join the line if it cannot start; return it then."""
        if self._within(holder, reach):
            return None
        if holder.job_id not in self._line:
            self._line.append(holder.job_id)
        return holder

    def _reserved(self) -> Waiting | None:
        """The first of the line that waits for nothing but resources."""
        for job_id in self._line:
            job = self._backlog.get(job_id)
            if job is not None and self._slots.open(job) and self._fits_at_all(job):
                return job
        return None

    def _reach(self, reserved: Waiting | None) -> _Reach:
        """What others may use while ``reserved`` waits."""
        if reserved is None:
            return _Reach(self._open, self._open, -math.inf)
        spare = set_aside(reserved.need, self._open)
        return _Reach(self._open, spare, self._earliest(reserved.need) - self._now)

    def _within(self, job: Waiting, reach: _Reach) -> bool:
        return fits(job.need, reach.free) and (
            job.seconds <= reach.seconds or fits(job.need, reach.spare)
        )

    def _earliest(self, need: Need) -> float:
        free = self._free
        for held in sorted(self._held, key=lambda each: each.until):
            if fits(need, free):
                break
            free = _sum(free, held.need)
            if fits(need, free):
                return max(self._now, held.until)
        return self._now

    def _order(self) -> list[tuple[int, str]]:
        """Priorities and applications, the one whose turn it is first."""
        return sorted(
            self._present,
            key=lambda key: (*self._shares.priority(key[0]), self._shares.application(*key)),
        )

    def _heads(self, key: tuple[int, str]) -> list[Waiting]:
        """The first jobs of the bunches that still have any."""
        taken = self._taken
        heads = []
        for bunch in self._backlog.lines[key].values():
            for job in bunch:
                if job.job_id not in taken:
                    heads.append(job)
                    break
        return heads

    def _first(self, heads: list[Waiting]) -> Waiting | None:
        """The one that waits longest of those that no limit keeps and the machine can hold."""
        for job in sorted(heads, key=_ORDER):
            if self._slots.open(job) and self._fits_at_all(job):
                return job
        return None

    def _fits_at_all(self, job: Waiting) -> bool:
        return job.labels <= self._capacity.labels and self._capacity.shortage(job.need) is None

    def _begin(self, job: Waiting, *, backfill: bool = False) -> None:
        self._shares.count(job.priority, job.application)
        if job.job_id in self._line:
            self._line.remove(job.job_id)
        self._start(job, backfill=backfill)

    def _start(self, job: Waiting, *, backfill: bool = False) -> None:
        taken = {index for held in self._held for index in held.gpus}
        spare = (index for index in self._capacity.gpus if index not in taken)
        gpus = tuple(itertools.islice(spare, job.need.gpus))
        self._taken.add(job.job_id)
        self._slots.take(job)
        self._held.append(Held(job.job_id, job.need, gpus, self._now + job.seconds))
        self._free = set_aside(job.need, self._free)
        self._open = set_aside(job.need, self._open)
        self._starts.append(Start(job, gpus, backfill))


_ORDER = operator.attrgetter("since", "job_id")


def _firsts(bunches: Bunches) -> Iterator[Waiting]:
    return (bunch[0] for bunch in bunches.values())


def _nothing(free: Need) -> bool:
    """True when nothing could start: every job takes memory and a share of a core."""
    return free.cpu <= EPSILON or free.memory_mb <= 0


def _left(capacity: Capacity, held: Iterable[Held]) -> Need:
    left = Need(capacity.cpu, capacity.memory_mb, len(capacity.gpus))
    for each in held:
        left = set_aside(each.need, left)
    return left


def _sum(one: Need, other: Need) -> Need:
    return Need(one.cpu + other.cpu, one.memory_mb + other.memory_mb, one.gpus + other.gpus)
