"""The payload's states as a table.

::

                     ┌────────────── late instance (a new revision) ───────────────┐
                     ▼                                                              │
    RECEIVING ──complete──▶ COMPLETE ──route──▶ ROUTED | UNMATCHED ────────────────┤
        │                     ▲   │                                                 │
        └─complete in conflict┼───┴──conflict──▶ CONFLICT ──────────────────────────┘
                              └──────release──────┘
    QUARANTINED ──retry──▶ DELETED       any resting state ──delete──▶ DELETED

Only :func:`step` decides; every writer of ``payloads.state`` goes through it.
"""

from __future__ import annotations

from enum import StrEnum

from gateway.errors import Refused


class State(StrEnum):
    """Where a received payload is."""

    RECEIVING = "RECEIVING"
    COMPLETE = "COMPLETE"
    ROUTED = "ROUTED"
    UNMATCHED = "UNMATCHED"
    CONFLICT = "CONFLICT"
    QUARANTINED = "QUARANTINED"
    DELETED = "DELETED"


class Event(StrEnum):
    """What may happen to a payload."""

    COMPLETE = "complete"
    COMPLETE_IN_CONFLICT = "complete-in-conflict"
    LATE = "late"
    CONFLICT = "conflict"
    RELEASE = "release"
    ROUTE = "route"
    NO_MATCH = "no-match"
    REROUTE = "reroute"
    RETRY = "retry"
    DELETE = "delete"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.RECEIVING, Event.COMPLETE): State.COMPLETE,
    (State.RECEIVING, Event.COMPLETE_IN_CONFLICT): State.CONFLICT,
    # Its jobs are held by the flag; the state follows when the revision is complete.
    (State.RECEIVING, Event.CONFLICT): State.RECEIVING,
    # A person may release before completion: then it completes as any other.
    (State.RECEIVING, Event.RELEASE): State.RECEIVING,
    (State.COMPLETE, Event.LATE): State.RECEIVING,
    (State.COMPLETE, Event.CONFLICT): State.CONFLICT,
    (State.COMPLETE, Event.ROUTE): State.ROUTED,
    (State.COMPLETE, Event.NO_MATCH): State.UNMATCHED,
    (State.ROUTED, Event.LATE): State.RECEIVING,
    (State.ROUTED, Event.CONFLICT): State.CONFLICT,
    (State.ROUTED, Event.REROUTE): State.COMPLETE,
    (State.ROUTED, Event.DELETE): State.DELETED,
    (State.UNMATCHED, Event.LATE): State.RECEIVING,
    (State.UNMATCHED, Event.CONFLICT): State.CONFLICT,
    (State.UNMATCHED, Event.REROUTE): State.COMPLETE,
    (State.UNMATCHED, Event.DELETE): State.DELETED,
    (State.CONFLICT, Event.LATE): State.RECEIVING,
    (State.CONFLICT, Event.CONFLICT): State.CONFLICT,
    (State.CONFLICT, Event.RELEASE): State.COMPLETE,
    (State.CONFLICT, Event.DELETE): State.DELETED,
    (State.QUARANTINED, Event.RETRY): State.DELETED,
    (State.QUARANTINED, Event.DELETE): State.DELETED,
}
"""Every allowed move; a pair that is not here is refused."""

FAULT_POINTS = (
    "log.appended.before",
    "log.appended.after",
    "log.flushed.after",
    "log.applied.before",
    "log.applied.after",
    "instance.retry.before",
    "instance.retry.after",
    "payload.complete.before",
    "payload.complete.after",
    "payload.delete.before",
    "payload.delete.after",
)
"""Where crash tests kill the gateway in this room."""


def step(state: State | str, event: Event) -> State:
    """The state after ``event``; raises :class:`Refused` when the table has no such move."""
    after = TRANSITIONS.get((State(state), event))
    if after is None:
        allowed = ", ".join(sorted(s.value for s, e in TRANSITIONS if e is event))
        raise Refused(f"a payload in state {state} cannot {event.value}; only one in {allowed} can")
    return after
