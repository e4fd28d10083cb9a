"""Records of the log into the database: one transaction per batch, with the log's position.

The position is committed with what it covers, so each record is applied exactly once however
often the gateway is killed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import PurePosixPath

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.config.applications import AeConfig
from gateway.database.schema import associations, intake_positions
from gateway.payloads import counting, quarantine
from gateway.payloads.associations import End, record_end, record_opening
from gateway.payloads.grouping import Verdict
from gateway.payloads.intake import records
from gateway.payloads.intake.batch import Batch
from gateway.payloads.intake.format import Kind, Record
from gateway.payloads.receiving import Arrival

_WITH_ARRIVAL = {Kind.INSTANCE, Kind.QUARANTINE, Kind.IGNORED, Kind.REFUSED}


def position(connection: Connection, receiver: int) -> int:
    """Last record of ``receiver`` that is in the index; 0 = none."""
    c = intake_positions.c
    query = sa.select(c.seq).where(c.receiver == receiver)
    return connection.execute(query).scalar() or 0


def advance(connection: Connection, receiver: int, seq: int) -> None:
    """Set :func:`position`."""
    c = intake_positions.c
    moved = connection.execute(
        sa.update(intake_positions).where(c.receiver == receiver).values(seq=seq)
    )
    if not moved.rowcount:
        connection.execute(sa.insert(intake_positions).values(receiver=receiver, seq=seq))


def apply(connection: Connection, found: Sequence[Record], config: AeConfig) -> dict[int, Verdict]:
    """Apply records in their order; returns the verdict on each instance by its sequence."""
    items = {r.seq: records.item(r, config) for r in found if r.header.kind is Kind.INSTANCE}
    batch = Batch(connection, list(items.values()))
    known = _known(connection, found)
    verdicts: dict[int, Verdict] = {}
    for record in found:
        if record.header.kind in _WITH_ARRIVAL:
            _ensure_association(connection, records.arrival(record), known)
        if record.header.kind is Kind.INSTANCE:
            verdicts[record.seq] = batch.add(items[record.seq])
        else:
            # In the order they happened: what closes an association counts its instances.
            batch.flush()
            _other(connection, record, known)
    batch.flush()
    return verdicts


def _other(connection: Connection, record: Record, known: set[str]) -> None:
    kind, meta = record.header.kind, record.meta
    if kind in (Kind.OPENED, Kind.REJECTED):
        opening = records.opening(record)
        record_opening(connection, opening, meta["r"] if kind is Kind.REJECTED else None)
        known.add(opening.association_id)
    elif kind is Kind.CLOSED:
        record_end(connection, meta["w"][0], records.end(record))
    elif kind is Kind.IGNORED:
        counting.ignored(connection, records.arrival(record), "SOP class")
    elif kind is Kind.REFUSED:
        counting.refused(connection, records.arrival(record))
    else:
        set_aside(connection, record, meta["r"])


def set_aside(connection: Connection, record: Record, reason: str) -> None:
    """Put the data set of ``record`` into the quarantine."""
    meta, came = record.meta, records.arrival(record)
    item_id = PurePosixPath(meta["p"]).stem
    quarantine.add(connection, came, item_id, meta["p"], meta["n"], reason, meta["t"])


def _known(connection: Connection, found: Sequence[Record]) -> set[str]:
    """Which of the associations that fed instances are on record."""
    ids = {r.meta["a"]["association_id"] for r in found if r.header.kind in _WITH_ARRIVAL}
    query = sa.select(associations.c.id).where(associations.c.id.in_(ids))
    return set(connection.execute(query).scalars()) if ids else set()


def _ensure_association(connection: Connection, came: Arrival, known: set[str]) -> None:
    """Record an association whose own record was lost with an older database."""
    if came.association_id in known:
        return
    record_lost_association(connection, came)
    known.add(came.association_id)


def record_lost_association(connection: Connection, came: Arrival) -> None:
    """Record the association of an instance whose own record is lost."""
    now = time.time()
    connection.execute(
        sa.insert(associations).values(
            id=came.association_id,
            called_ae=came.called_ae,
            calling_ae=came.calling_ae,
            host=came.host,
            port=0,
            state="OPEN",
            opened_at=now,
        )
    )
    record_end(connection, came.association_id, End("ABORTED", "its record was lost", now))
