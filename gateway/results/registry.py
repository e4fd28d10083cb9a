"""From what an operator registered to results that may be delivered.

Called by the jobs room, in its own transactions::

    registrations = collect(folder, definition, operator)     # outside a transaction
    register(connection, …)                                   # with the operator's end
    release(connection, job_id, attempt)                      # with the job's HEALTHY
    discard(connection, job_id, before_attempt)               # before a rerun
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import new_id, result_files, results
from gateway.errors import Permanent
from gateway.events import faults
from gateway.events.record import Kind, record
from gateway.results.agents import NAMING_AGENTS, OWN_AGENTS
from gateway.results.registration import (
    RegisteredFile,
    Registration,
    RegistrationError,
    collect,
)
from gateway.results.states import FileState, State, still_needed

__all__ = [
    "NoDestination",
    "Registration",
    "RegistrationError",
    "collect",
    "discard",
    "open_results",
    "register",
    "release",
]


class NoDestination(Permanent):
    """Results without a destination, or with one that ``ae_config`` does not know."""


def register(
    connection: Connection,
    *,
    job_id: str,
    attempt: int,
    correlation_id: str,
    registrations: Sequence[Registration],
    default_destinations: Sequence[str],
    known_destinations: Callable[[str], bool],
) -> int:
    """Store one result per registration and destination; returns how many.

    Undelivered registrations of earlier attempts are discarded.  A file that the same attempt
    registered already for the same agent and parameter is not registered again.  Nothing is
    deliverable before :func:`release`.  Raises :class:`NoDestination`; the caller's transaction
    must then be rolled back.
    """
    discard(connection, job_id, attempt)
    count = 0
    for registration in registrations:
        for destination, parameters in _targets(
            registration, default_destinations, known_destinations
        ):
            count += _insert(
                connection,
                registration,
                job_id=job_id,
                attempt=attempt,
                correlation_id=correlation_id,
                destination=destination,
                parameters=parameters,
            )
    faults.point("results.registered")
    return count


def release(connection: Connection, job_id: str, attempt: int) -> int:
    """Make the attempt's results deliverable; returns how many.

    Call it in the transaction that makes the job HEALTHY, and notify ``Topic.RESULTS`` after it
    committed.
    """
    discard(connection, job_id, attempt)
    rows = connection.execute(
        sa.update(results)
        .where(
            results.c.job_id == job_id,
            results.c.attempt == attempt,
            results.c.deliverable.is_(False),
        )
        .values(deliverable=True)
        .returning(results.c.id, results.c.correlation_id, results.c.agent, results.c.destination)
    ).all()
    for row in rows:
        record(
            connection,
            Kind.RESULT_REGISTERED,
            correlation_id=row.correlation_id,
            job_id=job_id,
            result_id=row.id,
            data={
                "agent": row.agent,
                "destination": row.destination,
                "state": State.PENDING.value,
                "attempt": attempt,
            },
        )
    faults.point("results.released")
    return len(rows)


def discard(connection: Connection, job_id: str, before_attempt: int) -> int:
    """Delete what attempts before ``before_attempt`` registered and never released."""
    stale = sa.and_(
        results.c.job_id == job_id,
        results.c.attempt < before_attempt,
        results.c.deliverable.is_(False),
    )
    connection.execute(
        sa.delete(result_files).where(
            result_files.c.result_id.in_(sa.select(results.c.id).where(stale))
        )
    )
    return connection.execute(sa.delete(results).where(stale)).rowcount


def open_results(connection: Connection, job_id: str) -> bool:
    """True while a deliverable result of the job still needs its files."""
    found = connection.execute(
        sa.select(results.c.id)
        .where(
            results.c.job_id == job_id,
            results.c.deliverable.is_(True),
            still_needed(),
        )
        .limit(1)
    )
    return found.first() is not None


def _targets(
    registration: Registration, defaults: Sequence[str], known: Callable[[str], bool]
) -> Iterator[tuple[str | None, Any]]:
    """Each (destination, parameter) the registration goes to, without repetitions."""
    agent = registration.agent.lower()
    if agent not in NAMING_AGENTS:
        yield from ((None, value) for value in registration.parameters or (None,))
        return
    names = list(defaults) if registration.parameters is None else list(registration.parameters)
    if not names:
        raise NoDestination(
            f"Results for {registration.agent} have no destination: give --data, or destinations "
            "to the rule."
        )
    seen: set[str] = set()
    for name in names:
        checked = _destination(registration.agent, name, known)
        if checked.lower() not in seen:
            seen.add(checked.lower())
            yield checked, checked


def _destination(agent: str, name: object, known: Callable[[str], bool]) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        raise NoDestination(f"A destination for {agent} is a name of 1 to 64 characters.")
    # Another agent's destinations are known to its poller only.
    if agent.lower() in OWN_AGENTS and not known(name):
        raise NoDestination(f"No destination in ae_config is named {name!r}.")
    return name


def _insert(
    connection: Connection,
    registration: Registration,
    *,
    job_id: str,
    attempt: int,
    correlation_id: str,
    destination: str | None,
    parameters: Any,
) -> int:
    encoded = json.dumps(parameters)
    known = results.c.parameters == encoded
    if destination is not None:
        # Names of destinations compare without case, other parameters exactly.
        known = sa.func.lower(results.c.destination) == destination.lower()
    same = (
        results.c.job_id == job_id,
        results.c.attempt == attempt,
        sa.func.lower(results.c.agent) == registration.agent.lower(),
        known,
    )
    there = set(
        connection.execute(sa.select(result_files.c.path).join(results).where(*same)).scalars()
    )
    files = [file for file in registration.files if file.path not in there]
    if not files:
        return 0
    result_id = new_id()
    connection.execute(
        sa.insert(results).values(
            id=result_id,
            correlation_id=correlation_id,
            job_id=job_id,
            attempt=attempt,
            agent=registration.agent,
            destination=destination,
            parameters=encoded,
            deliverable=False,
            state=State.PENDING,
            created_at=time.time(),
        )
    )
    connection.execute(sa.insert(result_files), [_row(result_id, file) for file in files])
    return 1


def _row(result_id: str, file: RegisteredFile) -> dict[str, Any]:
    identity = file.identity
    return {
        "result_id": result_id,
        "path": file.path,
        "sop_instance_uid": identity.sop_instance_uid if identity else None,
        "sop_class_uid": identity.sop_class_uid if identity else None,
        "transfer_syntax_uid": identity.transfer_syntax_uid if identity else None,
        "series_instance_uid": identity.series_instance_uid if identity else None,
        "size": file.size,
        "state": FileState.PENDING,
    }
