"""What the scheduler asks of an engine that runs jobs, and what the engine reports.

An engine gets a whole job (some engines run it as one Pod) and reports each operator's start and
end.  It keeps no record of its own: after a restart :meth:`Executor.reap` ends whatever a dead
attempt left behind, and the scheduler starts the next attempt; of an engine whose jobs outlive the
gateway (:class:`Lasting`) the scheduler carries the attempt on instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from gateway.pipelines.model import Definition


class Stop(StrEnum):
    """Why a running job is ended from outside."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    """The gateway stops: the attempt is given up and rerun after the next start.

    A :class:`Lasting` engine only turns away from it, and the next start carries it on.
    """


class End(StrEnum):
    """How an operator ended."""

    COMPLETED = "completed"
    EXIT_CODE = "exit-code"
    OUT_OF_MEMORY = "out-of-memory"
    IMAGE_MISSING = "image-missing"
    OUTPUT_MISSING = "output-missing"
    OUTPUT_UNSAFE = "output-unsafe"
    """A link or special file in its output that leads out of it."""
    STOPPED = "stopped"
    """Ended from outside: time-out, cancel, or another operator failed."""
    REFUSED = "refused"
    """Found by the scheduler, not by an engine: an input that is gone, a bad registration."""
    LOST = "lost"
    """The engine or node went away: transient."""


@dataclass(frozen=True)
class JobRun:
    """One attempt of one job, ready to run.

    ``folder`` is the job payload (``<data-dir>/payloads/<id>``): ``input/`` is there and
    read-only; the engine makes ``operators/<operator>/[<output>/]``, empty at the attempt's start
    but for those of ``kept``.
    ``logs`` names the log file of each operator.
    """

    job_id: str
    attempt: int
    name: str
    payload_id: str
    correlation_id: str
    definition: Definition
    folder: Path
    logs: Mapping[str, Path]
    gpus: tuple[int, ...]
    """Indices of the devices that are this job's alone."""
    grace_seconds: float
    kept: frozenset[str] = frozenset()
    """Operators that completed in an earlier attempt: their outputs are there and stay, they are
    not started and not reported."""
    priority: str = "normal"
    """``lower``, ``normal``, ``higher`` or ``immediate``."""
    resumed: bool = False
    """The attempt began under another gateway process, and the engine has it still: it is carried
    on, all its reports are made again, and nothing is begun anew."""


@dataclass(frozen=True)
class OperatorEnd:
    """How and why one operator ended."""

    end: End
    reason: str
    exit_code: int | None = None


class Report(Protocol):
    """What an engine calls while a job runs; from any thread, one call at a time per operator."""

    def operator_started(self, operator: str, at: float, image: str | None = None) -> None:
        """The operator's program was executed at ``at`` (seconds since the epoch).

        ``image``: what runs, by digest, where the engine runs images.
        """

    def operator_stopped(self, operator: str, at: float, end: OperatorEnd) -> None:
        """The operator's last process ended; its outputs are complete and checked."""

    def noticed(self, at: float, reason: str, message: str, *, hinders: bool = False) -> None:
        """The engine told something about the job, in its own words, without patient data.

        ``hinders``: the job cannot go on because of it.
        """


class JobHandle(Protocol):
    """A job that an engine runs."""

    def stop(self, why: Stop) -> None:
        """Begin to end the whole process tree: politely, after the grace by force.  Idempotent."""

    def done(self) -> bool:
        """True when no process of the job is left and every report was made."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait for :meth:`done`; True if it is."""


class Executor(Protocol):
    """An engine."""

    @property
    def name(self) -> str:
        """``process``, ``container``, ``kubernetes`` or ``argo``."""

    def check(self) -> list[str]:
        """Say what keeps the engine from working, one sentence each; empty = all is well."""

    def start(self, run: JobRun, report: Report, done: Callable[[], None]) -> JobHandle:
        """Start an attempt and return at once; ``done`` is called (any thread) when it ended.

        An operator whose upstream failed is not started and not reported.  After the first
        operator that does not complete, the rest are stopped.
        """

    def reap(self, job_id: str, attempt: int) -> None:
        """End every process a dead attempt left behind; returns when none is left."""


@runtime_checkable
class Lasting(Protocol):
    """An engine whose jobs go on without the gateway."""

    def has(self, job_id: str, attempt: int) -> bool:
        """True when the engine has that attempt, in work or ended.

        :meth:`Executor.start` with :attr:`JobRun.resumed` carries it on.  Raises
        :class:`~gateway.errors.GatewayError` when nobody can tell.
        """
