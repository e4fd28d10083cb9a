"""The one place where a result changes its state."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import results
from gateway.errors import Refused
from gateway.events.record import Kind, record
from gateway.results.states import Event, State, after

_KINDS = {
    Event.DELIVER: Kind.RESULT_DELIVERED,
    Event.POSTPONE: Kind.RESULT_WAITING,
    Event.FAIL: Kind.RESULT_FAILED,
    Event.RETRY: Kind.RESULT_RETRIED,
    Event.COMMIT: Kind.RESULT_COMMITTED,
    Event.RESEND: Kind.RESULT_WAITING,
    Event.DISOWN: Kind.RESULT_FAILED,
}


def move(connection: Connection, result_id: str, event: Event, **values: Any) -> State:
    """Apply ``event`` to a result, set ``values`` beside it and record what people must see.

    Use it inside a write transaction.  Raises :class:`Refused` for an unknown result and for an
    event its state does not allow.
    """
    row = connection.execute(
        sa.select(results).where(results.c.id == result_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise Refused(f"There is no result {result_id[:64]!r}.")
    following = after(State(row.state), event)
    if following is not State.WAITING:
        values.setdefault("next_at", None)
    if event is Event.DELIVER:
        values.setdefault("delivered_at", time.time())
        values.setdefault("reason", None)
    connection.execute(
        sa.update(results).where(results.c.id == result_id).values(state=following, **values)
    )
    if event in _KINDS and not _known(row, event, values.get("reason")):
        _tell(connection, row, _KINDS[event], following, values.get("reason"))
    return following


def _known(row: Row[Any], event: Event, reason: str | None) -> bool:
    # A destination that is down for days is tried hundreds of times: one event per new reason.
    return event is Event.POSTPONE and row.reason == reason


def _tell(
    connection: Connection, row: Row[Any], kind: Kind, state: State, reason: str | None
) -> None:
    record(
        connection,
        kind,
        correlation_id=row.correlation_id,
        job_id=row.job_id,
        result_id=row.id,
        data={
            "agent": row.agent,
            "destination": row.destination,
            "state": state.value,
            "reason": reason,
        },
    )
