"""What modalities ask us to commit, and what they are told (PS3.4 Annex J, as SCP).

::

    RECEIVED ──told──▶ REPORTED          over an association to ``sources[].port``
      │ └─▶ ANSWERING ──told──▶ REPORTED over the association that asked, when there is no port
      └──────────▶ FAILED                nobody could be told: a person must look

Committed means: indexed under one of our AE titles with that SOP class, and its file is there.
Every function works inside the caller's write transaction (readers say so).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import commitment_requests, instances
from gateway.delivery.commitment_policy import CommitmentPolicy
from gateway.dicom.commitment import CLASS_CONFLICT, NO_SUCH_OBJECT, Failure, Notice, Reference
from gateway.events.record import Kind, record

_CHUNK = 500
_c = commitment_requests.c


def receive(connection: Connection, document: Mapping[str, Any]) -> None:
    """Take a request from the mailbox; the second time changes nothing."""
    request_id = document["request_id"]
    known = connection.execute(sa.select(_c.id).where(_c.id == request_id)).first()
    if known is not None:
        return
    names = ("transaction_uid", "association_id", "called_ae", "calling_ae", "host")
    connection.execute(
        sa.insert(commitment_requests).values(
            id=request_id,
            references=document["references"],
            answers_here=document["answers_here"],
            state="RECEIVED",
            next_at=time.time(),
            received_at=document["received_at"],
            **{name: document[name] for name in names},
        )
    )
    _tell(connection, _row(connection, request_id), Kind.COMMITMENT_REQUESTED, None)


def due_callers(connection: Connection) -> list[str]:
    """AE titles that are to be told something now.  Reads only."""
    return sorted(connection.execute(sa.select(_c.calling_ae).where(_due()).distinct()).scalars())


def due(connection: Connection, calling_ae: str) -> list[Row[Any]]:
    """Requests of ``calling_ae`` to be answered now, oldest first.  Reads only."""
    query = sa.select(commitment_requests).where(_due(), _c.calling_ae == calling_ae)
    return list(connection.execute(query.order_by(_c.received_at).limit(_CHUNK)).all())


def _due() -> sa.ColumnElement[bool]:
    return sa.and_(_c.state.in_(("RECEIVED", "ANSWERING")), _c.next_at <= time.time())


def judge(
    connection: Connection, data_dir: Path, row: Row[Any], called_aes: Collection[str]
) -> Notice:
    """What is really stored of the instances asked about.  Reads only."""
    references = [Reference(*each) for each in row.references]
    titles = sorted({*called_aes, row.called_ae})
    stored = _stored(connection, data_dir, [r.sop_instance_uid for r in references], titles)
    committed = []
    failed = []
    for each in references:
        classes = stored.get(each.sop_instance_uid)
        if classes and each.sop_class_uid in classes:
            committed.append(each)
            continue
        reason = CLASS_CONFLICT if classes else NO_SUCH_OBJECT
        failed.append(Failure(each.sop_class_uid, each.sop_instance_uid, reason))
    return Notice(row.transaction_uid, tuple(committed), tuple(failed))


def _stored(
    connection: Connection, data_dir: Path, uids: Sequence[str], called_aes: Sequence[str]
) -> dict[str, set[str]]:
    """SOP classes by SOP Instance UID of those indexed whose file is there."""
    found: dict[str, set[str]] = {}
    for at in range(0, len(uids), _CHUNK):
        rows = connection.execute(
            sa.select(
                instances.c.sop_instance_uid, instances.c.sop_class_uid, instances.c.path
            ).where(
                instances.c.called_ae.in_(called_aes),
                instances.c.sop_instance_uid.in_(uids[at : at + _CHUNK]),
                instances.c.state == "STORED",
            )
        )
        for row in rows:
            if (data_dir / row.path).is_file():
                found.setdefault(row.sop_instance_uid, set()).add(row.sop_class_uid)
    return found


def too_early(row: Row[Any], notice: Notice, policy: CommitmentPolicy) -> bool:
    """Whether what is missing may still be on its way into the index."""
    missing = any(each.reason == NO_SUCH_OBJECT for each in notice.failed)
    return missing and time.time() < row.received_at + policy.index_seconds


def told(connection: Connection, request_id: str, notice: Notice | None) -> None:
    """The modality has taken the report; ``notice`` None = the one that was left for it."""
    counts = {} if notice is None else _counts(notice)
    row = _end(connection, request_id, "REPORTED", None, reported_at=time.time(), **counts)
    if row is not None:
        _tell(connection, row, Kind.COMMITMENT_REPORTED, None)


def answering(
    connection: Connection, request_id: str, notice: Notice, policy: CommitmentPolicy
) -> None:
    """The report is about to be left for the association that asked."""
    until = time.time() + policy.same_association_limit
    values = {"state": "ANSWERING", "next_at": until, **_counts(notice)}
    _update(connection, request_id, values)


def untold(connection: Connection, row: Row[Any], reason: str, policy: CommitmentPolicy) -> None:
    """A try to tell the modality failed: again later, or given up."""
    attempts = row.attempts + 1
    if attempts >= policy.tell_tries:
        give_up(connection, row.id, f"not told after {attempts} tries: {reason}", attempts)
        return
    later = time.time() + policy.backoff.wait(attempts)
    _update(connection, row.id, {"attempts": attempts, "reason": reason, "next_at": later})
    if reason != row.reason:
        _tell(connection, _row(connection, row.id), Kind.COMMITMENT_WAITING, reason)


def put_off(connection: Connection, row: Row[Any], seconds: float) -> None:
    """Look at the request again in so many seconds."""
    _update(connection, row.id, {"next_at": time.time() + seconds})


def give_up(connection: Connection, request_id: str, reason: str, attempts: int = 0) -> None:
    """Nobody can be told."""
    more = {"attempts": attempts} if attempts else {}
    row = _end(connection, request_id, "FAILED", reason, **more)
    if row is not None:
        _tell(connection, row, Kind.COMMITMENT_FAILED, reason)


def forget(connection: Connection, before: float) -> None:
    """Delete the records of requests that ended and were received before ``before``."""
    over = _c.state.in_(("REPORTED", "FAILED"))
    connection.execute(sa.delete(commitment_requests).where(over, _c.received_at < before))


def _end(
    connection: Connection, request_id: str, state: str, reason: str | None, **values: Any
) -> Row[Any] | None:
    """End an open request; None when it has ended already or is unknown."""
    changed = connection.execute(
        sa.update(commitment_requests)
        .where(_c.id == request_id, _c.state.in_(("RECEIVED", "ANSWERING")))
        .values(state=state, reason=reason, next_at=None, **values)
    )
    return _row(connection, request_id) if changed.rowcount else None


def _update(connection: Connection, request_id: str, values: Mapping[str, Any]) -> None:
    connection.execute(
        sa.update(commitment_requests).where(_c.id == request_id).values(dict(values))
    )


def _counts(notice: Notice) -> dict[str, int]:
    return {"committed": len(notice.committed), "failed": len(notice.failed)}


def _row(connection: Connection, request_id: str) -> Row[Any]:
    return connection.execute(sa.select(commitment_requests).where(_c.id == request_id)).one()


def _tell(connection: Connection, row: Row[Any], kind: Kind, reason: str | None) -> None:
    record(
        connection,
        kind,
        correlation_id=row.association_id,
        association_id=row.association_id,
        data={
            "calling_ae": row.calling_ae,
            "called_ae": row.called_ae,
            "transaction_uid": row.transaction_uid,
            "state": row.state,
            "reason": reason,
            "instances": len(row.references),
            "committed": row.committed,
            "failed": row.failed,
        },
    )
