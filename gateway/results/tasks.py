"""The results service: tasks as pollers such as Clara's DICOM adapter expect them.

``GET /api/tasks/{agent}/pending``, ``PUT /api/tasks/success/{id}``, ``PUT /api/tasks/failure/{id}``
(contract, section 6).  Pure database functions; the web room wires the routes.  A task is a
result of an agent the gateway does not serve itself (:mod:`gateway.results.agents`); its identifier
is the result's, written as a GUID.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import circuits, jobs, payloads, result_files, results
from gateway.errors import Refused
from gateway.results.agents import OWN_AGENTS
from gateway.results.backoff import Backoff
from gateway.results.records import move
from gateway.results.states import Event, FileState, State

LEASE_SECONDS = 300.0
"""How long a task stays with the poller that got it."""
MOST_TASKS = 1000
"""Most tasks in one answer."""


def pending(connection: Connection, agent: str, size: int) -> list[dict[str, Any]]:
    """Hand out at most ``size`` tasks of ``agent``, oldest first, each leased for five minutes.

    Use it inside a write transaction.  Agents compare lower-cased.  A task whose lease ran out is
    handed out again.  The tasks of an agent that the gateway serves itself are never handed out.
    """
    if agent.lower() in OWN_AGENTS:
        return []
    now = time.time()
    waiting_over = sa.and_(results.c.state == State.WAITING, results.c.next_at <= now)
    rows = connection.execute(
        sa.select(results, jobs.c.pipeline_id, jobs.c.payload_id)
        .join(jobs, jobs.c.id == results.c.job_id)
        .where(
            sa.func.lower(results.c.agent) == agent.lower(),
            results.c.deliverable.is_(True),
            sa.or_(results.c.state == State.PENDING, waiting_over),
            sa.or_(results.c.lease_until.is_(None), results.c.lease_until <= now),
        )
        .order_by(results.c.created_at, results.c.id)
        .limit(max(0, min(size, MOST_TASKS)))
        .with_for_update(of=results)
    ).all()
    ids = [row.id for row in rows]
    if not ids:
        return []
    connection.execute(
        sa.update(results).where(results.c.id.in_(ids)).values(lease_until=now + LEASE_SECONDS)
    )
    uris = _uris(connection, ids)
    return [_task(row, uris[row.id]) for row in rows]


def succeed(connection: Connection, task_id: str) -> None:
    """Note that a poller delivered a task; a second time changes nothing.

    Raises :class:`Refused` for an unknown task, one of an agent we serve, or one given up.
    """
    row = _polled(connection, task_id)
    if row.state in (State.DELIVERED, State.COMMITTED):
        return
    move(connection, row.id, Event.DELIVER, lease_until=None)
    connection.execute(
        sa.update(result_files)
        .where(result_files.c.result_id == row.id)
        .values(state=FileState.SENT, sent_at=time.time())
    )


def fail(connection: Connection, task_id: str, retry_later: bool) -> None:
    """Note that a poller could not deliver a task: later again, or given up.

    Raises :class:`Refused` as :func:`succeed` does, and for a task that was delivered.
    """
    row = _polled(connection, task_id)
    retries = row.retries + 1
    if not retry_later:
        reason = f"the agent {row.agent} reported failure"
        move(connection, row.id, Event.FAIL, reason=reason, lease_until=None, retries=retries)
        return
    move(
        connection,
        row.id,
        Event.POSTPONE,
        reason=f"the agent {row.agent} asked to retry later",
        lease_until=None,
        retries=retries,
        next_at=time.time() + Backoff().wait(retries),
    )


def retry(connection: Connection, result_id: str) -> None:
    """Let a FAILED or WAITING result be tried again now, at a person's wish.

    Files that were given up are tried again; files with a positive answer are not.  Notify
    ``Topic.RESULTS`` after the commit.  Raises :class:`Refused` for an unknown result or state.
    """
    now = time.time()
    identifier = _identifier(result_id)
    _refuse_overwritten(connection, identifier)
    move(connection, identifier, Event.RETRY, retries=0, reason=None, lease_until=None)
    connection.execute(
        sa.update(result_files)
        .where(
            result_files.c.result_id == identifier,
            result_files.c.state == FileState.FAILED,
        )
        .values(state=FileState.PENDING, attempts=0)
    )
    destination = sa.select(sa.func.lower(results.c.destination)).where(results.c.id == identifier)
    # The person knows better than the open circuit: let it probe at once.
    connection.execute(
        sa.update(circuits)
        .where(
            sa.func.lower(circuits.c.destination) == destination.scalar_subquery(),
            circuits.c.state == "OPEN",
        )
        .values(retry_at=now)
    )


def resend(connection: Connection, result_id: str) -> None:
    """Have what was delivered sent once more, every file with the same UID and bytes.

    For a peer that lost it.  A destination that answers "duplicate" has it, which is as good.
    Notify ``Topic.RESULTS`` after the commit.  Raises :class:`Refused` for an unknown result or
    state, and when the files are not what was delivered, or are deleted.
    """
    identifier = _identifier(result_id)
    _refuse_overwritten(connection, identifier)
    _refuse_deleted(connection, identifier)
    move(
        connection,
        identifier,
        Event.RESEND,
        reason="sent again at a person's wish",
        next_at=time.time(),
        retries=0,
        lease_until=None,
        delivered_at=None,
        commitment=None,
        commitment_at=None,
        commitment_reason=None,
        commitment_tries=0,
        committed_at=None,
    )
    # One try is remembered, so that "duplicate" is understood as "I have it".
    again = {"state": FileState.PENDING, "attempts": 1, "committed_at": None}
    mine = result_files.c.result_id == identifier
    connection.execute(sa.update(result_files).where(mine).values(**again))


def _refuse_deleted(connection: Connection, identifier: str) -> None:
    row = connection.execute(
        sa.select(jobs.c.payload_deleted_at, payloads.c.deleted_at)
        .select_from(results)
        .join(jobs, jobs.c.id == results.c.job_id)
        .outerjoin(payloads, payloads.c.id == jobs.c.received_payload_id)
        .where(results.c.id == identifier)
    ).one_or_none()
    if row is not None and any(row):
        raise Refused(f"the files of result {identifier} were deleted")


def _refuse_overwritten(connection: Connection, identifier: str) -> None:
    """A later attempt of the job wrote over the result's files: they are not what it promised."""
    row = connection.execute(
        sa.select(results.c.attempt, jobs.c.attempt.label("latest"))
        .join(jobs, jobs.c.id == results.c.job_id)
        .where(results.c.id == identifier)
    ).one_or_none()
    if row is not None and row.latest > row.attempt:
        raise Refused(
            f"result {identifier} is of attempt {row.attempt}; attempt {row.latest} of its job "
            "has written over its files"
        )


def _polled(connection: Connection, task_id: str) -> Row[Any]:
    row = connection.execute(
        sa.select(results).where(
            results.c.id == _identifier(task_id), results.c.deliverable.is_(True)
        )
    ).one_or_none()
    if row is None:
        raise Refused(f"There is no task {task_id[:64]!r}.")
    if row.agent.lower() in OWN_AGENTS:
        raise Refused(f"The gateway itself delivers the tasks of {row.agent}.")
    return row


def _identifier(text: str) -> str:
    """Our form of an identifier that may be written as a GUID; raises Refused for neither."""
    try:
        return uuid.UUID(text).hex
    except ValueError as error:
        raise Refused(f"There is no task or result {text[:64]!r}.") from error


def _uris(connection: Connection, ids: list[str]) -> dict[str, list[str]]:
    uris: dict[str, list[str]] = {identifier: [] for identifier in ids}
    for row in connection.execute(
        sa.select(result_files.c.result_id, result_files.c.path)
        .where(result_files.c.result_id.in_(ids))
        .order_by(result_files.c.id)
    ):
        uris[row.result_id].append(row.path)
    return uris


def _task(row: Row[Any], uris: list[str]) -> dict[str, Any]:
    return {
        "taskId": str(uuid.UUID(row.id)),
        "jobId": row.job_id,
        "pipelineId": row.pipeline_id,
        "payloadId": row.payload_id,
        "agent": row.agent,
        "parameters": row.parameters,
        # Clara's words: what is handed out is Pending, whatever happened to it before.
        "state": "Pending",
        "retries": row.retries,
        "uris": uris,
    }
