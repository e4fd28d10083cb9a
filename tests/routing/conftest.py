"""Payloads as records, and the engine that judges them: real database, real CEL, real process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.config.applications import AeConfig, Application, Rule
from gateway.config.settings import JobSettings
from gateway.database.engine import Database
from gateway.database.schema import (
    decisions,
    events,
    instances,
    jobs,
    new_id,
    payload_instances,
    payload_series,
    payloads,
)
from gateway.events.wake import Wakeups
from gateway.jobs.creation import JobCreation, supersede
from gateway.jobs.ledger import Capacity
from gateway.pipelines import registry
from gateway.routing.engine import Engine
from gateway.routing.router import Router

CT = "1.2.840.10008.5.1.4.1.1.2"
PIPELINE = """\
api-version: 0.4.0
name: {name}
operators:
- name: reader
  container: {{image: gateway/dicom-reader}}
  input: [{{path: /input}}]
  output: [{{path: /output}}]
"""


def rule(name: str = "density", **keys: Any) -> Rule:
    return Rule.model_validate({"name": name, "pipeline": "lung-density"} | keys)


@dataclass
class World:
    """A database with one application, LUNG_CT, and a router over it."""

    database: Database
    engine: Engine
    config: AeConfig = field(default_factory=AeConfig)

    def __post_init__(self) -> None:
        self.database.create()
        with self.database.begin() as connection:
            registry.register(connection, PIPELINE.format(name="lung-density"), "p.yaml")
        self.wakeups = Wakeups()
        self.creation = JobCreation(capacity=Capacity(2, 4096), limits=JobSettings())
        self.router = self.new_router()
        self.rules()

    def new_router(self, create_job: Any = None) -> Router:
        return Router(
            self.database,
            self.wakeups,
            lambda: self.config,
            self.engine,
            create_job or self.creation.create,
            supersede,
        )

    def rules(self, *rules: Rule, **keys: Any) -> None:
        application = Application.model_validate(
            {"ae-title": "LUNG_CT", "rules": list(rules)} | keys
        )
        self.config = AeConfig(applications=(application,), version="c" * 64)

    def payload(self, series: Mapping[str, Mapping[str, Any]], **values: Any) -> str:
        """A complete payload; ``series`` maps UID to attributes, key ``instances`` = how many."""
        now = time.time()
        given = {
            "id": new_id(), "correlation_id": new_id(), "called_ae": "LUNG_CT",
            "calling_ae": "CT1", "host": "10.1.0.4", "group_by": "study", "group_key": new_id(),
            "state": "COMPLETE", "study_instance_uid": "1.2.3", "opened_at": now,
            "last_received_at": now, "completed_at": now,
        } | values  # fmt: skip
        with self.database.begin() as connection:
            connection.execute(sa.insert(payloads).values(**given))
            for uid, attributes in series.items():
                self._series(connection, str(given["id"]), uid, dict(attributes))
        return str(given["id"])

    def late(self, payload_id: str, series: Mapping[str, Mapping[str, Any]]) -> None:
        """Complete the next revision with further instances."""
        with self.database.begin() as connection:
            connection.execute(
                sa.update(payloads)
                .where(payloads.c.id == payload_id)
                .values(state="COMPLETE", revision=payloads.c.revision + 1)
            )
            revision = connection.execute(
                sa.select(payloads.c.revision).where(payloads.c.id == payload_id)
            ).scalar_one()
            for uid, attributes in series.items():
                self._series(connection, payload_id, uid, dict(attributes), revision)

    def _series(
        self,
        connection: Connection,
        payload_id: str,
        uid: str,
        attributes: dict[str, Any],
        revision: int = 1,
    ) -> None:
        count = attributes.pop("instances", 2)
        geometries: Sequence[Any] = attributes.pop("geometries", [None] * count)
        ids = [
            connection.execute(
                sa.insert(instances).values(
                    sop_instance_uid=f"{uid}.{revision}.{number}", sop_class_uid=CT,
                    transfer_syntax_uid="1.2.840.10008.1.2.1", study_instance_uid="1.2.3",
                    series_instance_uid=uid, called_ae="LUNG_CT", calling_ae="CT1",
                    host="10.1.0.4", association_id="0" * 32, path="x", size=1,
                    digest=f"{number:064d}", kind="RECEIVED", state="STORED", received_at=1.0,
                    geometry=geometries[number],
                )
            ).inserted_primary_key[0]
            for number in range(count)
        ]  # fmt: skip
        connection.execute(
            sa.insert(payload_instances),
            [{"payload_id": payload_id, "instance_id": i, "revision": revision} for i in ids],
        )
        described = connection.execute(
            sa.select(payload_series.c.payload_id).where(
                payload_series.c.payload_id == payload_id,
                payload_series.c.series_instance_uid == uid,
            )
        ).first()
        if described is None:
            connection.execute(
                sa.insert(payload_series).values(
                    payload_id=payload_id, series_instance_uid=uid, first_instance_id=ids[0],
                    attributes=attributes,
                )
            )  # fmt: skip

    def rows(self, table: sa.Table) -> list[Any]:
        with self.database.read() as connection:
            key = table.c.seq if "seq" in table.c else table.c.id
            return list(connection.execute(sa.select(table).order_by(key)))

    def decisions(self) -> list[Any]:
        return self.rows(decisions)

    def jobs(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(jobs).order_by(jobs.c.revision)))

    def events(self) -> list[Any]:
        return self.rows(events)

    def row(self, payload_id: str) -> Any:
        with self.database.read() as connection:
            return connection.execute(sa.select(payloads).where(payloads.c.id == payload_id)).one()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One engine for every test that does not break it."""
    with Engine(seconds=30) as engine:
        yield engine


@pytest.fixture
def world(database_url: str, engine: Engine) -> Iterator[World]:
    database = Database(database_url)
    world = World(database, engine)
    yield world
    database.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path
