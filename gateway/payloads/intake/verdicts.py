"""Answers that only the index can give, brought back to the thread that waits for them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.payloads.receiving import Outcome, Status

PATIENCE = 60.0
"""Longest wait for the index, in seconds."""
_LATE = Outcome(Status.PROCESSING_FAILURE, "the index did not answer in time")


class Verdict:
    """One answer that is awaited."""

    def __init__(self, number: int, patience: float) -> None:
        self.number = number
        self._patience = patience
        self._told = threading.Event()
        self._outcome = _LATE

    def tell(self, outcome: Outcome) -> None:
        """Give the answer."""
        self._outcome = outcome
        self._told.set()

    def wait(self) -> Outcome:
        """The answer, or a failure when none comes in time."""
        self._told.wait(self._patience)
        return self._outcome


class Verdicts:
    """The answers that one receiver awaits; callable from any thread."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Verdict] = {}

    @contextmanager
    def expected(self) -> Iterator[Verdict]:
        """An answer that will be awaited; its number goes into the record."""
        verdict = Verdict(next(self._numbers), self._patience)
        self._waiting[verdict.number] = verdict
        try:
            yield verdict
        finally:
            del self._waiting[verdict.number]

    def tell(self, number: int, outcome: Outcome) -> None:
        """Give the answer to ``number``; nothing when nobody waits for it any more."""
        verdict = self._waiting.get(number)
        if verdict is not None:
            verdict.tell(outcome)
