"""The records of services: what runs where, for people, for the ledger, and after a kill.

A record lives as long as its service.  The scheduler's admission makes it (RESERVED) in the same
transaction in which the first job that needs the service begins, so resources are counted before
anything is started; its keeper moves it on and removes it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.engine import Row

from gateway.database.engine import Database
from gateway.database.schema import new_id, services
from gateway.jobs.services import needed
from gateway.services.spec import Spec


class Condition(StrEnum):
    """States of a service."""

    RESERVED = "RESERVED"
    """A job that needs it begins."""
    STARTING = "STARTING"
    READY = "READY"
    RESTARTING = "RESTARTING"
    """It died, and waits for its next start or is in it."""
    STOPPING = "STOPPING"


@dataclass(frozen=True)
class Owner:
    """The scheduler that runs services, and its machine."""

    id: str
    node: str


@dataclass(frozen=True)
class Claim:
    """A record that is one keeper's."""

    id: str
    devices: tuple[int, ...]


class Records:
    """The records of one keeper; any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, owner: Owner, spec: Spec) -> Claim:
        """The record that admission made for ``spec``, or a new one, now STARTING."""
        requests = spec.service.requests
        now = time.time()
        with self._database.begin() as connection:
            row = connection.execute(
                sa.select(services.c.id, services.c.devices).where(
                    services.c.owner == owner.id,
                    services.c.identity == spec.identity,
                    services.c.state == Condition.RESERVED,
                )
            ).first()
            if row is None:
                identifier = new_id()
                connection.execute(
                    sa.insert(services).values(
                        id=identifier,
                        identity=spec.identity,
                        owner=owner.id,
                        node=owner.node,
                        cpu=requests.cpu,
                        memory_mb=requests.memory,
                        gpus=requests.gpu,
                        devices=[],
                        models=[],
                        jobs=0,
                        restarts=0,
                        stop_requested=False,
                        created_at=now,
                        used_at=now,
                        **_names(spec, Condition.STARTING, identifier),
                    )
                )
                return Claim(identifier, ())
            connection.execute(
                sa.update(services)
                .where(services.c.id == row.id)
                .values(**_names(spec, Condition.STARTING, row.id))
            )
            return Claim(row.id, tuple(row.devices))

    def change(self, identifier: str, **values: object) -> None:
        """Set columns of a record; nothing when it is gone."""
        with self._database.begin() as connection:
            connection.execute(
                sa.update(services).where(services.c.id == identifier).values(**values)
            )

    def retire(self, identifier: str, idle_before: float) -> bool:
        """Mark it STOPPING unless a job that needs it began in the meantime; True if it was."""
        with self._database.begin() as connection:
            done = connection.execute(
                sa.update(services)
                .where(
                    services.c.id == identifier,
                    sa.or_(services.c.used_at <= idle_before, services.c.stop_requested),
                )
                .values(state=Condition.STOPPING, reason="no job needs it")
            )
        return done.rowcount > 0

    def drop_reserved(self, owner: Owner) -> None:
        """Remove reservations that no running job needs: it ended before its service started."""
        with self._database.begin() as connection:
            rows = connection.execute(
                sa.select(services.c.id, services.c.identity, services.c.used_at).where(
                    services.c.owner == owner.id, services.c.state == Condition.RESERVED
                )
            ).all()
            called = needed(connection, owner.id) if rows else frozenset()
            for row in rows:
                if row.identity not in called:
                    # Not one that a job begins to need at this moment.
                    connection.execute(
                        sa.delete(services).where(
                            services.c.id == row.id,
                            services.c.state == Condition.RESERVED,
                            services.c.used_at == row.used_at,
                        )
                    )

    def remove(self, identifier: str) -> None:
        """It is over."""
        with self._database.begin() as connection:
            connection.execute(sa.delete(services).where(services.c.id == identifier))

    def of_node(self, node: str) -> Sequence[Row[tuple[object, ...]]]:
        """All records of a machine, other keepers' too."""
        with self._database.read() as connection:
            return connection.execute(sa.select(services).where(services.c.node == node)).all()

    def adopt(self, identifiers: Sequence[str], owner: Owner) -> None:
        """They are still this keeper's, under its new id."""
        with self._database.begin() as connection:
            connection.execute(
                sa.update(services).where(services.c.id.in_(identifiers)).values(owner=owner.id)
            )

    def request_stop(self) -> None:
        """Ask for the end of every service, each as soon as no job needs it."""
        with self._database.begin() as connection:
            connection.execute(sa.update(services).values(stop_requested=True))


def log_of(spec: Spec, identifier: str) -> str:
    """The log of one life, relative to data-dir."""
    return f"logs/services/{spec.service.name}-{identifier[:8]}.log"


def _names(spec: Spec, state: Condition, identifier: str) -> dict[str, object]:
    return {
        "name": spec.service.name,
        "image": spec.image,
        "state": state,
        "log": log_of(spec, identifier),
    }
