"""A machine with a queue, run on a clock of its own: the real decision, no process and no wait."""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.jobs.backlog import Backlog, Waiting
from gateway.jobs.decision import IMMEDIATE, Held, Rules, Start, plan
from gateway.jobs.ledger import Capacity, Need, fits, set_aside
from gateway.jobs.shares import History

MACHINE = Capacity(64.0, 512_000, tuple(range(8)))
PIPELINES: dict[str, tuple[Need, float]] = {
    "segment": (Need(4.0, 16_000, 1), 600.0),
    "detect": (Need(2.0, 8_000, 1), 120.0),
    "classify": (Need(1.0, 4_000, 1), 60.0),
    "denoise": (Need(4.0, 24_000, 1), 300.0),
    "register": (Need(4.0, 16_000, 1), 900.0),
    "ensemble": (Need(8.0, 32_000, 2), 600.0),
    "train": (Need(8.0, 64_000, 4), 1800.0),
    "convert": (Need(2.0, 2_000, 0), 120.0),
    "assemble": (Need(8.0, 48_000, 0), 900.0),
}
"""What each pipeline needs and its time-out: eight devices are the bottleneck."""
MIX = {
    "segment": 22, "detect": 20, "classify": 18, "denoise": 12, "register": 8, "ensemble": 6,
    "train": 1, "convert": 8, "assemble": 5,
}  # fmt: skip
GRACE = 15.0
EVEN = Rules()
"""The weights and limits unless configured."""


@dataclass
class Outcome:
    """What a simulation saw."""

    starts: list[tuple[float, Start]] = field(default_factory=list)
    waits: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0
    """Device-seconds in use while a job for one device waited."""
    backlogged: float = 0.0
    """Device-seconds there were in that time."""
    decisions: list[float] = field(default_factory=list)
    """Seconds of this thread that each decision took."""
    unfair: list[str] = field(default_factory=list)
    """Starts on what an IMMEDIATE job waited for."""

    @property
    def use(self) -> float:
        """Share of the devices in use under a backlog."""
        return self.busy / self.backlogged if self.backlogged else 1.0


def dice(seed: int) -> random.Random:
    """The same numbers for the same seed."""
    return random.Random(seed)  # noqa: S311 - no secret


def job(number: int, rng: random.Random, priority: int, since: float = 0.0) -> Waiting:
    """A job of the mix, of one of twenty applications, a few of which send most."""
    (name,) = rng.choices(list(MIX), weights=list(MIX.values()))
    need, seconds = PIPELINES[name]
    application = f"AE{min(int(rng.expovariate(0.25)), 19)}"
    return Waiting(f"{number:06d}", priority, need, application, name, seconds + GRACE, since)


class Simulation:
    """Runs ``arrivals`` until all have ended; ``lasts``: shares of the time-out that jobs take."""

    def __init__(
        self,
        arrivals: Iterable[Waiting],
        rng: random.Random,
        *,
        machine: Capacity = MACHINE,
        rules: Rules = EVEN,
        lasts: tuple[float, float] = (0.1, 0.9),
    ) -> None:
        self.arrivals = sorted(arrivals, key=lambda each: each.order)
        self.rng = rng
        self.machine = machine
        self.rules = rules
        self.lasts = lasts
        self.promises: dict[str, float] = {}
        self.backlog = Backlog()
        self.running: dict[str, Held] = {}
        self.history = History()
        self.outcome = Outcome()
        self.now = 0.0

    def run(self) -> Outcome:
        ends: list[tuple[float, str]] = []
        coming = iter(self.arrivals)
        following = next(coming, None)
        while following is not None or ends:
            upcoming = [each[0] for each in ends[:1]]
            upcoming += [] if following is None else [following.since]
            self._advance(max(self.now, min(upcoming)))
            while following is not None and following.since <= self.now:
                self.backlog.add(following)
                following = next(coming, None)
            while ends and ends[0][0] <= self.now:
                del self.running[heapq.heappop(ends)[1]]
            for start in self.decide():
                seconds = (start.job.seconds - GRACE) * self.rng.uniform(*self.lasts)
                heapq.heappush(ends, (self.now + seconds, start.job.job_id))
        assert len(self.backlog) == 0, "jobs wait and nothing runs"
        return self.outcome

    def _advance(self, until: float) -> None:
        # One that needs a single device could always use one that idles.
        waits = any(
            bunch[0].need.gpus == 1
            for (priority, _), bunches in self.backlog.lines.items()
            if priority != IMMEDIATE
            for bunch in bunches.values()
        )
        if waits:
            devices = sum(held.need.gpus for held in self.running.values())
            self.outcome.busy += devices * (until - self.now)
            self.outcome.backlogged += len(self.machine.gpus) * (until - self.now)
        self.now = until

    def decide(self) -> tuple[Start, ...]:
        begin = time.thread_time()
        decided = plan(
            self.backlog, list(self.running.values()), self.machine, self.rules, self.history,
            self.now,
        )  # fmt: skip
        self.outcome.decisions.append(time.thread_time() - begin)
        self.history = decided.history
        if decided.reserved is not None and decided.earliest is not None:
            self.promises.setdefault(decided.reserved, decided.earliest)
        for start in decided.starts:
            self._check(start)
            self._start(start)
        return decided.starts

    def _check(self, start: Start) -> None:
        free = self.free()
        assert fits(start.job.need, free), "more is started than the machine holds"
        if start.job.priority == IMMEDIATE:
            return
        for bunch in (
            bunch
            for (priority, _), bunches in self.backlog.lines.items()
            if priority == IMMEDIATE
            for bunch in bunches.values()
        ):
            for waiting in bunch:
                free = set_aside(waiting.need, free)
        if not fits(start.job.need, free):
            self.outcome.unfair.append(start.job.job_id)

    def free(self) -> Need:
        free = Need(self.machine.cpu, self.machine.memory_mb, len(self.machine.gpus))
        for held in self.running.values():
            free = set_aside(held.need, free)
        return free

    def _start(self, start: Start) -> None:
        waiting = start.job
        taken = [index for held in self.running.values() for index in held.gpus]
        assert not set(taken) & set(start.gpus), "a device is given twice"
        assert len(start.gpus) == waiting.need.gpus
        self.backlog.remove(waiting.job_id)
        self.running[waiting.job_id] = Held(
            waiting.job_id, waiting.need, start.gpus, self.now + waiting.seconds,
            waiting.priority, waiting.application, waiting.pipeline,
        )  # fmt: skip
        self.outcome.starts.append((self.now, start))
        self.outcome.waits[waiting.job_id] = self.now - waiting.since


def shares(outcome: Outcome, weights: dict[int, float], queued: Counter[int]) -> dict[int, float]:
    """Each priority's starts over what its weight gives it, while all of them queue."""
    left, starts = Counter(queued), Counter[int]()
    for _, start in outcome.starts:
        if any(left[priority] == 0 for priority in weights):
            break
        left[start.job.priority] -= 1
        starts[start.job.priority] += 1
    total, whole = sum(starts[p] for p in weights), sum(weights.values())
    return {p: starts[p] / (total * weights[p] / whole) for p in weights}
