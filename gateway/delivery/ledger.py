"""The records of delivery: what is due, who carries it, what was answered, how it ended.

Every function works inside the caller's write transaction (readers say so), so each step is on
disk before the next one counts on it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import delivery_holds, jobs, result_files, results
from gateway.delivery.agent import POSITIVE, Answer, Item, Verdict
from gateway.delivery.policy import Policy
from gateway.delivery.statuses import words
from gateway.results.agents import OWN_AGENTS
from gateway.results.records import move
from gateway.results.states import TRANSITIONS, Event, FileState, State

_CLAIMABLE = sorted(state for state, event in TRANSITIONS if event is Event.CLAIM)
_OURS = sa.and_(
    results.c.deliverable.is_(True), sa.func.lower(results.c.agent).in_(sorted(OWN_AGENTS))
)
_name = sa.func.lower(results.c.destination)


@dataclass(frozen=True)
class Batch:
    """Results taken for one association, and their files without a positive answer."""

    result_ids: tuple[str, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Trouble:
    """Why the association did not answer every file."""

    reason: str
    next_at: float | None = None
    """When the destination is tried again; None = each result's own back-off."""


def _named(destination: str) -> sa.ColumnElement[bool]:
    return _name == destination.lower()


def _due(now: float) -> sa.ColumnElement[bool]:
    over = sa.and_(results.c.state == State.WAITING, results.c.next_at <= now)
    return sa.and_(_OURS, sa.or_(results.c.state == State.PENDING, over))


def _free() -> sa.ColumnElement[bool]:
    """A person did not pause the destination."""
    return _name.not_in(sa.select(delivery_holds.c.destination))


def due_destinations(connection: Connection) -> list[str]:
    """Lower-cased names of the destinations that have due work and are not paused.  Reads only."""
    query = sa.select(_name).where(_due(time.time()), _free()).distinct()
    return sorted(name for name in connection.execute(query).scalars() if name)


def claim(connection: Connection, destination: str, data_dir: Path, policy: Policy) -> Batch:
    """Take the destination's due results, oldest first: they become SENDING."""
    due = (
        sa.select(results.c.id)
        .where(_due(time.time()), _named(destination), _free())
        .order_by(results.c.created_at, results.c.id)
        .limit(policy.batch)
    )
    taken = (
        sa.update(results)
        .where(results.c.id.in_(due), results.c.state.in_(_CLAIMABLE))
        .values(state=State.SENDING, next_at=None)
        .returning(results.c.id)
    )
    ids = list(connection.execute(taken).scalars())
    rows = connection.execute(
        sa.select(result_files, results.c.job_id, jobs.c.payload_id)
        .join(results, results.c.id == result_files.c.result_id)
        .join(jobs, jobs.c.id == results.c.job_id)
        .where(result_files.c.result_id.in_(ids), result_files.c.state == FileState.PENDING)
        # What was tried most goes last: an instance that makes the peer abort holds up nobody.
        .order_by(result_files.c.attempts, result_files.c.id)
    )
    return Batch(tuple(ids), tuple(_item(row, data_dir) for row in rows))


def _item(row: Row[Any], data_dir: Path) -> Item:
    return Item(
        file_id=row.id,
        result_id=row.result_id,
        job_id=row.job_id,
        folder=data_dir / "payloads" / row.payload_id,
        path=row.path,
        size=row.size,
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        tries=row.attempts,
    )


def note(connection: Connection, item: Item, answer: Answer, policy: Policy) -> None:
    """Write down what became of one file."""
    tries = item.tries + 1
    connection.execute(
        sa.update(result_files)
        .where(result_files.c.id == item.file_id)
        .values(
            state=_file_state(answer.verdict, tries, policy),
            status=answer.status,
            comment=answer.comment or None,
            attempts=tries,
            sent_at=time.time() if answer.verdict in POSITIVE else None,
        )
    )


def _file_state(verdict: Verdict, tries: int, policy: Policy) -> FileState:
    if verdict is Verdict.SENT:
        return FileState.SENT
    if verdict is Verdict.WARNING:
        return FileState.WARNING
    given_up = verdict is Verdict.PERMANENT and tries >= policy.permanent_tries
    return FileState.FAILED if given_up or verdict is Verdict.HOPELESS else FileState.PENDING


def in_flight(connection: Connection, items: Sequence[Item]) -> None:
    """Note that files may have reached the peer although no answer came back."""
    connection.execute(
        sa.update(result_files)
        .where(result_files.c.id.in_([item.file_id for item in items]))
        .values(attempts=result_files.c.attempts + 1)
    )


def settle(
    connection: Connection, result_ids: Sequence[str], trouble: Trouble | None, policy: Policy
) -> None:
    """End the carrying of results: DELIVERED, FAILED, or WAITING for the next try."""
    for result_id in result_ids:
        files = connection.execute(
            sa.select(result_files)
            .where(result_files.c.result_id == result_id)
            .order_by(result_files.c.id)
        ).all()
        _settle(connection, result_id, files, trouble, policy)


def _settle(
    connection: Connection,
    result_id: str,
    files: Sequence[Row[Any]],
    trouble: Trouble | None,
    policy: Policy,
) -> None:
    states = [FileState(file.state) for file in files]
    if FileState.PENDING not in states:
        event = Event.FAIL if FileState.FAILED in states else Event.DELIVER
        move(connection, result_id, event, reason=_reason(files, None))
        return
    retries = (
        connection.execute(
            sa.select(results.c.retries).where(results.c.id == result_id)
        ).scalar_one()
        + 1
    )
    next_at = trouble.next_at if trouble else None
    move(
        connection,
        result_id,
        Event.POSTPONE,
        reason=_reason(files, trouble),
        retries=retries,
        next_at=next_at or time.time() + policy.backoff.wait(retries),
    )


def _reason(files: Sequence[Row[Any]], trouble: Trouble | None) -> str | None:
    """The sentence people read: how many arrived, and why the others did not."""
    arrived = [f for f in files if f.state in (FileState.SENT, FileState.WARNING)]
    missing = [f for f in files if f not in arrived]
    telling = missing or [f for f in files if f.state == FileState.WARNING]
    if not telling:
        return None
    causes = sorted({_words(f) for f in telling if f.status is not None or f.comment})[:3]
    if trouble is not None:
        causes.insert(0, trouble.reason)
    counts = f"{len(arrived)} of {len(files)} files delivered"
    return "; ".join([counts, *causes])


def _words(file: Row[Any]) -> str:
    # The comment beside a status is the peer's and may hold patient data; events tell this reason.
    return words(file.status) if file.status is not None else str(file.comment)


def interrupt(connection: Connection, result_ids: Sequence[str], policy: Policy) -> None:
    """End the carrying of results because the gateway stops: what is complete is DELIVERED."""
    for result_id in result_ids:
        states = set(
            connection.execute(
                sa.select(result_files.c.state).where(result_files.c.result_id == result_id)
            ).scalars()
        )
        if FileState.PENDING in states:
            move(connection, result_id, Event.INTERRUPT)
        else:
            settle(connection, [result_id], None, policy)


def _may_have_arrived(connection: Connection, dead: sa.ColumnElement[bool]) -> None:
    """Nobody knows whether the unanswered files of the results ``dead`` arrived.

    Remembered, so that a peer that then says "duplicate" is understood as "I have it".
    """
    connection.execute(
        sa.update(result_files)
        .where(
            result_files.c.result_id.in_(sa.select(results.c.id).where(dead)),
            result_files.c.state == FileState.PENDING,
            result_files.c.attempts == 0,
        )
        .values(attempts=1)
    )


def recover(connection: Connection, policy: Policy) -> list[str]:
    """Take back what a dead process was carrying; returns the results."""
    dead = sa.and_(_OURS, results.c.state == State.SENDING)
    ids = list(connection.execute(sa.select(results.c.id).where(dead)).scalars())
    _may_have_arrived(connection, dead)
    interrupt(connection, ids, policy)
    return ids


def postpone(connection: Connection, destination: str, trouble: Trouble) -> None:
    """Let the destination's due results wait without a try, for this reason."""
    due = sa.select(results.c.id).where(_due(time.time()), _named(destination))
    for result_id in list(connection.execute(due).scalars()):
        move(
            connection,
            result_id,
            Event.POSTPONE,
            reason=trouble.reason,
            next_at=trouble.next_at,
        )


def hold(connection: Connection, destination: str, until: float | None) -> None:
    """Let what waits for the destination already, with its own reason, wait on."""
    connection.execute(
        sa.update(results)
        .where(_due(time.time()), _named(destination), results.c.state == State.WAITING)
        .values(next_at=until)
    )


def wake(connection: Connection, destination: str) -> None:
    """Make everything that waits for the destination due now."""
    connection.execute(
        sa.update(results)
        .where(_OURS, _named(destination), results.c.state == State.WAITING)
        .values(next_at=time.time())
    )


def release(
    connection: Connection, destination: str, trouble: Trouble, policy: Policy
) -> list[str]:
    """Settle whatever the destination's dead thread left SENDING; returns the results."""
    dead = sa.and_(_OURS, _named(destination), results.c.state == State.SENDING)
    ids = list(connection.execute(sa.select(results.c.id).where(dead)).scalars())
    _may_have_arrived(connection, dead)
    settle(connection, ids, trouble, policy)
    return ids
