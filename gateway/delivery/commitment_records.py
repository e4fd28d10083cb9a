"""The one place where the commitment of a result changes; inside the caller's write transaction."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import result_files, results
from gateway.events.record import Kind, record
from gateway.results.records import move
from gateway.results.states import Commitment, Event, State


def uncommitted(connection: Connection, result_id: str) -> list[Row[Any]]:
    """Files of the result that its destination has not committed.  Reads only."""
    query = sa.select(result_files).where(
        result_files.c.result_id == result_id,
        result_files.c.committed_at.is_(None),
        result_files.c.sop_instance_uid.is_not(None),
    )
    return list(connection.execute(query.order_by(result_files.c.id)).all())


def commit(connection: Connection, result_id: str) -> None:
    """Every file is committed: the result is, unless it is on its way for another reason."""
    row = result(connection, result_id)
    if row.state not in (State.DELIVERED, State.FAILED):
        return
    move(
        connection,
        result_id,
        Event.COMMIT,
        commitment=Commitment.COMMITTED,
        commitment_at=None,
        commitment_reason=None,
        committed_at=time.time(),
        reason=None,
    )


def fail(connection: Connection, result_id: str, reason: str) -> None:
    """Give the result up; a person reads ``reason``."""
    move(
        connection,
        result_id,
        Event.DISOWN,
        reason=reason,
        commitment=Commitment.FAILED,
        commitment_at=None,
        commitment_reason=reason,
    )


def wait(
    connection: Connection,
    row: Row[Any],
    reason: str,
    until: float,
    tries: int | None = None,
) -> None:
    """Ask again at ``until``; one event per new reason."""
    connection.execute(
        sa.update(results)
        .where(results.c.id == row.id)
        .values(
            commitment=Commitment.DUE,
            commitment_reason=reason,
            commitment_at=until,
            commitment_tries=row.commitment_tries if tries is None else tries,
        )
    )
    if reason != row.commitment_reason:
        tell(connection, row, Kind.COMMITMENT_WAITING, Commitment.DUE, reason)


def result(connection: Connection, result_id: str) -> Row[Any]:
    """The record, locked."""
    return connection.execute(
        sa.select(results).where(results.c.id == result_id).with_for_update()
    ).one()


def tell(
    connection: Connection,
    row: Row[Any],
    kind: Kind,
    state: Commitment,
    reason: str | None,
    transaction_uid: str | None = None,
) -> None:
    """Record an event of a result's commitment."""
    record(
        connection,
        kind,
        correlation_id=row.correlation_id,
        job_id=row.job_id,
        result_id=row.id,
        data={
            "destination": row.destination,
            "state": state.value,
            "reason": reason,
            "transaction_uid": transaction_uid,
        },
    )
