"""Reports of one job, made in order and beside the work they tell of.

A report is a transaction; the next operator must not wait for it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from gateway.jobs.executor import OperatorEnd, Report

log = logging.getLogger(__name__)

_Call = Callable[[], None]


class Reporter:
    """A :class:`Report` that returns at once; its thread makes the calls in the order they came."""

    def __init__(self, report: Report, job_id: str, failed: Callable[[], None]) -> None:
        """``failed``: called when a report raised; the later ones are made all the same."""
        self._report = report
        self._job_id = job_id
        self._failed = failed
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._work, name=f"reports-{job_id[:8]}", daemon=True
        )
        self._thread.start()

    def operator_started(self, operator: str, at: float, image: str | None = None) -> None:
        """Report it soon."""
        self._calls.put(lambda: self._report.operator_started(operator, at, image))

    def operator_stopped(self, operator: str, at: float, end: OperatorEnd) -> None:
        """Report it soon."""
        self._calls.put(lambda: self._report.operator_stopped(operator, at, end))

    def close(self) -> None:
        """Return when every report was made; none may follow."""
        self._calls.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception:  # a thread's boundary: the job is ended instead
                log.exception("a report was not taken", extra={"job": self._job_id})
                self._failed()
