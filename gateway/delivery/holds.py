"""Destinations that a person paused: nothing is sent to them until it is taken back.

Results become due and wait as they are; what is on the wire when the pause begins is finished.
Every function works in the caller's write transaction, and the caller wakes ``Topic.RESULTS``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import delivery_holds
from gateway.errors import Refused
from gateway.events.record import Kind, record


@dataclass(frozen=True)
class Hold:
    """A pause."""

    since: float
    by: str | None
    """Who paused it; None = nobody in particular."""


def holds(connection: Connection) -> dict[str, Hold]:
    """Every pause, by the destination's name in small letters.  Reads only."""
    rows = connection.execute(sa.select(delivery_holds))
    return {row.destination: Hold(row.since, row.by) for row in rows}


def pause(connection: Connection, destination: str, by: str | None) -> None:
    """Send nothing more to a destination; a second time changes nothing."""
    name = destination.lower()
    if name in holds(connection):
        return
    now = time.time()
    connection.execute(sa.insert(delivery_holds).values(destination=name, since=now, by=by))
    record(connection, Kind.DELIVERY_PAUSED, data={"destination": destination}, at=now)


def resume(connection: Connection, destination: str) -> None:
    """Take a pause back; raises :class:`Refused` when there is none."""
    mine = delivery_holds.c.destination == destination.lower()
    if connection.execute(sa.delete(delivery_holds).where(mine)).rowcount == 0:
        raise Refused(f"{destination} is not paused")
    record(connection, Kind.DELIVERY_RESUMED, data={"destination": destination})
