"""The database and its transactions.

SQLite runs in WAL mode with ``synchronous=FULL``: a committed transaction survives a power cut.
Writers take the write lock when the transaction begins and queue fairly inside one process, so a
busy receiver never meets ``database is locked``; readers see a snapshot and never wait.
PostgreSQL runs with its own defaults.  Every method may be called from any thread.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url

from gateway.database.schema import metadata
from gateway.errors import Permanent

BUSY_SECONDS = 60
"""How long a writer of another process is waited for."""

_SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_POSTGRES_FULL = "53100"


class DatabaseError(Permanent):
    """The database cannot be used as it is."""


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite file ``path``."""
    return f"sqlite+pysqlite:///{path}"


class Database:
    """One database; made once by the composition root and handed to every room."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite(self.url) if self.is_sqlite else _postgres(self.url)
        self._writer = threading.Lock()

    def create(self) -> None:
        """Bring the schema up to date: create it, or run the migrations that are missing."""
        from gateway.database import migrate

        migrate.upgrade(self)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A write transaction: committed (durable) on leaving, rolled back on an exception."""
        if not self.is_sqlite:
            with self.engine.begin() as connection:
                yield connection
            return
        with self._writer, self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already, or left it open at COMMIT.
                driver = connection.connection.driver_connection
                if driver is not None and driver.in_transaction:
                    connection.exec_driver_sql("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only snapshot; do not write through it."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:
                yield connection
                return
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _postgres(url: sa.URL) -> Engine:
    # Parameters hold patient data: they must not stand in an exception's text.
    return sa.create_engine(url, hide_parameters=True, pool_size=32, max_overflow=32)


def _sqlite(url: sa.URL) -> Engine:
    engine = sa.create_engine(
        url,
        # Autocommit in the driver: begin() and read() say BEGIN themselves.
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        pool_size=32,
        max_overflow=-1,
    )

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-16000",
            f"busy_timeout={BUSY_SECONDS * 1000}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _no_implicit_begin(_connection: Connection) -> None:
        """SQLAlchemy's own begin is empty: see begin() and read()."""

    return engine


def disk_full(error: BaseException) -> bool:
    """True when ``error`` says that the disk of the database has no room (any thread)."""
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.Error):
        return original.sqlite_errorcode in _SQLITE_FULL
    return getattr(original, "sqlstate", None) == _POSTGRES_FULL


def is_empty(connection: Connection) -> bool:
    """True when none of our tables exists yet."""
    names = set(sa.inspect(connection).get_table_names())
    return not names & set(metadata.tables)
