"""Both databases for the tests of this room."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.database.engine import Database, sqlite_url
from tests.support.postgres import fresh_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = sqlite_url(tmp_path / "gateway.db")
    else:
        server = request.getfixturevalue("postgres_server")
        url = fresh_database(server, f"t{uuid.uuid4().hex}")
    made = Database(url)
    yield made
    made.close()
