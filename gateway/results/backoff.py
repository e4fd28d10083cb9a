"""How long to wait before the next try: exponential, capped, with full jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass

_MOST_DOUBLINGS = 32


@dataclass(frozen=True)
class Backoff:
    """Waits that double from try to try; full jitter keeps many gateways from trying at once."""

    base_seconds: float = 2.0
    """The longest wait after the first failure."""
    cap_seconds: float = 300.0
    """No wait is longer."""

    def longest(self, failures: int) -> float:
        """The longest wait after ``failures`` failures in a row (at least one)."""
        doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
        return min(self.cap_seconds, self.base_seconds * float(2**doublings))

    def wait(self, failures: int) -> float:
        """A wait drawn evenly from 0 to :meth:`longest` seconds."""
        return random.uniform(0, self.longest(failures))  # noqa: S311 - spreads load, no secret
