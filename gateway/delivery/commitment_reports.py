"""What a report of storage commitment changes; inside the caller's write transaction.

A report counts whichever transaction of a result it belongs to, how late and how often it comes.
What it leaves uncommitted is decided by its Failure Reasons (PS3.3 C.14.1.1):

======================== =======================================================================
0112H no such object     the instances are sent again (``resends`` times), then asked for again
0110H, 0131H, 0213H,     asked for again after a back-off, ``tries`` times in a row
or not mentioned
any other                FAILED: the same bytes will hardly ever be committed
======================== =======================================================================

A person's retry sends again what failed and asks again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import commitments, result_files
from gateway.delivery import commitment_records as records
from gateway.delivery.commitment_policy import CommitmentPolicy
from gateway.dicom import commitment
from gateway.dicom.commitment import Notice, reason_words
from gateway.results.records import move
from gateway.results.states import Event, FileState, State

_AGAIN = frozenset({0x0110, 0x0131, 0x0213})
_NOT_MENTIONED = 0x0110


def report(connection: Connection, notice: Notice, policy: CommitmentPolicy) -> bool:
    """Take a report; harmless when it came before.  False for a transaction nobody knows."""
    transaction = connection.execute(
        sa.select(commitments)
        .where(commitments.c.transaction_uid == notice.transaction_uid)
        .with_for_update()
    ).one_or_none()
    if transaction is None:
        return False
    row = records.result(connection, transaction.result_id)
    _mark(connection, row.id, notice)
    first = transaction.state != "REPORTED"
    connection.execute(
        sa.update(commitments)
        .where(commitments.c.transaction_uid == notice.transaction_uid)
        .values(
            state="REPORTED",
            reported_at=transaction.reported_at or time.time(),
            reason=_summary(notice),
        )
    )
    left = records.uncommitted(connection, row.id)
    if not left:
        records.commit(connection, row.id)
    elif first and _is_latest(connection, transaction) and row.state == State.DELIVERED:
        _judge(connection, row, left, notice, policy)
    return True


def _mark(connection: Connection, result_id: str, notice: Notice) -> None:
    committed = [each.sop_instance_uid for each in notice.committed]
    for at in range(0, len(committed), 500):
        connection.execute(
            sa.update(result_files)
            .where(
                result_files.c.result_id == result_id,
                result_files.c.committed_at.is_(None),
                result_files.c.sop_instance_uid.in_(committed[at : at + 500]),
            )
            .values(committed_at=time.time(), commitment_failure=None)
        )


def _is_latest(connection: Connection, transaction: Row[Any]) -> bool:
    later = sa.select(commitments.c.transaction_uid).where(
        commitments.c.result_id == transaction.result_id,
        commitments.c.created_at > transaction.created_at,
    )
    return connection.execute(later.limit(1)).first() is None


def _judge(
    connection: Connection,
    row: Row[Any],
    left: Sequence[Row[Any]],
    notice: Notice,
    policy: CommitmentPolicy,
) -> None:
    """Decide what follows a report that does not commit everything."""
    reasons = {each.sop_instance_uid: each.reason for each in notice.failed}
    by_file = {f.id: reasons.get(f.sop_instance_uid, _NOT_MENTIONED) for f in left}
    for file_id, reason in by_file.items():
        connection.execute(
            sa.update(result_files)
            .where(result_files.c.id == file_id)
            .values(commitment_failure=reason)
        )
    text = _summary(notice) if notice.failed else f"{len(left)} instances not mentioned"
    hopeless = [f for f, r in by_file.items() if r not in _AGAIN and r != commitment.NO_SUCH_OBJECT]
    missing = [f for f, r in by_file.items() if r == commitment.NO_SUCH_OBJECT]
    if hopeless:
        _set_files(connection, [*hopeless, *missing], FileState.FAILED)
        records.fail(connection, row.id, text)
    elif missing:
        _resend(connection, row, missing, notice, policy)
    else:
        tries = max(row.commitment_tries, 1)
        records.wait(connection, row, text, time.time() + policy.backoff.wait(tries), tries)


def _resend(
    connection: Connection,
    row: Row[Any],
    missing: Sequence[int],
    notice: Notice,
    policy: CommitmentPolicy,
) -> None:
    """Send again what the destination says it has not, if that was not done too often."""
    times = connection.execute(
        sa.select(sa.func.count()).where(
            commitments.c.result_id == row.id, commitments.c.resent.is_(True)
        )
    ).scalar_one()
    text = _summary(notice)
    if times >= policy.resends:
        _set_files(connection, missing, FileState.FAILED)
        records.fail(connection, row.id, f"sent {times + 1} times: {text}")
        return
    connection.execute(
        sa.update(commitments)
        .where(commitments.c.transaction_uid == notice.transaction_uid)
        .values(resent=True)
    )
    _set_files(connection, missing, FileState.PENDING)
    move(
        connection,
        row.id,
        Event.RESEND,
        reason=f"sent again: {text}",
        next_at=time.time() + policy.backoff.wait(times + 1),
        commitment=None,
        commitment_at=None,
        commitment_reason=text,
    )


def _set_files(connection: Connection, files: Sequence[int], state: FileState) -> None:
    connection.execute(
        sa.update(result_files).where(result_files.c.id.in_(list(files))).values(state=state)
    )


def _summary(notice: Notice) -> str:
    if not notice.failed:
        return f"{len(notice.committed)} instances committed"
    words = sorted({reason_words(each.reason) for each in notice.failed})[:3]
    return f"{len(notice.failed)} instances not committed: {', '.join(words)}"
