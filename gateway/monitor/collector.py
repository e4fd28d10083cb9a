"""What every collector of ours does alike: answer from memory until the answer is stale."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

FRESH_SECONDS = 1.0
"""Scrapes closer together than this share one answer."""
LEISURE = 20
"""However many records there are, scraping takes at most one part in so many of the time."""


class FreshCollector(Collector):
    """Reads metric families when the last answer is stale; safe to scrape from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._families: list[Metric] = []
        self._stale_at = 0.0

    def describe(self) -> Iterable[Metric]:
        """Give nothing: registering must read nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family; reads only when the last answer is stale."""
        with self._lock:
            began = time.monotonic()
            if began >= self._stale_at:
                self._families = list(self._read())
                took = time.monotonic() - began
                self._stale_at = began + max(FRESH_SECONDS, LEISURE * took)
            families = self._families
        yield from families

    @abstractmethod
    def _read(self) -> Iterator[Metric]:
        """Every family as it is now; by one thread at a time."""
