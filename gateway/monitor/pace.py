"""Looks that take at most a given share of a core, however long each of them takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

MOST_SECONDS = 15.0
"""A look is taken at least this often, whatever it costs."""
_FAILED_SECONDS = 10.0


@dataclass
class Pace:
    """One kind of look: how often it is wanted, and how much of a core it may take."""

    name: str
    look: Callable[[], None]
    seconds: float
    """Between two looks, while they are cheap enough."""
    share: float
    """Most of one core that it may take on the average."""
    due: float = 0.0
    """Monotonic time of the next one."""
    _first: bool = True
    _failing: bool = False

    def take(self) -> None:
        """Look, and decide when to look again; an error is logged once until a look succeeds."""
        began, used = time.monotonic(), time.thread_time()
        wait = self.seconds
        try:
            self.look()
            self._failing = False
        except Exception:  # the boundary of a look: the others go on, and it is tried again
            if not self._failing:
                log.exception("a look at the machine failed", extra={"look": self.name})
            self._failing = True
            wait = _FAILED_SECONDS
        # The first look meets everything anew: what it takes says nothing of the next.
        took = 0.0 if self._first else time.thread_time() - used
        self._first = False
        self.due = began + max(wait, min(took / self.share, MOST_SECONDS))
