"""A web application over a seeded database, served for real."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.config.live import LiveAeConfig
from gateway.config.settings import StorageSettings
from gateway.database.engine import Database
from gateway.errors import Refused
from gateway.events.wake import Wakeups
from gateway.monitor import health, metrics
from gateway.web.application import create_app
from gateway.web.server import HttpServer
from gateway.web.services import Actions, Services
from tests.support import seed
from tests.support.databases import on_postgres

AE_CONFIG = """
applications:
- ae-title: LUNG_CT
  rules:
  - {name: lung density, pipeline: lung-density, destinations: [PACS]}
sources:
- {ae-title: CT1, hosts: [10.1.0.0/16]}
destinations:
- {name: PACS, ae-title: ORTHANC, host: 127.0.0.1, port: 4242}
- {name: folder, folder: out}
"""


@dataclass
class Site:
    """A served application and what it works on."""

    client: httpx.Client
    database: Database
    services: Services
    story: seed.Story
    acted: list[str]


def services(folder: Path, database: Database, acted: list[str]) -> Services:
    (folder / "ae_config").mkdir(exist_ok=True)
    (folder / "ae_config" / "all.yaml").write_text(AE_CONFIG)
    live = LiveAeConfig(folder / "ae_config")

    def note(identifier: str) -> None:
        acted.append(identifier)

    def refuse(identifier: str) -> None:
        raise Refused(f"payload {identifier} is not in CONFLICT")

    return Services(
        database=database,
        wakeups=Wakeups(),
        ae_config=live,
        data_dir=folder,
        version="0.1.0",
        checks={
            "database": health.database(database),
            "ae_config": health.ae_config(live),
            "disk": health.disk(folder, StorageSettings(watermark_percent=100, reserve_gb=0)),
            "delivery": health.delivery(database),
            "mqtt": health.mqtt(None, database),
        },
        registry=metrics.registry(database, live, folder),
        actions=Actions(note, note, note, refuse, note, note, note),
        console=folder / "console",
    )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, seed.Story]:
    """A folder with the seeded database and logs; copying it is quicker than seeding again."""
    folder = tmp_path_factory.mktemp("template") / "data"
    folder.mkdir()
    database = seed.new_database(folder)
    told = seed.story(database, folder)
    database.close()
    return folder, told


@pytest.fixture
def site(tmp_path: Path, template: tuple[Path, seed.Story]) -> Iterator[Site]:
    folder, told = tmp_path / "data", template[1]
    shutil.copytree(template[0], folder)
    database = seed.new_database(folder)
    if on_postgres():
        told = seed.story(database, folder)
    acted: list[str] = []
    given = services(folder, database, acted)
    server = HttpServer(create_app(given), "127.0.0.1", 0)
    server.start()
    try:
        base = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=base, trust_env=False, timeout=60) as client:
            yield Site(client, database, given, told, acted)
    finally:
        server.stop()
        database.close()
