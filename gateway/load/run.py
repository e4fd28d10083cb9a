"""Runs a plan: so many workers, each piece not before it is due.

Open loop: a piece's due time does not hang on how the ones before went.  When the target is slower
than the plan the workers fall behind, and the lag says by how much, apart from the latency.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from gateway.load.plan import Piece, Plan
from gateway.load.report import Outcome, Report


class Generator(Protocol):
    """Makes pieces; called from every worker."""

    def prepare(self, piece: Piece) -> Callable[[], Outcome]:
        """Do what may be done before the piece is due; calling the result is what is measured.

        Neither raises for what a peer or a file has wrong: the outcome says it.
        """


def run(
    plan: Plan,
    generator: Generator,
    workers: int = 1,
    on_done: Callable[[Report], None] | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Run ``plan`` to its end or until ``stop`` is set; returns when every worker has ended.

    ``on_done`` is called after each piece, one call at a time.  What a worker did not expect is
    raised here, after the others have ended.
    """
    going = _Run(plan, generator, on_done, stop or threading.Event())
    threads = [
        threading.Thread(target=going.work, name=f"load-{number}") for number in range(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        going.stop.set()
        for thread in threads:
            thread.join()
    if going.fault is not None:
        raise going.fault
    return going.report


class _Run:
    """What the workers share."""

    def __init__(
        self,
        plan: Plan,
        generator: Generator,
        on_done: Callable[[Report], None] | None,
        stop: threading.Event,
    ) -> None:
        self.report = Report()
        self.stop = stop
        self.fault: Exception | None = None
        self._pieces: Iterator[Piece] = plan.pieces()
        self._paced = plan.interval > 0
        self._end = float("inf") if plan.duration is None else plan.duration
        self._generator = generator
        self._on_done = on_done
        self._lock = threading.Lock()
        self._began = time.perf_counter()

    def work(self) -> None:
        """Take pieces until there are none."""
        try:
            while (piece := self._next()) is not None:
                self._one(piece)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: kept and raised by run
            self.fault = error
            self.stop.set()

    def _next(self) -> Piece | None:
        with self._lock:
            if self.stop.is_set() or self._now() >= self._end:
                return None
            return next(self._pieces, None)

    def _one(self, piece: Piece) -> None:
        act = self._generator.prepare(piece)
        if self.stop.wait(max(0.0, piece.due - self._now())):
            return
        lag = self._now() - piece.due if self._paced else None
        outcome = act()
        with self._lock:
            self.report.note(outcome, piece.priority, lag)
            self.report.seconds = self._now()
            if self._on_done is not None:
                self._on_done(self.report)

    def _now(self) -> float:
        return time.perf_counter() - self._began
