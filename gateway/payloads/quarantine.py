"""Data sets that cannot be indexed: kept, visible as a payload, and retriable."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import new_id, payloads, quarantine
from gateway.events.record import Kind, record
from gateway.payloads import counting
from gateway.payloads.receiving import Arrival
from gateway.payloads.states import State


def add(
    connection: Connection,
    arrival: Arrival,
    item_id: str,
    path: str,
    size: int,
    reason: str,
    now: float,
) -> None:
    """Record the file at ``path`` (relative to data-dir) as a payload in QUARANTINED."""
    payload_id = new_id()
    connection.execute(
        sa.insert(payloads).values(
            id=payload_id,
            correlation_id=arrival.association_id,
            called_ae=arrival.called_ae,
            calling_ae=arrival.calling_ae,
            host=arrival.host,
            group_by="quarantine",
            group_key=item_id,
            state=State.QUARANTINED,
            instances=0,
            bytes=size,
            study_instance_uid="",
            reason=reason,
            opened_at=now,
            last_received_at=now,
            finished_at=now,
        )
    )
    connection.execute(
        sa.insert(quarantine).values(
            id=item_id,
            payload_id=payload_id,
            association_id=arrival.association_id,
            called_ae=arrival.called_ae,
            calling_ae=arrival.calling_ae,
            host=arrival.host,
            sop_class_uid=arrival.sop_class_uid,
            sop_instance_uid=arrival.sop_instance_uid,
            transfer_syntax_uid=arrival.transfer_syntax_uid,
            path=path,
            size=size,
            reason=reason,
            received_at=now,
        )
    )
    counting.refused(connection, arrival)
    record(
        connection,
        Kind.PAYLOAD_QUARANTINED,
        correlation_id=arrival.association_id,
        association_id=arrival.association_id,
        payload_id=payload_id,
        data={
            "state": State.QUARANTINED.value,
            "reason": reason,
            "called_ae": arrival.called_ae,
            "calling_ae": arrival.calling_ae,
            "sop_instance_uid": arrival.sop_instance_uid,
        },
        at=now,
    )
