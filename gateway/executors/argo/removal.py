"""Ending a Workflow so that certainly nothing of it runs any more, with Argo's help or without."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gateway.executors.argo import status
from gateway.executors.argo.api import Workflows
from gateway.executors.kubernetes.api import (
    ClusterError,
    DeniedError,
    InvalidError,
    NotThereError,
    Object,
)
from gateway.executors.kubernetes.removal import LOST_SECONDS
from gateway.executors.kubernetes.watch import Feed

log = logging.getLogger(__name__)

ARGO_SECONDS = 5.0
"""Longer than its grace and this Argo does not take to end a Workflow: we end its Pods then."""
_LOOK_SECONDS = 1.0


def _nothing(_workflow: Object) -> None:
    """Nobody wants to know."""


def remove(
    workflows: Workflows,
    name: str,
    feed: Feed | None,
    grace: int,
    told: Callable[[Object], None] = _nothing,
) -> None:
    """End the Workflow called ``name``, politely first; returns when nothing of it runs.

    However long the API server is away: as long as nobody can tell, no other attempt may begin.
    ``told`` hears what becomes of it.
    """
    removal = Removal(workflows, name, grace, told)
    while True:
        try:
            if removal.step():
                return
        except ClusterError as error:
            log.warning("a Workflow cannot be ended yet: %s", error)
        if feed is None:
            time.sleep(_LOOK_SECONDS)
        else:
            feed.wait(_LOOK_SECONDS)


class Removal:
    """The end of one Workflow, step by step."""

    def __init__(
        self,
        workflows: Workflows,
        name: str,
        grace: int,
        told: Callable[[Object], None] = _nothing,
    ) -> None:
        self._workflows = workflows
        self._name = name
        self._grace = grace
        self._told = told
        self._asked: float | None = None
        self._ending: dict[str, float] = {}

    def step(self) -> bool:
        """Do what can be done now; True when neither a Workflow nor a running Pod is left.

        The Workflow is looked for first: after that nothing makes a Pod any more.
        """
        there = self._end_workflow()
        running = status.active(self._workflows.pods(self._name))
        if there:
            return False
        for pod in running:
            self._end_pod(pod["metadata"]["name"], idle=_idle(pod))
        return not running

    def _end_workflow(self) -> bool:
        """Ask Argo to end it, then remove its record; True while it is there."""
        try:
            workflow = self._workflows.get(self._name)
        except NotThereError:
            return False
        self._told(workflow)
        now = time.monotonic()
        if self._asked is None:
            if not status.over(workflow):
                self._ask()
            self._asked = now
        patience = self._asked + self._grace + ARGO_SECONDS
        waiting = status.active(self._workflows.pods(self._name)) and now < patience
        if status.over(workflow) or not waiting:
            self._workflows.delete(self._name, 0)
        return True

    def _ask(self) -> None:
        """Let Argo end it; without its help we end the Pods ourselves."""
        try:
            self._workflows.terminate(self._name)
        except (DeniedError, InvalidError) as error:
            log.warning("Argo cannot be asked to end a Workflow: %s", error)

    def _end_pod(self, name: str, *, idle: bool) -> None:
        """Politely first; the record of one whose node does not answer goes without it."""
        now = time.monotonic()
        begun = self._ending.get(name)
        if begun is None:
            # A node is slow to let go of what it could not start, and nothing of it runs.
            self._workflows.end_pod(name, 0 if idle else self._grace)
            self._ending[name] = now
        elif now > begun + self._grace + LOST_SECONDS:
            log.warning("a Pod's node does not answer, its record is removed: %s", name)
            self._workflows.end_pod(name, 0)


def _idle(pod: Object) -> bool:
    """True when no container of the Pod ever ran."""
    told = pod.get("status", {})
    every = [*told.get("initContainerStatuses", ()), *told.get("containerStatuses", ())]
    return not any({"running", "terminated"} & each.get("state", {}).keys() for each in every)
