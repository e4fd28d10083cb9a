"""Placing one instance: duplicate or new, its own come back, which payload and which revision.

Runs inside the indexer's transaction; does no I/O of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.config.applications import Application
from gateway.database.schema import (
    instances,
    new_id,
    payload_associations,
    payload_instances,
    payload_series,
    payloads,
    result_files,
)
from gateway.events.record import Kind, record
from gateway.payloads import counting
from gateway.payloads.conflicts import flag_conflicts
from gateway.payloads.receiving import Outcome, Status
from gateway.payloads.states import Event, State, step

if TYPE_CHECKING:
    from gateway.payloads.arrived import Received

_SUCCESS = Outcome(Status.SUCCESS)


@dataclass(frozen=True)
class Verdict:
    """What became of an instance: the answer, and whether its file stays in the spool."""

    outcome: Outcome
    kept: bool


KEPT = Verdict(_SUCCESS, kept=True)
DROPPED = Verdict(_SUCCESS, kept=False)


def place(connection: Connection, received: Received, application: Application) -> Verdict:
    """Index ``received`` in the caller's transaction and say what to answer."""
    twin = _twin(connection, received)
    if twin is not None:
        verdict = _judge_duplicate(connection, received, application, twin)
        if verdict is not None:
            return verdict
    if _is_ours(connection, received.head.sop_instance_uid):
        return _keep_returned(connection, received)
    payload = _payload(connection, received, application)
    if payload is None:
        counting.ignored(connection, received.arrival, "late instance")
        return DROPPED
    if twin is not None:
        _replace(connection, twin.id, payload)
    instance_id = _insert(connection, received, "RECEIVED")
    _join(connection, received, payload, instance_id)
    counting.kept(connection, received.arrival.association_id, received.size)
    return KEPT


def _twin(connection: Connection, received: Received) -> Row[Any] | None:
    """The stored instance with the same SOP Instance UID under this called AE, if any."""
    c = instances.c
    return connection.execute(
        sa.select(instances)
        .where(
            c.called_ae == received.arrival.called_ae,
            c.sop_instance_uid == received.head.sop_instance_uid,
            c.state == "STORED",
        )
        .limit(1)
    ).one_or_none()


def _judge_duplicate(
    connection: Connection, received: Received, application: Application, twin: Row[Any]
) -> Verdict | None:
    """The verdict on a duplicate, or None when it is to replace its twin."""
    same = (
        twin.digest == received.digest
        and twin.transfer_syntax_uid == received.arrival.transfer_syntax_uid
    )
    if same:
        counting.duplicate(connection, received.arrival, "same data set: stored once")
        return DROPPED
    if twin.kind == "RETURNED" or application.duplicates == "keep-first":
        counting.duplicate(connection, received.arrival, "other data set: the first is kept")
        return DROPPED
    if application.duplicates == "reject":
        counting.duplicate(connection, received.arrival, "other data set: refused")
        counting.refused(connection, received.arrival)
        outcome = Outcome(Status.DUPLICATE_SOP_INSTANCE, "SOP Instance UID is stored already")
        return Verdict(outcome, kept=False)
    counting.duplicate(connection, received.arrival, "other data set: replaces the first")
    return None


def _is_ours(connection: Connection, sop_instance_uid: str) -> bool:
    """True for an instance that the gateway itself made and sends: it comes back from a PACS."""
    found = sa.select(sa.literal(1)).where(result_files.c.sop_instance_uid == sop_instance_uid)
    return connection.execute(found.limit(1)).first() is not None


def _keep_returned(connection: Connection, received: Received) -> Verdict:
    _insert(connection, received, "RETURNED")
    counting.kept(connection, received.arrival.association_id, received.size)
    record(
        connection,
        Kind.INSTANCE_RETURNED,
        correlation_id=received.arrival.association_id,
        association_id=received.arrival.association_id,
        data={
            "called_ae": received.arrival.called_ae,
            "calling_ae": received.arrival.calling_ae,
            "sop_instance_uid": received.head.sop_instance_uid,
        },
    )
    return KEPT


def group_key(received: Received, application: Application) -> str:
    """What the instances of one payload share.

    Without a Patient ID there is nothing that says two studies belong together, so each study
    stands alone rather than be mixed with a stranger's.
    """
    head = received.head
    if application.group_by == "series":
        return head.series_instance_uid
    if application.group_by == "patient" and head.patient_id:
        return f"{head.patient_id}\\{head.issuer_of_patient_id}"
    return head.study_instance_uid


def _payload(
    connection: Connection, received: Received, application: Application
) -> Row[Any] | None:
    """The payload the instance belongs to, open for it; None when late ones are ignored."""
    key = group_key(received, application)
    c = payloads.c
    latest = connection.execute(
        sa.select(payloads)
        .where(
            c.called_ae == application.ae_title,
            c.group_by == application.group_by,
            c.group_key == key,
        )
        .order_by(c.generation.desc())
        .limit(1)
        # Whoever completes it meanwhile waits, so no instance joins a revision that is over.
        .with_for_update()
    ).one_or_none()
    if latest is None:
        return _create(connection, received, application, key, 1)
    if latest.state == State.RECEIVING:
        return latest
    if latest.state == State.DELETED or application.late_instances == "new-payload":
        return _create(connection, received, application, key, latest.generation + 1)
    if application.late_instances == "ignore":
        return None
    return _revise(connection, received, latest)


def _create(
    connection: Connection, received: Received, application: Application, key: str, generation: int
) -> Row[Any]:
    payload_id = new_id()
    row = connection.execute(
        sa.insert(payloads)
        .values(
            id=payload_id,
            correlation_id=received.arrival.association_id,
            called_ae=application.ae_title,
            calling_ae=received.arrival.calling_ae,
            host=received.arrival.host,
            group_by=application.group_by,
            group_key=key,
            generation=generation,
            state=State.RECEIVING,
            study_instance_uid=received.head.study_instance_uid,
            patient_id=received.head.patient_id,
            accession_number=received.head.accession_number,
            opened_at=received.received_at,
            last_received_at=received.received_at,
        )
        .returning(*payloads.c)
    ).one()
    _announce(connection, Kind.PAYLOAD_RECEIVED, received, row)
    return row


def _revise(connection: Connection, received: Received, latest: Row[Any]) -> Row[Any]:
    row = connection.execute(
        sa.update(payloads)
        .where(payloads.c.id == latest.id)
        .values(
            state=step(latest.state, Event.LATE),
            revision=latest.revision + 1,
            opened_at=received.received_at,
            completed_at=None,
            routed_at=None,
            finished_at=None,
            reason=None,
            discard=False,
        )
        .returning(*payloads.c)
    ).one()
    _announce(connection, Kind.PAYLOAD_REVISED, received, row)
    return row


def _announce(connection: Connection, kind: Kind, received: Received, row: Row[Any]) -> None:
    record(
        connection,
        kind,
        correlation_id=row.correlation_id,
        association_id=received.arrival.association_id,
        payload_id=row.id,
        data={
            "state": row.state,
            "revision": row.revision,
            "called_ae": row.called_ae,
            "calling_ae": received.arrival.calling_ae,
            "study_instance_uid": row.study_instance_uid,
        },
        at=received.received_at,
    )


def _insert(connection: Connection, received: Received, kind: str) -> int:
    inserted = connection.execute(sa.insert(instances).values(**instance_values(received, kind)))
    key = inserted.inserted_primary_key
    assert key is not None  # noqa: S101 - one row was inserted
    return int(key[0])


def instance_values(received: Received, kind: str) -> dict[str, Any]:
    """The row of ``instances`` for an instance of ``kind`` RECEIVED or RETURNED."""
    head, arrival = received.head, received.arrival
    return {
        "sop_instance_uid": head.sop_instance_uid,
        "sop_class_uid": head.sop_class_uid,
        "transfer_syntax_uid": arrival.transfer_syntax_uid,
        "study_instance_uid": head.study_instance_uid,
        "series_instance_uid": head.series_instance_uid,
        "patient_id": head.patient_id,
        "accession_number": head.accession_number,
        "called_ae": arrival.called_ae,
        "calling_ae": arrival.calling_ae,
        "host": arrival.host,
        "association_id": arrival.association_id,
        "path": received.path,
        "size": received.size,
        "digest": received.digest,
        "kind": kind,
        "state": "STORED",
        "geometry": head.geometry,
        "received_at": received.received_at,
    }


def _replace(connection: Connection, twin_id: int, payload: Row[Any]) -> None:
    """Take the twin out of the revision that is open now; earlier revisions keep it."""
    connection.execute(
        sa.update(instances).where(instances.c.id == twin_id).values(state="REPLACED")
    )
    removed = connection.execute(
        sa.update(payload_instances)
        .where(
            payload_instances.c.payload_id == payload.id,
            payload_instances.c.instance_id == twin_id,
        )
        .values(removed=payload.revision)
    )
    if removed.rowcount:
        connection.execute(
            sa.update(payloads)
            .where(payloads.c.id == payload.id)
            .values(instances=payloads.c.instances - 1)
        )


def _join(connection: Connection, received: Received, payload: Row[Any], instance_id: int) -> None:
    """Make the instance a member of the payload's open revision."""
    head = received.head
    connection.execute(
        sa.insert(payload_instances).values(
            payload_id=payload.id, instance_id=instance_id, revision=payload.revision
        )
    )
    first = _first_of_series(connection, payload.id, head.series_instance_uid, instance_id)
    _fed_by(connection, payload, received.arrival.association_id)
    connection.execute(
        sa.update(payloads)
        .where(payloads.c.id == payload.id)
        .values(
            instances=payloads.c.instances + 1,
            bytes=payloads.c.bytes + received.size,
            last_received_at=max(received.received_at, time.time()),
            expected=head.related.get(payload.group_by, payload.expected),
        )
    )
    if first or head.patient_id != payload.patient_id:
        flag_conflicts(connection, received, payload.id)


def _first_of_series(
    connection: Connection, payload_id: str, series_uid: str, instance_id: int
) -> bool:
    c = payload_series.c
    known = connection.execute(
        sa.select(sa.literal(1)).where(
            c.payload_id == payload_id, c.series_instance_uid == series_uid
        )
    ).first()
    if known is not None:
        return False
    connection.execute(
        sa.insert(payload_series).values(
            payload_id=payload_id, series_instance_uid=series_uid, first_instance_id=instance_id
        )
    )
    return True


def _fed_by(connection: Connection, payload: Row[Any], association_id: str) -> None:
    c = payload_associations.c
    known = connection.execute(
        sa.select(sa.literal(1)).where(
            c.payload_id == payload.id,
            c.association_id == association_id,
            c.revision == payload.revision,
        )
    ).first()
    if known is None:
        connection.execute(
            sa.insert(payload_associations).values(
                payload_id=payload.id, association_id=association_id, revision=payload.revision
            )
        )
