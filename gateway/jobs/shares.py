"""Who is next by right: priorities share the starts by weight, applications share them evenly.

Stride scheduling on two levels.  Each start of a priority moves its *pass* on by one over its
weight, each start of an application (within its priority) by one; the lowest pass is next.
Whoever comes back from having nothing to start claims no arrears, and keeps what it had in
advance.  Pure: the passes come from a :class:`History` and go into the next one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class History:
    """What earlier decisions leave to later ones."""

    priorities: Mapping[int, float] = field(default_factory=dict)
    applications: Mapping[tuple[int, str], float] = field(default_factory=dict)
    present: frozenset[int | tuple[int, str]] = frozenset()
    """Priorities and applications that had something to start at the last decision."""
    line: tuple[str, ...] = ()
    """Jobs that did not fit when it was their turn, in the order in which that happened."""

    def as_json(self) -> dict[str, Any]:
        """What :meth:`of_json` reads."""
        return {
            "priorities": sorted(self.priorities.items()),
            "applications": [[*key, each] for key, each in sorted(self.applications.items())],
            "present": [p for p in self.present if isinstance(p, int)],
            "present_applications": [list(p) for p in self.present if not isinstance(p, int)],
            "line": list(self.line),
        }

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> History:
        """The history that was written; an empty mapping is the first one."""
        return cls(
            dict(data.get("priorities", ())),
            {(priority, name): each for priority, name, each in data.get("applications", ())},
            frozenset(data.get("present", ()))
            | {(priority, name) for priority, name in data.get("present_applications", ())},
            tuple(data.get("line", ())),
        )


class Shares:
    """The passes during one decision."""

    def __init__(
        self, history: History, weights: Mapping[int, float], present: set[tuple[int, str]]
    ) -> None:
        """``present``: the priorities and applications that have something to start now."""
        self._weights = weights
        self._present = frozenset(present) | {priority for priority, _ in present}
        priorities = {priority for priority, _ in present}
        self._priorities = _settled(history.priorities, priorities, history.present)
        self._applications: dict[tuple[int, str], float] = {}
        for priority in set(weights):
            mine = {key: p for key, p in history.applications.items() if key[0] == priority}
            here = {key for key in present if key[0] == priority}
            self._applications |= _settled(mine, here, history.present)

    def priority(self, priority: int) -> tuple[float, int]:
        """What orders priorities: the lowest is next."""
        return (self._priorities[priority], -priority)

    def application(self, priority: int, name: str) -> float:
        """What orders the applications of a priority: the lowest is next."""
        return self._applications[priority, name]

    def count(self, priority: int, application: str) -> None:
        """Count one start."""
        self._priorities[priority] += 1 / self._weights[priority]
        self._applications[priority, application] += 1

    def history(self, line: tuple[str, ...]) -> History:
        """What the next decision begins with."""
        return History(self._priorities, self._applications, self._present, line)


def _settled(
    passes: Mapping[Key, float], present: set[Key], before: frozenset[Any]
) -> dict[Key, float]:
    """The passes now: whoever was away begins where the last of those that stayed is.

    One that is away is remembered only while it is ahead of them.
    """
    stayed = [passes[key] for key in present if key in before and key in passes]
    floor = min(stayed, default=0.0)
    settled = {key: each for key, each in passes.items() if key in present or each > floor}
    for key in present:
        if key not in before or key not in settled:
            settled[key] = max(settled.get(key, floor), floor)
    return settled
