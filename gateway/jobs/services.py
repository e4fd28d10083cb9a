"""What services hold: they are counted like running jobs, from a reservation to their end.

A service that a job needs and that does not run yet is part of the job's need; the transaction in
which the job begins reserves it.  One that runs is nobody's need but holds what it asked for, until
nobody has used it for a while or a job waits for what an idle one holds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import jobs, new_id, services
from gateway.jobs.ledger import Capacity, Need, NeverFits, fits
from gateway.jobs.states import State
from gateway.pipelines.graph import needs
from gateway.pipelines.model import Definition, Requests
from gateway.pipelines.services import wanted

Priced = Mapping[str, Sequence[float]]
"""A job's services: identity to cores, MB, devices."""
_STOPPING = "STOPPING"
_RESERVED = "RESERVED"


@dataclass(frozen=True)
class Up:
    """A service that holds something on this machine."""

    id: str
    identity: str
    need: Need
    devices: tuple[int, ...]
    idle: bool
    """It runs and no job needs it."""
    ours: bool
    """This scheduler's, and not about to end: its jobs need not start another."""


def admitted(
    capacity: Capacity, definition: Definition, triton: Requests | None, missing_gpu: str
) -> tuple[Need, dict[str, list[float]]]:
    """What the operators of a job hold at once, and what each of its services does.

    ``triton``: what the gateway's own takes; None = the engine keeps no services.  Cores are
    capped so that both fit the machine.  Raises :class:`~gateway.jobs.ledger.NeverFits`.
    """
    need = capacity.admit(needs(definition), missing_gpu=missing_gpu)
    found = () if triton is None else wanted(definition, triton)
    if not found:
        return need, {}
    gpus = bool(capacity.gpus) or missing_gpu != "cpu"
    most = capacity.cpu / 2 / len(found)
    priced = {
        each.identity: [
            min(each.requests.cpu, most),
            each.requests.memory,
            each.requests.gpu if gpus else 0,
        ]
        for each in found
    }
    cores = sum(cpu for cpu, _, _ in priced.values())
    need = Need(min(need.cpu, capacity.cpu - cores), need.memory_mb, need.gpus)
    shortage = capacity.shortage(plus(need, map(need_of, priced.values())))
    if shortage:
        raise NeverFits(f"with its services {shortage}")
    return need, priced


def need_of(priced: Sequence[float]) -> Need:
    """One service's price as a need."""
    cpu, memory, gpus = priced
    return Need(cpu, int(memory), int(gpus))


def plus(need: Need, others: Iterable[Need]) -> Need:
    """The sum."""
    for other in others:
        need = Need(need.cpu + other.cpu, need.memory_mb + other.memory_mb, need.gpus + other.gpus)
    return need


def up(connection: Connection, node: str, owner: str) -> list[Up]:
    """The services of a machine; ``owner`` is the scheduler that asks."""
    rows = connection.execute(sa.select(services).where(services.c.node == node)).all()
    called = needed(connection, owner) if rows else frozenset()
    return [
        Up(
            row.id,
            row.identity,
            Need(row.cpu, row.memory_mb, row.gpus),
            tuple(row.devices),
            idle=row.identity not in called if row.owner == owner else row.jobs == 0,
            ours=row.owner == owner and row.state != _STOPPING,
        )
        for row in rows
    ]


def needed(connection: Connection, owner: str) -> frozenset[str]:
    """Identities of the services that running jobs of a scheduler call."""
    query = sa.select(jobs.c.services).where(
        jobs.c.state == State.RUNNING.value, jobs.c.owner == owner, jobs.c.services.is_not(None)
    )
    return frozenset(identity for (priced,) in connection.execute(query) for identity in priced)


def lacking(priced: Priced, running: Iterable[Up]) -> dict[str, Sequence[float]]:
    """Those of a job's services that are not up."""
    there = {each.identity for each in running if each.ours}
    return {identity: price for identity, price in priced.items() if identity not in there}


def reserve(
    connection: Connection, priced: Priced, owner: str, node: str, devices: Sequence[int]
) -> None:
    """Keep those of a job's services that are up, reserve the others, in the job's transaction.

    ``devices``: GPUs for the services that are reserved.
    """
    now, left = time.time(), list(devices)
    for identity, price in priced.items():
        kept = connection.execute(
            sa.update(services)
            .where(
                services.c.owner == owner,
                services.c.identity == identity,
                services.c.state != _STOPPING,
            )
            .values(used_at=now, stop_requested=False)
        )
        if kept.rowcount:
            continue
        need = need_of(price)
        own, left = left[: need.gpus], left[need.gpus :]
        connection.execute(
            sa.insert(services).values(
                id=new_id(),
                identity=identity,
                name=identity,
                image="",
                owner=owner,
                node=node,
                state=_RESERVED,
                cpu=need.cpu,
                memory_mb=need.memory_mb,
                gpus=need.gpus,
                devices=own,
                models=[],
                jobs=0,
                restarts=0,
                log="",
                stop_requested=False,
                created_at=now,
                used_at=now,
            )
        )


def in_the_way(running: Iterable[Up], need: Need, free: Need, spared: Iterable[str]) -> list[str]:
    """Idle services whose end lets a job start that needs ``need`` of what ``free`` has not got.

    ``spared``: identities that the job itself calls.
    """
    keep = set(spared)
    idle = [each for each in running if each.ours and each.idle and each.identity not in keep]
    if fits(need, free) or not fits(need, plus(free, (each.need for each in idle))):
        return []
    return [each.id for each in idle]


def give_way(connection: Connection, identifiers: Sequence[str]) -> None:
    """Ask for the end of services, each as soon as no job needs it."""
    connection.execute(
        sa.update(services).where(services.c.id.in_(identifiers)).values(stop_requested=True)
    )
