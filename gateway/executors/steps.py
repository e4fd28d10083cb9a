"""What an engine of one machine gives to the walk through a job: how one operator runs."""

from __future__ import annotations

from typing import Protocol

from gateway.executors.stopping import StopFlag
from gateway.jobs.executor import JobRun, OperatorEnd
from gateway.pipelines.model import Operator


class Started(Protocol):
    """Called as soon as an operator's program executes."""

    def __call__(self, at: float, image: str | None = None) -> None:
        """``at``: seconds since the epoch; ``image``: what runs, by digest, where there is one."""


class Steps(Protocol):
    """An engine, operator by operator; called from any thread."""

    def obstacle(self, run: JobRun) -> tuple[Operator, OperatorEnd] | None:
        """The first operator that can never run here, and why; asked before any of them starts."""

    def run(
        self,
        run: JobRun,
        operator: Operator,
        devices: tuple[int, ...],
        stop: StopFlag,
        started: Started,
    ) -> OperatorEnd:
        """Run one operator to its end, again as often as it allows while it is lost.

        Returns when no process of it is left and its outputs are checked.
        """
