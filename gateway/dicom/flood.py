"""Keeps a flood of refused callers from filling the records and the database's write queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_MAX_HOSTS = 1024


class RejectionBudget:
    """A token bucket per peer address; callable from any thread.

    Each record of a rejection is a durable transaction in the same queue as the index of a
    working modality.  An address may write ``burst`` at once and ``rate`` a second after that;
    what is over is counted and told with its next record.
    """

    def __init__(
        self, rate: float = 5.0, burst: int = 20, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._hosts: dict[str, tuple[float, float, int]] = {}
        self._lock = threading.Lock()

    def spend(self, host: str) -> int | None:
        """None when this rejection is not to be recorded, else how many were not before it."""
        now = self._clock()
        with self._lock:
            tokens, since, missed = self._hosts.pop(host, (float(self._burst), now, 0))
            tokens = min(float(self._burst), tokens + (now - since) * self._rate)
            granted = tokens >= 1
            # Put back last, so that the first host is the one unseen for longest.
            self._hosts[host] = (tokens - granted, now, 0 if granted else missed + 1)
            if len(self._hosts) > _MAX_HOSTS:
                del self._hosts[next(iter(self._hosts))]
        return missed if granted else None
