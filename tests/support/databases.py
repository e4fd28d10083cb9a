"""The database of a test: SQLite in its folder, or one of its own on the session's PostgreSQL.

``GATEWAY_TEST_DATABASE=postgresql`` asks for PostgreSQL.  The session starts one server and tells
everybody, the processes of a test too, by the environment; whoever asks for the database of the
same folder, today or after a kill, gets the same one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.database.engine import Database, sqlite_url
from tests.support.postgres import fresh_database

SERVER = "GATEWAY_TEST_POSTGRES"
"""Environment: URL of the session's server; absent = SQLite."""


def wanted() -> bool:
    """True when the tests are to run on PostgreSQL."""
    return os.environ.get("GATEWAY_TEST_DATABASE", "sqlite") == "postgresql"


def on_postgres() -> bool:
    """True when they do."""
    return SERVER in os.environ


@contextmanager
def serving(url: str) -> Iterator[None]:
    """Let the tests, and the processes they start, use the server at ``url``."""
    os.environ[SERVER] = url
    try:
        yield
    finally:
        del os.environ[SERVER]


def database_url(folder: Path, name: str = "gateway.db") -> str:
    """Of the database of ``folder``; on PostgreSQL it is made when it is not there."""
    server = os.environ.get(SERVER)
    if server is None:
        return sqlite_url(folder / name)
    digest = hashlib.sha256(str(folder.resolve() / name).encode()).hexdigest()
    return fresh_database(server, f"t{digest[:32]}", keep=True)


def rows(folder: Path, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """The answer of the database of ``folder`` to a query with ``:names``; changes nothing."""
    database = Database(database_url(folder))
    with closing(database), database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query), values)]
