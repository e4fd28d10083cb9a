"""Metrics of how the gateway's parts are doing: what ``/health`` says, as figures.

Part names are those of ``/health``; no detail of a part becomes a label.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.config.settings import StorageSettings
from gateway.database.engine import Database
from gateway.jobs import presence
from gateway.monitor.health import Check, Condition, report

FRESH_SECONDS = 1.0
"""Scrapes closer together than this share one answer."""
_FIGURES = {Condition.OK: 0, Condition.DEGRADED: 1, Condition.DOWN: 2}


class ConditionCollector(Collector):
    """Asks every part; safe to scrape from any thread."""

    def __init__(
        self,
        database: Database,
        storage: StorageSettings,
        checks: Mapping[str, Check],
        backlog: Callable[[], int] | None = None,
    ) -> None:
        """``checks`` may grow after this; ``backlog`` None = receiving is another process's."""
        self._database = database
        self._storage = storage
        self._checks = checks
        self._backlog = backlog
        self._lock = threading.Lock()
        self._families: list[Metric] = []
        self._stale_at = 0.0

    def describe(self) -> Iterable[Metric]:
        """Give nothing: registering must not ask."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family; asks only when the last answer is stale."""
        with self._lock:
            if time.monotonic() >= self._stale_at:
                self._families = list(self._read())
                self._stale_at = time.monotonic() + FRESH_SECONDS
            families = self._families
        yield from families

    def _read(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "gateway_part_condition",
            "How a part of this process is doing: 0 = ok, 1 = degraded, 2 = down",
            labels=["part"],
        )
        for name, part in report(self._checks).parts.items():
            family.add_metric([name], _FIGURES[part.condition])
        yield family
        with self._database.read() as connection:
            living = presence.living(connection)
        yield _one("gateway_schedulers", "Schedulers that are alive, of every process", living)
        waiting = GaugeMetricFamily(
            "gateway_intake_waiting", "Records of received instances that are not in the index yet"
        )
        if self._backlog is not None:
            waiting.add_metric([], self._backlog())
        yield waiting
        yield _one(
            "gateway_storage_watermark_ratio",
            "Fullest the disk of data-dir may be",
            self._storage.watermark_percent / 100,
        )
        yield _one(
            "gateway_storage_reserve_bytes",
            "Least free space of the disk of data-dir",
            self._storage.reserve_gb * 1e9,
        )


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
