"""Counts on the association's record, and the events that make uncommon arrivals visible."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import associations
from gateway.events.record import Kind, record
from gateway.payloads.receiving import Arrival

_c = associations.c


def kept(connection: Connection, association_id: str, size: int, count: int = 1) -> None:
    """Count ``count`` instances of ``size`` bytes together that were stored."""
    _add(connection, association_id, instances=_c.instances + count, bytes=_c.bytes + size)


def duplicate(connection: Connection, arrival: Arrival, what: str) -> None:
    """Count an instance that was here already; ``what`` says how it was answered."""
    _add(connection, arrival.association_id, duplicates=_c.duplicates + 1)
    _event(connection, Kind.INSTANCE_DUPLICATE, arrival, what)


def ignored(connection: Connection, arrival: Arrival, why: str) -> None:
    """Count an instance that was answered Success and not kept."""
    _add(connection, arrival.association_id, ignored=_c.ignored + 1)
    _event(connection, Kind.INSTANCE_IGNORED, arrival, why)


def refused(connection: Connection, arrival: Arrival) -> None:
    """Count an instance that was answered with a failure."""
    _add(connection, arrival.association_id, refused=_c.refused + 1)


def _add(connection: Connection, association_id: str, **values: Any) -> None:
    connection.execute(sa.update(associations).where(_c.id == association_id).values(**values))


def _event(connection: Connection, kind: Kind, arrival: Arrival, why: str) -> None:
    record(
        connection,
        kind,
        association_id=arrival.association_id,
        correlation_id=arrival.association_id,
        data={
            "called_ae": arrival.called_ae,
            "calling_ae": arrival.calling_ae,
            "sop_class_uid": arrival.sop_class_uid,
            "sop_instance_uid": arrival.sop_instance_uid,
            "reason": why,
        },
    )
