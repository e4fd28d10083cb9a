"""Waking a worker when there is work.

A wake is only a hint: every worker works from the records and looks again after its own
timeout, so a lost hint (a crash, another process) costs time, never work.
"""

from __future__ import annotations

import threading
from enum import StrEnum


class Topic(StrEnum):
    """What there may be work of."""

    PAYLOADS = "payloads"
    """An instance was indexed: completion may be near."""
    ROUTING = "routing"
    """A payload became COMPLETE."""
    JOBS = "jobs"
    """A job was queued, ended or is to be cancelled."""
    RESULTS = "results"
    """A result became deliverable; wakes delivery, and :attr:`RENDER` with it."""
    RENDER = "render"
    """A result became deliverable; wakes the render server."""
    EVENTS = "events"
    """An event was recorded; wakes the publisher, and :attr:`JOURNAL` with it."""
    COMMITMENTS = "commitments"
    """A storage commitment is owed, or a notice of one came in."""
    JOURNAL = "journal"
    """An event was recorded; wakes the log."""


class Wakeups:
    """Hints between the rooms of one process; every method may be called from any thread."""

    def __init__(self) -> None:
        self._events = {topic: threading.Event() for topic in Topic}

    def notify(self, *topics: Topic) -> None:
        """Wake the workers of ``topics``; call it after the transaction committed."""
        for topic in topics:
            self._events[topic].set()
            if topic is Topic.EVENTS:
                self._events[Topic.JOURNAL].set()
            if topic is Topic.RESULTS:
                self._events[Topic.RENDER].set()

    def wait(self, topic: Topic, timeout: float) -> bool:
        """Wait for work of ``topic``, at most ``timeout`` seconds; True when woken.

        One worker per topic: the hint is taken back before returning.
        """
        woken = self._events[topic].wait(timeout)
        self._events[topic].clear()
        return woken
