"""What is generated and when: the plan of a run, the same again for the same seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.errors import Refused


class BadPlan(Refused):
    """The options of a run contradict each other."""


@dataclass(frozen=True)
class Piece:
    """One job or study to generate."""

    number: int
    """Counts from 1."""
    source: int
    """Which of the sources it is made of."""
    priority: str
    due: float
    """When it begins: seconds after the run began; 0 for all where there is no rate."""


@dataclass(frozen=True)
class Plan:
    """How much, how fast, of what; raises :class:`BadPlan`."""

    sources: int = 1
    """How many sources there are to draw from."""
    count: int | None = None
    """Pieces at most; None = only ``duration`` ends the run."""
    duration: float | None = None
    """Seconds after which nothing new begins."""
    interval: float = 0.0
    """Seconds from one beginning to the next; 0 = as soon as there is a free worker."""
    sequence: bool = False
    """Take the sources in turn instead of at random."""
    priorities: Mapping[str, float] = field(default_factory=lambda: {"normal": 1.0})
    """Priorities and how often each is drawn, in proportion."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count is None and self.duration is None:
            raise BadPlan("a run needs an end: a count or a duration")
        if self.sources < 1:
            raise BadPlan("there is nothing to generate from")
        weights = self.priorities.values()
        if any(weight < 0 for weight in weights) or sum(weights) <= 0:
            raise BadPlan("the weights of priorities are numbers from 0 on, one of them above it")

    def pieces(self) -> Iterator[Piece]:
        """Every piece in order of its number; endless only if nothing but the clock ends it."""
        draw = random.Random(self.seed)  # noqa: S311 - to be the same again, not to be secret
        names, weights = list(self.priorities), list(self.priorities.values())
        for number in itertools.count(1):
            due = (number - 1) * self.interval
            if self.count is not None and number > self.count:
                return
            if self.duration is not None and due >= self.duration:
                return
            # Drawn in any case: the priorities of a seed do not hang on the order of sources.
            drawn = draw.randrange(self.sources)
            source = (number - 1) % self.sources if self.sequence else drawn
            yield Piece(number, source, draw.choices(names, weights)[0], due)
