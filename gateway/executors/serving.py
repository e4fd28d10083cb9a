"""What an engine needs to know of services: how an operator gets its connections.

The services themselves, which outlive operators and jobs, are another room's; engines see this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import Permanent, Transient
from gateway.executors.sandbox import Bind
from gateway.executors.stopping import StopFlag
from gateway.jobs.executor import End, JobRun, OperatorEnd
from gateway.pipelines.model import Operator


def _nothing(_pid: int) -> None:
    """No port to open."""


def _whole() -> str | None:
    """Nothing can break."""
    return None


_BLAMABLE = (End.EXIT_CODE, End.OUTPUT_MISSING)
"""Ends of an operator that a service's death may explain."""


@dataclass(frozen=True)
class Links:
    """One operator's connections while it runs."""

    environ: Mapping[str, str] = field(default_factory=dict)
    """The variables of its connections."""
    binds: tuple[Bind, ...] = ()
    """Folders that it shares with services."""
    networks: tuple[str, ...] = ()
    """Of the container engine: those that the services are on."""
    attach: Callable[[int], None] = _nothing
    """Opens the connections' ports on the loopback of the network namespace of a process, before
    the operator's program is executed; OSError when that fails."""
    broken: Callable[[], str | None] = _whole
    """Which service died while the operator was connected to it, as a sentence; None = none did."""


class Serving(Protocol):
    """The keeper of services, as engines see it; any thread."""

    def obstacle(self, operator: Operator) -> OperatorEnd | None:
        """Why the services or models of ``operator`` can never be had, or None."""

    def hold(self, run: JobRun) -> None:
        """Begin to start what the job needs, and keep it up until :meth:`release`."""

    def release(self, job_id: str, attempt: int) -> None:
        """The attempt is over."""

    def connect(
        self, run: JobRun, operator: Operator, stop: StopFlag
    ) -> AbstractContextManager[Links]:
        """Wait until everything is ready; the connections last as long as the context.

        Raises :class:`~gateway.errors.Transient` when a service does not come up in time or
        ``stop`` is set, :class:`~gateway.errors.Permanent` when it never will.
        """


def connected(
    services: Serving | None,
    run: JobRun,
    operator: Operator,
    stop: StopFlag,
    once: Callable[[Links], OperatorEnd],
) -> OperatorEnd:
    """Run ``once`` with the operator's connections; how it ended.

    An operator that failed while a service of it was down is lost, not at fault: another try may
    go right.
    """
    if services is None or not needs_services(operator):
        return once(Links())
    try:
        with services.connect(run, operator, stop) as links:
            end = once(links)
            broken = links.broken()
    except Transient as error:
        return OperatorEnd(End.STOPPED if stop.is_set else End.LOST, str(error))
    except Permanent as error:
        return OperatorEnd(End.IMAGE_MISSING, str(error))
    if broken is not None and end.end in _BLAMABLE:
        return OperatorEnd(End.LOST, f"{broken}; then {end.reason}", end.exit_code)
    return end


def held(services: Serving | None, run: JobRun, done: Callable[[], None]) -> Callable[[], None]:
    """Hold what the job needs until its end, which is ``done``."""
    if services is None or not any(map(needs_services, run.definition.operators)):
        return done
    services.hold(run)

    def over() -> None:
        services.release(run.job_id, run.attempt)
        done()

    return over


def needs_services(operator: Operator) -> bool:
    """True when the operator calls a service or wants models."""
    return bool(operator.services or operator.models)
