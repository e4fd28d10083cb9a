"""What a run has to tell: rate, latencies, failures."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PERCENTILES = (50, 90, 95, 99)
MOST_REASONS = 20
"""How many different reasons of failures a report tells."""


@dataclass(frozen=True)
class Outcome:
    """How one piece went."""

    times: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Seconds each step took; a step may happen several times in a piece."""
    bytes: int = 0
    error: str | None = None
    """Why it failed, without patient data; None = it went well."""


class Report:
    """Gathers outcomes; one caller at a time."""

    def __init__(self) -> None:
        self.done = 0
        self.failures = 0
        self.seconds = 0.0
        """From the run's beginning to the end of the last piece."""
        self.bytes = 0
        self.priorities: Counter[str] = Counter()
        self._times: dict[str, array[float]] = {}
        self._reasons: Counter[str] = Counter()

    def note(self, outcome: Outcome, priority: str, lag: float | None) -> None:
        """Take in one piece, begun ``lag`` seconds after it was due; None = none was due."""
        self.done += 1
        self.bytes += outcome.bytes
        self.priorities[priority] += 1
        late = {} if lag is None else {"lag": [lag]}
        for step, times in {**outcome.times, **late}.items():
            self._times.setdefault(step, array("d")).extend(times)
        if outcome.error is not None:
            self.fail(outcome.error)

    def fail(self, reason: str) -> None:
        """Count a failure."""
        self.failures += 1
        if reason in self._reasons or len(self._reasons) < MOST_REASONS:
            self._reasons[reason] += 1

    def body(self) -> dict[str, Any]:
        """All of it, snake_case; times in milliseconds but for ``seconds``."""
        seconds = self.seconds
        return {
            "generated": self.done,
            "failures": self.failures,
            "errors": [
                {"reason": reason, "count": count} for reason, count in self._reasons.most_common()
            ],
            "seconds": round(seconds, 3),
            "rate_per_second": round(self.done / seconds, 3) if seconds else None,
            "bytes": self.bytes,
            "megabytes_per_second": round(self.bytes / seconds / 1e6, 3) if seconds else None,
            "priorities": dict(self.priorities),
            "latency_ms": {step: spread(times) for step, times in self._times.items()},
        }


def spread(times: Sequence[float]) -> dict[str, float | int]:
    """Count, mean, percentiles (nearest rank) and maximum of seconds, in milliseconds."""
    ordered = sorted(times)
    found: dict[str, float | int] = {"count": len(ordered)}
    if not ordered:
        return found
    found["mean"] = _ms(sum(ordered) / len(ordered))
    for percent in PERCENTILES:
        found[f"p{percent}"] = _ms(ordered[math.ceil(len(ordered) * percent / 100) - 1])
    found["max"] = _ms(ordered[-1])
    return found


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
