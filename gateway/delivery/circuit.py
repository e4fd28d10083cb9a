"""Circuits on disk: one row per destination, so that a restart does not forget a PACS is down."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import circuits
from gateway.delivery.policy import Policy
from gateway.delivery.states import CIRCUIT, Circuit, Signal
from gateway.events.record import Kind, record


@dataclass(frozen=True)
class CircuitRecord:
    """A destination's circuit as it stands."""

    destination: str
    state: Circuit = Circuit.CLOSED
    failures: int = 0
    """Associations that failed in a row."""
    reason: str | None = None
    retry_at: float | None = None


def load(connection: Connection, destination: str) -> CircuitRecord:
    """The circuit of ``destination``; one that never failed is CLOSED."""
    row = connection.execute(
        sa.select(circuits).where(circuits.c.destination == destination)
    ).one_or_none()
    if row is None:
        return CircuitRecord(destination)
    return CircuitRecord(destination, Circuit(row.state), row.failures, row.reason, row.retry_at)


def admit(connection: Connection, destination: str) -> CircuitRecord:
    """The circuit before an association: OPEN becomes HALF_OPEN once its time has come.

    Use it inside a write transaction.  The caller must not associate while the answer is OPEN.
    """
    before = load(connection, destination)
    if before.state is Circuit.OPEN and (before.retry_at or 0) <= time.time():
        return _step(connection, before, Signal.DUE, before.failures, before.reason, None)
    return before


def changed(connection: Connection, destination: str) -> CircuitRecord:
    """The destination's configuration changed: forget its failures, probe if it was open."""
    before = load(connection, destination)
    failures = before.failures if before.state is not Circuit.CLOSED else 0
    return _step(connection, before, Signal.CHANGED, failures, before.reason, None)


def succeeded(connection: Connection, destination: str) -> CircuitRecord:
    """An association did its work."""
    before = load(connection, destination)
    return _step(connection, before, Signal.SUCCESS, 0, None, None)


def failed(
    connection: Connection, destination: str, reason: str, policy: Policy
) -> tuple[CircuitRecord, float]:
    """An association failed; returns the circuit and when to try again."""
    before = load(connection, destination)
    failures = before.failures + 1
    signal = Signal.LIMIT if failures >= policy.circuit_limit else Signal.FAILURE
    again = time.time() + policy.backoff.wait(failures)
    opens = CIRCUIT[before.state, signal] is Circuit.OPEN
    after = _step(connection, before, signal, failures, reason, again if opens else None)
    return after, again


def _step(
    connection: Connection,
    before: CircuitRecord,
    signal: Signal,
    failures: int,
    reason: str | None,
    retry_at: float | None,
) -> CircuitRecord:
    state = CIRCUIT[before.state, signal]
    after = CircuitRecord(before.destination, state, failures, reason, retry_at)
    if after == before:
        return after
    _save(connection, after, moved=state is not before.state)
    if state is not before.state:
        record(
            connection,
            Kind.CIRCUIT_CHANGED,
            data={
                "destination": before.destination,
                "state": state.value,
                "previous": before.state.value,
                "failures": failures,
                "reason": reason,
            },
        )
    return after


def _save(connection: Connection, after: CircuitRecord, *, moved: bool) -> None:
    values = {
        "state": after.state,
        "failures": after.failures,
        "reason": after.reason,
        "retry_at": after.retry_at,
    }
    now = time.time()
    if moved:
        values["changed_at"] = now
    found = connection.execute(
        sa.update(circuits).where(circuits.c.destination == after.destination).values(values)
    )
    if found.rowcount == 0:
        connection.execute(
            sa.insert(circuits).values(
                destination=after.destination, **{"changed_at": now, **values}
            )
        )
