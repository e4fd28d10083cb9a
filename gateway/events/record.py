"""Recording an event in the same transaction as the change it tells of.

The ``events`` table is at once the timeline people read and the outbox of MQTT: an event exists
exactly if its change was committed.  No patient data goes into ``data`` (contract, section 9).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import events, new_id


class Kind(StrEnum):
    """Every kind of event; the value is the MQTT topic below the prefix."""

    ASSOCIATION_OPENED = "association/opened"
    ASSOCIATION_CLOSED = "association/closed"
    ASSOCIATION_REJECTED = "association/rejected"
    PAYLOAD_RECEIVED = "payload/received"
    PAYLOAD_COMPLETED = "payload/completed"
    PAYLOAD_REVISED = "payload/revised"
    PAYLOAD_ROUTED = "payload/routed"
    PAYLOAD_UNMATCHED = "payload/unmatched"
    PAYLOAD_CONFLICT = "payload/conflict"
    PAYLOAD_RELEASED = "payload/released"
    PAYLOAD_QUARANTINED = "payload/quarantined"
    PAYLOAD_RETRIED = "payload/retried"
    PAYLOAD_DELETED = "payload/deleted"
    INSTANCE_DUPLICATE = "instance/duplicate"
    INSTANCE_IGNORED = "instance/ignored"
    INSTANCE_RETURNED = "instance/returned"
    JOB_CREATED = "job/created"
    JOB_STARTED = "job/started"
    JOB_REQUEUED = "job/requeued"
    JOB_STOPPED = "job/stopped"
    JOB_NOTICED = "job/noticed"
    JOB_PRIORITISED = "job/prioritised"
    JOB_RERUN = "job/rerun"
    SCHEDULING_PAUSED = "scheduling/paused"
    SCHEDULING_DRAINING = "scheduling/draining"
    SCHEDULING_RESUMED = "scheduling/resumed"
    OPERATOR_STARTED = "operator/started"
    OPERATOR_STOPPED = "operator/stopped"
    RESULT_REGISTERED = "result/registered"
    RESULT_DELIVERED = "result/delivered"
    RESULT_WAITING = "result/waiting"
    RESULT_FAILED = "result/failed"
    RESULT_RETRIED = "result/retried"
    RESULT_COMMITTED = "result/committed"
    COMMITMENT_ASKED = "commitment/asked"
    COMMITMENT_WAITING = "commitment/waiting"
    COMMITMENT_REQUESTED = "commitment/requested"
    COMMITMENT_REPORTED = "commitment/reported"
    COMMITMENT_FAILED = "commitment/failed"
    CIRCUIT_CHANGED = "destination/circuit"
    DELIVERY_PAUSED = "destination/paused"
    DELIVERY_RESUMED = "destination/resumed"
    CONFIG_CHANGED = "config/changed"


def record(
    connection: Connection,
    kind: Kind,
    *,
    correlation_id: str | None = None,
    association_id: str | None = None,
    payload_id: str | None = None,
    job_id: str | None = None,
    result_id: str | None = None,
    data: Mapping[str, Any] | None = None,
    at: float | None = None,
) -> None:
    """Insert one event; it becomes visible when the caller's transaction commits."""
    # As parameters, not as values of the statement: it is compiled once for all events.
    connection.execute(
        sa.insert(events),
        {
            "id": new_id(),
            "time": time.time() if at is None else at,
            "kind": kind.value,
            "correlation_id": correlation_id,
            "association_id": association_id,
            "payload_id": payload_id,
            "job_id": job_id,
            "result_id": result_id,
            "data": dict(data or {}),
            "published": False,
        },
    )
