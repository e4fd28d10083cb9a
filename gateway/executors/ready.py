"""An operator up to its gate: folders, limits and, where it starts warm, its sandbox.

Warm sandboxes are made while the operators before are still running, so that a pipeline's start
costs the same whatever its length.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.executors.launch import Cell, Guard, conduct, launch
from gateway.executors.limits import Cage
from gateway.executors.sandbox import Bubblewrap, Plan, SandboxError
from gateway.executors.verdict import Outcome
from gateway.jobs.executor import JobRun
from gateway.pipelines.model import Operator

log = logging.getLogger(__name__)

MOST_AHEAD = 4
"""Operators of one job that are made before their turn, at once."""

Identity = tuple[int, int]


@dataclass
class Ready:
    """An operator that can begin; close it when it ended or never will."""

    stack: contextlib.ExitStack
    plan: Plan
    cage: Cage
    cell: Cell | None
    """Its sandbox; None = it starts cold, and the sandbox is made when it begins."""
    sources: tuple[Identity | None, ...] = ()

    def run(
        self, bwrap: Bubblewrap, guard: Guard, mark: str, started: Callable[[float], None]
    ) -> Outcome:
        """Run it; returns when no process of it is left."""
        if self.cell is not None:
            return conduct(self.cell, guard, started)
        return launch(bwrap, self.plan, guard, mark, started)

    @property
    def fresh(self) -> bool:
        """True while the folders that its sandbox shows are those that lie there now."""
        return self.sources == identities(self.plan)

    def close(self) -> None:
        """Give everything back; no process of it is left."""
        self.stack.close()


def identities(plan: Plan) -> tuple[Identity | None, ...]:
    """Which folders ``plan`` shows, told apart from others of the same name."""
    return tuple(_identity(str(bind.source)) for bind in plan.binds)


def _identity(path: str) -> Identity | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Ahead:
    """Makes a job's operators ready before their turn, in the order of its definition.

    One thread, from the first operator's start until :meth:`close`; :meth:`take` from any.
    """

    def __init__(self, run: JobRun, make: Callable[[Operator], Ready | None]) -> None:
        """``make``: returns None for an operator that is to be made when its turn comes."""
        self._operators = [o for o in run.definition.operators if o.name not in run.kept]
        self._make = make
        self._change = threading.Condition()
        self._ready: dict[str, Ready | None] = {}
        self._taken: set[str] = set()
        self._making: str | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def take(self, operator: Operator) -> Ready | None:
        """What was made of ``operator``, once; None = make it now."""
        with self._change:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="job-ahead", daemon=True)
                self._thread.start()
                self._making = self._operators[0].name
            while self._making == operator.name:
                self._change.wait()
            self._taken.add(operator.name)
            ready = self._ready.pop(operator.name, None)
            self._change.notify_all()
        if ready is None or ready.fresh:
            return ready
        # An operator before it was tried again, in a new folder.
        ready.close()
        return None

    def close(self) -> None:
        """Give back what nobody took; returns when nothing of it is left."""
        with self._change:
            self._closed = True
            self._change.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
        for ready in self._ready.values():
            if ready is not None:
                ready.close()
        self._ready.clear()

    def _work(self) -> None:
        for operator in self._operators:
            if not self._turn(operator):
                return
            ready = None
            try:
                if operator.name not in self._taken:
                    ready = self._make(operator)
            except (OSError, SandboxError) as error:
                log.info("operator %s was not made ahead: %s", operator.name, error)
            except Exception:  # a thread's boundary: the operator is made when its turn comes
                log.exception("operator %s was not made ahead", operator.name)
            with self._change:
                self._making = None
                if ready is not None:
                    self._ready[operator.name] = ready
                self._change.notify_all()

    def _turn(self, operator: Operator) -> bool:
        """Wait until one more may be made; False when the job is over."""
        with self._change:
            while len(self._ready) >= MOST_AHEAD and not self._closed:
                self._change.wait()
            if operator.name not in self._taken:
                self._making = operator.name
            if self._closed:
                self._making = None
                self._change.notify_all()
            return not self._closed
