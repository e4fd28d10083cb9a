"""Different Patient IDs under one Study or Series Instance UID.

A result made from two people's images would go to one of them.  So every payload that holds such
a study or series is flagged the moment the second Patient ID arrives: no queued job of it starts,
and it rests in CONFLICT until a person releases it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import instances, payload_instances, payloads
from gateway.events.record import Kind, record
from gateway.payloads.states import Event, State, step

if TYPE_CHECKING:
    from gateway.payloads.arrived import Received

REASON = "different Patient IDs under one Study or Series Instance UID"


def flag_conflicts(connection: Connection, received: Received, payload_id: str) -> None:
    """Flag the payload of ``received`` and every other that shares the contradicted UID."""
    strangers = _payloads_of_strangers(connection, received)
    if not strangers:
        return
    for other in sorted(strangers | {payload_id}):
        _flag(connection, other)


def _payloads_of_strangers(connection: Connection, received: Received) -> set[str]:
    """Payloads that hold the same study or series for another Patient ID."""
    head, c = received.head, instances.c
    rows = connection.execute(
        sa.select(payload_instances.c.payload_id)
        .join(instances, c.id == payload_instances.c.instance_id)
        .where(
            sa.or_(
                c.study_instance_uid == head.study_instance_uid,
                c.series_instance_uid == head.series_instance_uid,
            ),
            # Two ranges, so that the index answers without reading the patient's own rows.
            sa.or_(c.patient_id < head.patient_id, c.patient_id > head.patient_id),
            c.called_ae == received.arrival.called_ae,
            c.state == "STORED",
            c.kind == "RECEIVED",
        )
        .distinct()
    )
    return {row.payload_id for row in rows}


def _flag(connection: Connection, payload_id: str) -> None:
    row = connection.execute(
        sa.select(payloads).where(payloads.c.id == payload_id).with_for_update()
    ).one()
    if row.state == State.DELETED or (row.conflict and not row.conflict_released):
        return
    state = step(row.state, Event.CONFLICT)
    connection.execute(
        sa.update(payloads)
        .where(payloads.c.id == payload_id)
        .values(conflict=True, conflict_released=False, state=state, reason=REASON)
    )
    record(
        connection,
        Kind.PAYLOAD_CONFLICT,
        correlation_id=row.correlation_id,
        payload_id=payload_id,
        data={"state": state.value, "reason": REASON, "study_instance_uid": row.study_instance_uid},
    )
