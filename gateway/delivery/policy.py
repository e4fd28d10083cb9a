"""How stubborn delivery is."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.results.backoff import Backoff


@dataclass(frozen=True)
class Policy:
    """Numbers of delivery; tests pass smaller ones."""

    backoff: Backoff = field(default_factory=Backoff)
    """Between tries, per destination after a failed association, else per result."""
    circuit_limit: int = 3
    """Failed associations in a row that open a destination's circuit."""
    permanent_tries: int = 5
    """Tries of a file that the destination answers with a permanent failure."""
    batch: int = 500
    """Most results taken for one association."""
    poll_seconds: float = 1.0
    """Longest time until due work is seen without a wake-up."""
    stop_seconds: float = 10.0
    """How long a stop waits for associations to end by themselves."""
