"""The state machine of a result, as a table.

::

    PENDING ──claim──▶ SENDING ──deliver──▶ DELIVERED ──commit──▶ COMMITTED
       ▲                │ │ └──fail────▶ FAILED ──retry──▶ PENDING
       │◀──interrupt────┘ └──postpone──▶ WAITING ──claim──▶ SENDING
       └──────────────────────retry──────────┘

A DELIVERED result whose destination does not commit it goes back to WAITING (sent again) or ends
FAILED; a report that comes late makes it COMMITTED even then.  A person may have what was delivered
or committed sent again.

A cell that is absent is a step that must not happen: :func:`after` raises
:class:`~gateway.errors.Refused`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import sqlalchemy as sa

from gateway.database.schema import results
from gateway.errors import Refused


class State(StrEnum):
    """States of a result (contract, section 6)."""

    PENDING = "PENDING"
    """Nobody carries it; due at once."""
    SENDING = "SENDING"
    """The delivery room carries it now."""
    DELIVERED = "DELIVERED"
    """Every file was answered positively and that answer is on disk."""
    COMMITTED = "COMMITTED"
    """The destination took responsibility for it (storage commitment, PS3.4 Annex J)."""
    WAITING = "WAITING"
    """A fault that may pass: tried again at ``next_at``."""
    FAILED = "FAILED"
    """A fault that stays until a person acts."""


class Event(StrEnum):
    """What may happen to a result."""

    CLAIM = "claim"
    """The delivery room begins to carry it."""
    DELIVER = "deliver"
    """Every file arrived."""
    POSTPONE = "postpone"
    """Not all arrived; worth another try later."""
    FAIL = "fail"
    """Not all arrived; another try would not help."""
    INTERRUPT = "interrupt"
    """The gateway stopped, or was killed, while carrying it."""
    RETRY = "retry"
    """A person wants another try now."""
    COMMIT = "commit"
    """The destination confirmed that it keeps it."""
    RESEND = "resend"
    """The destination says that it does not have what was delivered, or a person does."""
    DISOWN = "disown"
    """The destination does not commit to what was delivered, and another try would not help."""


TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.PENDING, Event.CLAIM): State.SENDING,
        # Pollers of the HTTP service hold a lease, not the state SENDING: a restart of the
        # gateway must not take a task away from a poller that is still busy with it.
        (State.PENDING, Event.DELIVER): State.DELIVERED,
        (State.PENDING, Event.POSTPONE): State.WAITING,
        (State.PENDING, Event.FAIL): State.FAILED,
        (State.SENDING, Event.DELIVER): State.DELIVERED,
        (State.SENDING, Event.POSTPONE): State.WAITING,
        (State.SENDING, Event.FAIL): State.FAILED,
        (State.SENDING, Event.INTERRUPT): State.PENDING,
        (State.WAITING, Event.CLAIM): State.SENDING,
        (State.WAITING, Event.DELIVER): State.DELIVERED,
        (State.WAITING, Event.POSTPONE): State.WAITING,
        (State.WAITING, Event.FAIL): State.FAILED,
        (State.WAITING, Event.RETRY): State.PENDING,
        (State.FAILED, Event.RETRY): State.PENDING,
        (State.DELIVERED, Event.COMMIT): State.COMMITTED,
        # Not POSTPONE and FAIL: who carries a task must not take back that it arrived.
        (State.DELIVERED, Event.RESEND): State.WAITING,
        (State.DELIVERED, Event.DISOWN): State.FAILED,
        (State.COMMITTED, Event.RESEND): State.WAITING,
        (State.FAILED, Event.COMMIT): State.COMMITTED,
    }
)

OPEN_STATES = frozenset({State.PENDING, State.SENDING, State.WAITING})
"""The files are still needed: the payload must be kept."""


class Commitment(StrEnum):
    """How far the storage commitment of a result is; no value = its destination is not asked."""

    DUE = "DUE"
    """To be asked for at ``commitment_at``."""
    ASKED = "ASKED"
    """The destination accepted the request; asked again at ``commitment_at`` without a report."""
    COMMITTED = "COMMITTED"
    """Every file is committed."""
    FAILED = "FAILED"
    """Given up; the result says why."""


OPEN_COMMITMENTS = frozenset({Commitment.DUE, Commitment.ASKED})
"""A DELIVERED result may still have to be sent again: the payload must be kept."""


def still_needed() -> sa.ColumnElement[bool]:
    """Condition on ``results``: its files may have to be sent (again)."""
    uncommitted = sa.and_(
        results.c.state == State.DELIVERED, results.c.commitment.in_(sorted(OPEN_COMMITMENTS))
    )
    return sa.or_(results.c.state.in_(sorted(OPEN_STATES)), uncommitted)


FAULT_POINTS = ("results.collected", "results.registered", "results.released")
"""Where crash tests kill the process in this room (:mod:`gateway.events.faults`)."""


class FileState(StrEnum):
    """States of one file of a result."""

    PENDING = "PENDING"
    """No positive answer is on disk."""
    SENT = "SENT"
    """Answered with Success."""
    WARNING = "WARNING"
    """Answered with a warning: stored, perhaps coerced (PS3.4 Table B.2-1)."""
    FAILED = "FAILED"
    """Given up; sent again only when a person retries the result."""


def after(state: State, event: Event) -> State:
    """The state that follows; raises Refused when ``event`` is not allowed in ``state``."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise Refused(f"A result that is {state} cannot {event}.")
    return following
