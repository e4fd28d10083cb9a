"""The warm parents of this process: one for each image and number of cores, started when wanted."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.executors import interpreter
from gateway.executors.environment import base
from gateway.executors.images import Program
from gateway.executors.sandbox import Bubblewrap, Plan, SandboxError
from gateway.executors.warm.held import WarmSandbox, hold
from gateway.executors.warm.parent import Parent, Recipe
from gateway.executors.warm.spec import Spec, spec_of

log = logging.getLogger(__name__)

IDLE_SECONDS = 900.0
"""A parent that nobody forked for so long is stopped."""
MOST_PARENTS = 12
"""Parents at once; the one that is idle longest makes room."""
RETRY_SECONDS = 60.0
"""Before a parent that could not be made is tried again."""


@dataclass(frozen=True)
class Failure:
    """Why an image starts cold."""

    name: str
    reason: str
    at: float
    """On the monotonic clock."""


class Parents:
    """Finds, starts and stops parents; any thread."""

    def __init__(self, bwrap: Bubblewrap, idle_seconds: float = IDLE_SECONDS) -> None:
        self._bwrap = bwrap
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._parents: dict[Recipe, Parent] = {}
        self._failures: dict[Recipe, Failure] = {}
        self._closed = False

    @property
    def mode(self) -> str:
        """One sentence for people: how operators start."""
        with self._lock:
            count = sum(parent.ready for parent in self._parents.values())
            failures = list(self._failures.values())
        text = f"operators in Python start from {count} warm parents"
        return "; ".join([text, *(f"{each.name} starts cold: {each.reason}" for each in failures)])

    def hold(
        self, stack: contextlib.ExitStack, program: Program, plan: Plan, cpu: float, mark: str
    ) -> WarmSandbox | None:
        """A fork that waits in the sandbox of ``plan``; None = start it cold.

        The first start of an image is cold: meanwhile its parent is made.
        """
        spec = None if plan.network else spec_of(program, plan.environ)
        if spec is None:
            return None
        recipe = _recipe(spec, program, cpu)
        parent = self._find(recipe)
        if parent is None:
            return None
        inner = contextlib.ExitStack()
        try:
            sandbox = hold(inner, parent, plan, spec.arguments, mark)
        except (OSError, SandboxError) as error:
            inner.close()
            self._note(recipe, str(error))
            return None
        stack.push(inner)
        return sandbox

    def warm_up(
        self, program: Program, cpu: float, environ: Mapping[str, str], wait: float
    ) -> bool:
        """Start the parent of ``program`` and wait for it; False if it is not to be had."""
        spec = spec_of(program, environ)
        if spec is None:
            return False
        recipe = _recipe(spec, program, cpu)
        self._find(recipe)
        with self._lock:
            parent = self._parents.get(recipe)
        return parent is not None and parent.wait(wait)

    def close(self) -> None:
        """Stop every parent; returns when no process of one is left."""
        with self._lock:
            self._closed = True
            parents = list(self._parents.values())
            self._parents.clear()
        for parent in parents:
            parent.stop()
        for parent in parents:
            parent.join()

    def _find(self, recipe: Recipe) -> Parent | None:
        """The parent, if it is ready; otherwise one is started, or it is known why not."""
        with self._lock:
            if self._closed:
                return None
            parent = self._parents.get(recipe)
            if parent is not None and parent.trouble is not None:
                self._fail(recipe, parent.trouble)
            if parent is not None and (parent.over or (parent.ready and not parent.fresh())):
                # Its running forks end by themselves; what changed on disk is imported anew.
                del self._parents[recipe]
                parent.retire()
                parent = None
            if parent is None:
                self._start(recipe)
                return None
            if not parent.ready:
                return None
            self._failures.pop(recipe, None)
            return parent

    def _start(self, recipe: Recipe) -> None:
        failure = self._failures.get(recipe)
        if failure is not None and time.monotonic() - failure.at < RETRY_SECONDS:
            return
        if len(self._parents) >= MOST_PARENTS and not self._make_room():
            return
        self._parents[recipe] = Parent(self._bwrap, recipe, self._idle_seconds)

    def _make_room(self) -> bool:
        idle = [
            (since, recipe)
            for recipe, parent in self._parents.items()
            if (since := parent.idle_since) is not None
        ]
        if not idle:
            return False
        _, recipe = min(idle, key=lambda each: each[0])
        self._parents.pop(recipe).stop()
        return True

    def _note(self, recipe: Recipe, reason: str) -> None:
        with self._lock:
            self._fail(recipe, reason)

    def _fail(self, recipe: Recipe, reason: str) -> None:
        if recipe not in self._failures:
            log.warning("%s starts cold: %s", recipe.name, reason)
        self._failures[recipe] = Failure(recipe.name, reason, time.monotonic())


def _recipe(spec: Spec, program: Program, cpu: float) -> Recipe:
    environ = {**base(cpu), **program.env}
    return Recipe(
        spec.interpreter,
        spec.kind,
        spec.name,
        program.folder,
        tuple(sorted(environ.items())),
        tuple(dict.fromkeys([*interpreter.visible(), *map(Path, program.visible)])),
    )
