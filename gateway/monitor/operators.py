"""What the running operators use, told from the processes of this machine.

Every engine gives an operator a process namespace of its own and names its job and operator in
its environment (contract, section 5).  So whatever runs in such a namespace is that operator's,
whichever engine and whichever gateway process started it.  A name counts only when the records
say that the job has such an operator: labels stay few, and ours.

Used by one thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import sqlalchemy as sa

from gateway.database.engine import Database
from gateway.database.schema import jobs, operators, pipelines
from gateway.executors import procfs
from gateway.monitor import proc

MAX_LABELS = 1000
"""Most pairs of pipeline and operator that are kept apart; further ones are added up."""
OTHER = ("other", "other")
"""Labels of the further ones."""

_TRIES = 40
"""Looks at a namespace until it is taken for somebody else's."""
_JOB_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class OperatorRun:
    """One operator of one job."""

    job_id: str
    pipeline: str
    operator: str


@dataclass
class Totals:
    """What one operator of one pipeline used in all its runs since the gateway looks."""

    cpu_seconds: float = 0.0
    peak_memory: int = 0
    """Bytes: the highest of any one run."""


@dataclass(frozen=True)
class Usage:
    """What one run uses now."""

    run: OperatorRun
    processes: int
    cpu_seconds: float
    memory: int
    """Bytes (PSS), as of the last look at memory."""


class Lookup:
    """Asks the records whether a job has an operator of a name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, job_id: str, operator: str) -> OperatorRun | None:
        """The operator's run; None when there is no such job or operator."""
        query = (
            sa.select(pipelines.c.name)
            .select_from(operators)
            .join(jobs, jobs.c.id == operators.c.job_id)
            .join(pipelines, pipelines.c.id == jobs.c.pipeline_id)
            .where(operators.c.job_id == job_id, operators.c.name == operator)
            .limit(1)
        )
        with self._database.read() as connection:
            pipeline = connection.scalar(query)
        return None if pipeline is None else OperatorRun(job_id, pipeline, operator)


@dataclass
class _Space:
    """One process namespace that is not ours."""

    pids: set[int] = field(default_factory=set)
    run: OperatorRun | None = None
    tries: int = 0
    running: int = 0
    """Processes that have not ended; their numbers may outlive them for a while."""
    cpu_seconds: float = 0.0
    memory: int = 0


class OperatorWatch:
    """Follows the processes of operators; looks are the caller's to time."""

    def __init__(self, lookup: Callable[[str, str], OperatorRun | None]) -> None:
        self._lookup = lookup
        self._own = procfs.namespace(os.getpid())
        self._space_of: dict[int, str | None] = {}
        self._spaces: dict[str, _Space] = {}
        self._totals: dict[tuple[str, str], Totals] = {}

    def look(self, pids: Collection[int]) -> None:
        """Take in which processes there are (``pids``, all of this machine) and their CPU time.

        Processes that operators started and saw end are counted with those that waited for them.
        What an operator uses between the last look and its end is not.
        """
        here = set(pids)
        for pid in self._space_of.keys() - here:
            self._forget(pid)
        for pid in here - self._space_of.keys():
            self._take_in(pid)
        for space in self._spaces.values():
            if space.run is None:
                self._identify(space)
            if space.run is not None:
                self._count_cpu(space, space.run)

    def look_at_memory(self) -> None:
        """Take in how much memory they hold now."""
        for space in self._spaces.values():
            if space.run is not None:
                space.memory = sum(map(procfs.memory_of, space.pids))
                totals = self._totals_of(space.run)
                totals.peak_memory = max(totals.peak_memory, space.memory)

    def run_of(self, pid: int) -> OperatorRun | None:
        """Whose process it is; None = no operator's."""
        if pid not in self._space_of:
            self._take_in(pid)
        name = self._space_of[pid]
        if name is None:
            return None
        space = self._spaces[name]
        if space.run is None:
            self._identify(space)
        return space.run

    def usages(self) -> tuple[Usage, ...]:
        """What runs now."""
        return tuple(
            Usage(space.run, space.running, space.cpu_seconds, space.memory)
            for space in self._spaces.values()
            if space.run is not None and space.running
        )

    def totals(self) -> dict[tuple[str, str], Totals]:
        """A copy of what was used, by pipeline and operator."""
        return {
            labels: Totals(totals.cpu_seconds, totals.peak_memory)
            for labels, totals in self._totals.items()
        }

    def labels_of(self, run: OperatorRun) -> tuple[str, str]:
        """Pipeline and operator as metrics name them."""
        labels = (run.pipeline, run.operator)
        return labels if labels in self._totals or len(self._totals) < MAX_LABELS else OTHER

    def _forget(self, pid: int) -> None:
        name = self._space_of.pop(pid)
        if name is None:
            return
        space = self._spaces[name]
        space.pids.discard(pid)
        if not space.pids:
            del self._spaces[name]

    def _take_in(self, pid: int) -> None:
        name = procfs.namespace(pid)
        if name == self._own:
            name = None
        self._space_of[pid] = name
        if name is not None:
            self._bury(name)
            space = self._spaces.setdefault(name, _Space())
            space.pids.add(pid)
            space.tries = 0

    def _bury(self, name: str) -> None:
        """Forget a namespace that has ended: the kernel gives its name to the next one at once.

        Its processes may still be listed, until somebody takes note that they ended.
        """
        space = self._spaces.get(name)
        if space is None or any(procfs.namespace(pid) == name for pid in space.pids):
            return
        for pid in space.pids:
            self._space_of[pid] = None
        del self._spaces[name]

    def _identify(self, space: _Space) -> None:
        """Read whose it is; a process has its environment only after its program is executed."""
        if space.tries >= _TRIES:
            return
        space.tries += 1
        for pid in space.pids:
            named = _named(pid)
            run = None if named is None else self._lookup(*named)
            if run is not None:
                space.run = run
                return

    def _count_cpu(self, space: _Space, run: OperatorRun) -> None:
        lives = [proc.life(pid) for pid in space.pids]
        space.running = sum(runs for runs, _ in lives)
        seconds = sum(seconds for _, seconds in lives)
        if seconds > space.cpu_seconds:
            self._totals_of(run).cpu_seconds += seconds - space.cpu_seconds
            space.cpu_seconds = seconds

    def _totals_of(self, run: OperatorRun) -> Totals:
        return self._totals.setdefault(self.labels_of(run), Totals())


def _named(pid: int) -> tuple[str, str] | None:
    """Job and operator as the process's environment names them."""
    job_id = operator = ""
    for entry in proc.environment(pid):
        name, _, value = entry.partition(b"=")
        if name == b"NVIDIA_CLARA_JOBID":
            job_id = value.decode("ascii", "replace")
        elif name == b"NVIDIA_CLARA_STAGENAME":
            operator = value.decode("utf-8", "replace")
    return (job_id, operator) if operator and _JOB_ID.fullmatch(job_id) else None
