"""The records of storage commitment that we ask for: what is due, asked, reported (PS3.4 Annex J).

A result of a destination with ``commitment: true`` owes a commitment from the moment it is
DELIVERED.  Each request is a transaction of its own, on disk before it is sent.  Every function
works inside the caller's write transaction (readers say so).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydicom.uid import generate_uid
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import commitments, results
from gateway.delivery import commitment_records as records
from gateway.delivery.commitment_policy import CommitmentPolicy
from gateway.dicom.commitment import Notice, Reference
from gateway.events.record import Kind
from gateway.results.states import OPEN_COMMITMENTS, Commitment, State

_SETTLING = frozenset({*OPEN_COMMITMENTS, Commitment.COMMITTED})
_name = sa.func.lower(results.c.destination)


@dataclass(frozen=True)
class Asking:
    """One request about to be sent."""

    result_id: str
    request: Notice


def owe(connection: Connection, destination: str, result_ids: Iterable[str]) -> None:
    """Those of the results that are DELIVERED to the destination are due now."""
    connection.execute(
        sa.update(results)
        .where(
            results.c.id.in_(list(result_ids)),
            results.c.state == State.DELIVERED,
            _name == destination.lower(),
            sa.or_(results.c.commitment.is_(None), results.c.commitment.not_in(sorted(_SETTLING))),
        )
        .values(
            commitment=Commitment.DUE,
            commitment_at=time.time(),
            commitment_tries=0,
            commitment_reason=None,
        )
    )


def due_destinations(connection: Connection) -> list[str]:
    """Lower-cased names of the destinations that are to be asked now.  Reads only."""
    query = sa.select(_name).where(_due(time.time())).distinct()
    return sorted(name for name in connection.execute(query).scalars() if name)


def _due(now: float) -> sa.ColumnElement[bool]:
    return sa.and_(
        results.c.state == State.DELIVERED,
        results.c.commitment.in_(sorted(OPEN_COMMITMENTS)),
        results.c.commitment_at <= now,
    )


def claim(connection: Connection, destination: str, policy: CommitmentPolicy) -> list[Asking]:
    """Open a transaction for each due result of the destination, oldest first.

    Nothing is sent before the caller's transaction committed.  A killed process leaves the result
    due; the next one asks with a fresh Transaction UID, and either report will do.
    """
    rows = connection.execute(
        sa.select(results)
        .where(_due(time.time()), _name == destination.lower())
        .order_by(results.c.created_at, results.c.id)
        .limit(policy.batch)
        .with_for_update()
    ).all()
    found = (_claim(connection, row, policy) for row in rows)
    return [asking for asking in found if asking is not None]


def _claim(connection: Connection, row: Row[Any], policy: CommitmentPolicy) -> Asking | None:
    open_files = records.uncommitted(connection, row.id)
    if not open_files:
        records.commit(connection, row.id)
        return None
    silent = row.commitment == Commitment.ASKED
    if row.commitment_tries >= policy.tries:
        last = "no report came" if silent else row.commitment_reason
        records.fail(
            connection, row.id, f"not committed after {row.commitment_tries} requests: {last}"
        )
        return None
    if silent:
        reason = f"no report came of request {row.commitment_tries}, asked again"
        records.wait(connection, row, reason, row.commitment_at)
    transaction = str(generate_uid(prefix=None))
    now = time.time()
    connection.execute(
        sa.insert(commitments).values(
            transaction_uid=transaction,
            result_id=row.id,
            destination=row.destination,
            state="ASKING",
            created_at=now,
        )
    )
    connection.execute(
        sa.update(results).where(results.c.id == row.id).values(commitment=Commitment.DUE)
    )
    references = tuple(Reference(f.sop_class_uid, f.sop_instance_uid) for f in open_files)
    return Asking(row.id, Notice(transaction, references))


def accepted(connection: Connection, asking: Asking, policy: CommitmentPolicy) -> None:
    """The destination accepted a request; its report may have come already."""
    now = time.time()
    changed = connection.execute(
        sa.update(commitments)
        .where(
            commitments.c.transaction_uid == asking.request.transaction_uid,
            commitments.c.state == "ASKING",
        )
        .values(state="ASKED", asked_at=now)
    )
    row = records.result(connection, asking.result_id)
    if not changed.rowcount or row.commitment != Commitment.DUE:
        return
    tries = row.commitment_tries + 1
    connection.execute(
        sa.update(results)
        .where(results.c.id == row.id)
        .values(
            commitment=Commitment.ASKED,
            commitment_tries=tries,
            commitment_at=now + policy.patience(tries),
        )
    )
    records.tell(
        connection,
        row,
        Kind.COMMITMENT_ASKED,
        Commitment.ASKED,
        None,
        asking.request.transaction_uid,
    )


def refused(
    connection: Connection,
    asking: Sequence[Asking],
    reason: str,
    policy: CommitmentPolicy,
    *,
    answered: bool = False,
) -> None:
    """Requests that were not accepted; ``answered``: by the destination itself, with a status.

    Their transactions stay known: who broke off may have understood, and report.
    """
    for each in asking:
        connection.execute(
            sa.update(commitments)
            .where(
                commitments.c.transaction_uid == each.request.transaction_uid,
                commitments.c.state == "ASKING",
            )
            .values(state="ENDED", reason=reason)
        )
        row = records.result(connection, each.result_id)
        if row.commitment != Commitment.DUE:
            continue
        tries = row.commitment_tries + (1 if answered else 0)
        wait = policy.backoff.wait(_failures(connection, each.result_id))
        records.wait(connection, row, reason, time.time() + wait, tries)


def _failures(connection: Connection, result_id: str) -> int:
    ended = sa.select(sa.func.count()).where(
        commitments.c.result_id == result_id, commitments.c.state == "ENDED"
    )
    return int(connection.execute(ended).scalar_one())


def drop(connection: Connection, destination: str) -> None:
    """The destination is not to commit any more: what is owed is let go, visibly."""
    gone = "the destination is no longer asked for commitments"
    connection.execute(
        sa.update(results)
        .where(_due(time.time()), _name == destination.lower())
        .values(commitment=None, commitment_at=None, commitment_reason=gone)
    )


def postpone(connection: Connection, destination: str, reason: str, until: float) -> None:
    """Let the due results of a destination that cannot be asked wait, for this reason."""
    rows = connection.execute(
        sa.select(results).where(_due(time.time()), _name == destination.lower())
    ).all()
    for row in rows:
        records.wait(connection, row, reason, until)


def transactions(connection: Connection, since: float) -> list[str]:
    """Transaction UIDs made after ``since``, for the mailbox.  Reads only."""
    query = sa.select(commitments.c.transaction_uid).where(commitments.c.created_at > since)
    return list(connection.execute(query).scalars())


def forgotten(connection: Connection, before: float) -> list[str]:
    """Transactions that ended before ``before``: their records go, and they are named."""
    over = sa.select(results.c.id).where(
        sa.or_(results.c.state != State.DELIVERED, results.c.commitment.is_(None))
    )
    return list(
        connection.execute(
            sa.delete(commitments)
            .where(commitments.c.created_at < before, commitments.c.result_id.in_(over))
            .returning(commitments.c.transaction_uid)
        ).scalars()
    )
