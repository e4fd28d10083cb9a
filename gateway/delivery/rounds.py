"""What both workers of this room are: a loop that looks for due work, and threads that do it.

Each peer that has some gets a thread of its own, so a slow or hanging one holds up nobody else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable

from gateway.delivery.crashes import log_crash
from gateway.events.wake import Topic, Wakeups

log = logging.getLogger(__name__)


class Rounds:
    """Runs the loop and keeps its threads; :meth:`stop` may be called from any thread."""

    def __init__(
        self, wakeups: Wakeups, topic: Topic, *, poll_seconds: float, stop_seconds: float
    ) -> None:
        """``topic`` wakes the loop, ``poll_seconds`` is the longest time without a look.

        ``stop_seconds``: how long a stop waits for the threads.
        """
        self._wakeups = wakeups
        self._topic = topic
        self._poll_seconds = poll_seconds
        self._stop_seconds = stop_seconds
        self._stop = threading.Event()
        self._threads: dict[Hashable, threading.Thread] = {}

    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    def pause(self) -> None:
        """Wait as long as the loop does between two looks, or until :meth:`stop`."""
        self._stop.wait(self._poll_seconds)

    def run(self, look: Callable[[], None], what: str) -> None:
        """Call ``look`` until :meth:`stop`; returns when every thread has ended.

        ``what`` is logged when a look fails.
        """
        while not self.stopping():
            try:
                look()
            except Exception as error:  # noqa: BLE001 - the worker outlives a full disk
                log_crash(log, what, error)
            self._wakeups.wait(self._topic, self._poll_seconds)
        deadline = time.monotonic() + self._stop_seconds
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Let :meth:`run` return after what is now on the wire."""
        self._stop.set()
        self._wakeups.notify(self._topic)

    def begin(self, key: Hashable, name: str, work: Callable[[], None]) -> None:
        """Do ``work`` in a thread called ``name`` unless that of ``key`` still runs.

        ``work`` handles its own faults.  The loop looks again when it has ended.
        """
        self._threads = {key: t for key, t in self._threads.items() if t.is_alive()}
        if key in self._threads:
            return
        thread = threading.Thread(target=self._do, args=(work,), name=name, daemon=True)
        self._threads[key] = thread
        thread.start()

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._wakeups.notify(self._topic)
