"""The two state machines of a job, as tables.

A job is in a *place*: its state and its status.  An event that stands in the table for that place
moves it and names what else happens in the same transaction; an event that does not stand there is
refused.  An operator's machine has the four statuses of Clara.

::

    PENDING/HEALTHY ──start──▶ RUNNING/HEALTHY ──complete──▶ STOPPED/HEALTHY
        ▲    │                      │                            │
        │    └─cancel, supersede,   ├─retry, give-up──▶ PENDING  │
        │      fault──▶ STOPPED     └─fault, time-out, cancel,   │
        │                             evict──▶ STOPPED           │
        └───────────────────rerun────────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import Refused


class State(StrEnum):
    """Where a job is on its way."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


class Status(StrEnum):
    """How a job is doing, and once STOPPED, how it ended."""

    HEALTHY = "HEALTHY"
    FAULTED = "FAULTED"
    CANCELED = "CANCELED"
    EVICTED = "EVICTED"
    TERMINATED = "TERMINATED"


class JobEvent(StrEnum):
    """What can happen to a job."""

    QUEUE = "queue"
    """Its owner started it: it may run as soon as resources allow."""
    START = "start"
    """The scheduler admitted it: the next attempt begins."""
    COMPLETE = "complete"
    """Every operator completed."""
    FAULT = "fault"
    """An operator failed, or the job can never run."""
    TIME_OUT = "time-out"
    """It ran longer than it may."""
    CANCEL = "cancel"
    """A person cancelled it."""
    SUPERSEDE = "supersede"
    """A newer revision of its payload has a job of its own."""
    EVICT = "evict"
    """The engine or node was lost once too often."""
    RETRY = "retry"
    """The attempt was lost to a fault that another attempt may not meet."""
    GIVE_UP = "give-up"
    """The gateway stopped or died: the attempt is over, the job is not."""
    RERUN = "rerun"
    """A person asked for another attempt of a job that had stopped."""


class Effect(StrEnum):
    """What else a step does, in the transaction that records it."""

    ENQUEUE = "enqueue"
    """Stamp the time it joined the queue, unless it has one."""
    BEGIN_ATTEMPT = "begin-attempt"
    """Count the attempt, stamp its start, make its operators' rows, discard older results."""
    RELEASE_RESULTS = "release-results"
    """Register what the operators left and make it deliverable."""
    END_OPERATORS = "end-operators"
    """Record operators that were still running as ended with the attempt."""
    COUNT_RETRY = "count-retry"
    """Count the retry and set the time before which it does not start."""
    STOP = "stop"
    """Stamp the end, with reason and exit code."""
    RESET = "reset"
    """Forget the earlier attempt's end, retries and cancel request; join the queue at its back."""
    TELL_STARTED = "tell-started"
    TELL_REQUEUED = "tell-requeued"
    TELL_STOPPED = "tell-stopped"


@dataclass(frozen=True)
class Place:
    """A job's state and status."""

    state: State
    status: Status

    def __str__(self) -> str:
        return f"{self.state}/{self.status}"


@dataclass(frozen=True)
class Step:
    """Where an event leads and what it does on the way."""

    to: Place
    effects: tuple[Effect, ...] = ()


PENDING = Place(State.PENDING, Status.HEALTHY)
RUNNING = Place(State.RUNNING, Status.HEALTHY)
COMPLETED = Place(State.STOPPED, Status.HEALTHY)
FAULTED = Place(State.STOPPED, Status.FAULTED)
CANCELED = Place(State.STOPPED, Status.CANCELED)
EVICTED = Place(State.STOPPED, Status.EVICTED)
TERMINATED = Place(State.STOPPED, Status.TERMINATED)

PLACES = (PENDING, RUNNING, COMPLETED, FAULTED, CANCELED, EVICTED, TERMINATED)
"""Every place a job can be in."""

_END_QUEUED = (Effect.STOP, Effect.TELL_STOPPED)
_END_RUNNING = (Effect.END_OPERATORS, Effect.STOP, Effect.TELL_STOPPED)
_AGAIN = Step(PENDING, (Effect.RESET, Effect.TELL_REQUEUED))

JOB_TABLE: Mapping[tuple[Place, JobEvent], Step] = {
    (PENDING, JobEvent.QUEUE): Step(PENDING, (Effect.ENQUEUE,)),
    (PENDING, JobEvent.START): Step(RUNNING, (Effect.BEGIN_ATTEMPT, Effect.TELL_STARTED)),
    (PENDING, JobEvent.FAULT): Step(FAULTED, _END_QUEUED),
    (PENDING, JobEvent.CANCEL): Step(CANCELED, _END_QUEUED),
    (PENDING, JobEvent.SUPERSEDE): Step(CANCELED, _END_QUEUED),
    (RUNNING, JobEvent.COMPLETE): Step(
        COMPLETED, (Effect.RELEASE_RESULTS, Effect.STOP, Effect.TELL_STOPPED)
    ),
    (RUNNING, JobEvent.FAULT): Step(FAULTED, _END_RUNNING),
    (RUNNING, JobEvent.TIME_OUT): Step(TERMINATED, _END_RUNNING),
    (RUNNING, JobEvent.CANCEL): Step(CANCELED, _END_RUNNING),
    (RUNNING, JobEvent.EVICT): Step(EVICTED, _END_RUNNING),
    (RUNNING, JobEvent.RETRY): Step(
        PENDING, (Effect.END_OPERATORS, Effect.COUNT_RETRY, Effect.TELL_REQUEUED)
    ),
    (RUNNING, JobEvent.GIVE_UP): Step(PENDING, (Effect.END_OPERATORS, Effect.TELL_REQUEUED)),
    (COMPLETED, JobEvent.RERUN): _AGAIN,
    (FAULTED, JobEvent.RERUN): _AGAIN,
    (CANCELED, JobEvent.RERUN): _AGAIN,
    (EVICTED, JobEvent.RERUN): _AGAIN,
    (TERMINATED, JobEvent.RERUN): _AGAIN,
}
"""Every step a job can take; whatever does not stand here is refused."""


class OperatorStatus(StrEnum):
    """Where an operator is; Clara's words."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAULTED = "FAULTED"


class OperatorEvent(StrEnum):
    """What can happen to an operator within one attempt."""

    START = "start"
    COMPLETE = "complete"
    FAULT = "fault"


class OperatorEffect(StrEnum):
    """What else an operator's step does, in the transaction that records it."""

    STAMP_START = "stamp-start"
    STAMP_STOP = "stamp-stop"
    """Stamp the end, with reason, exit code and the last log lines."""
    TELL_STARTED = "tell-started"
    TELL_STOPPED = "tell-stopped"


@dataclass(frozen=True)
class OperatorStep:
    """Where an operator's event leads and what it does on the way."""

    to: OperatorStatus
    effects: tuple[OperatorEffect, ...]


_STOPPED = (OperatorEffect.STAMP_STOP, OperatorEffect.TELL_STOPPED)

OPERATOR_TABLE: Mapping[tuple[OperatorStatus, OperatorEvent], OperatorStep] = {
    (OperatorStatus.PENDING, OperatorEvent.START): OperatorStep(
        OperatorStatus.RUNNING, (OperatorEffect.STAMP_START, OperatorEffect.TELL_STARTED)
    ),
    # An image that is missing, or an engine lost before the program was executed.
    (OperatorStatus.PENDING, OperatorEvent.FAULT): OperatorStep(OperatorStatus.FAULTED, _STOPPED),
    (OperatorStatus.RUNNING, OperatorEvent.COMPLETE): OperatorStep(
        OperatorStatus.COMPLETED, _STOPPED
    ),
    (OperatorStatus.RUNNING, OperatorEvent.FAULT): OperatorStep(OperatorStatus.FAULTED, _STOPPED),
}
"""Every step an operator can take within an attempt."""


# These end inside the caller's transaction: only the caller knows when it is committed.
_OF_CALLERS = frozenset({JobEvent.QUEUE, JobEvent.SUPERSEDE, JobEvent.RERUN})


def _fault_points() -> tuple[str, ...]:
    jobs = tuple(dict.fromkeys(event for _, event in JOB_TABLE))
    operators = tuple(dict.fromkeys(event for _, event in OPERATOR_TABLE))
    return (
        "job.create.before",
        *(f"job.{event}.before" for event in jobs),
        *(f"job.{event}.after" for event in jobs if event not in _OF_CALLERS),
        *(f"operator.{event}.{when}" for event in operators for when in ("before", "after")),
        *(f"job.{work}.{when}" for work in WORK for when in ("before", "after")),
    )


WORK = ("materialise", "execute", "collect")
"""What the scheduler does between the steps: lay out files, start the engine, read results."""

FAULT_POINTS = _fault_points()
"""Where a crash test may kill the process: before (all written, nothing committed) and after."""


def next_job(place: Place, event: JobEvent) -> Step:
    """The step of ``event`` at ``place``; :class:`Refused` when the table has none."""
    step = JOB_TABLE.get((place, event))
    if step is None:
        raise Refused(f"a job that is {place} knows no {event}")
    return step


def next_operator(status: OperatorStatus, event: OperatorEvent) -> OperatorStep:
    """The step of ``event`` at ``status``; :class:`Refused` when the table has none."""
    step = OPERATOR_TABLE.get((status, event))
    if step is None:
        raise Refused(f"an operator that is {status} knows no {event}")
    return step
