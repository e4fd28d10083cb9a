"""Transactions and schema, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from gateway.database import migrate
from gateway.database.engine import Database, DatabaseError, sqlite_url
from gateway.database.schema import circuits, metadata


def circuit(name: str) -> dict[str, Any]:
    return {"destination": name, "state": "CLOSED", "failures": 0, "changed_at": 1.0}


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(connection.execute(sa.select(circuits.c.destination)).scalars())


def test_create_twice(database: Database) -> None:
    database.create()
    database.create()
    assert names(database) == []


def test_several_processes_open_a_new_database_at_once(database: Database) -> None:
    openers = [Database(database.url.render_as_string(hide_password=False)) for _ in range(6)]
    ready = threading.Barrier(len(openers))

    def create(one: Database) -> None:
        ready.wait()
        one.create()

    with ThreadPoolExecutor(len(openers)) as pool:
        list(pool.map(create, openers))
    for one in openers:
        assert names(one) == []
        one.close()


def test_a_transaction_is_whole_or_nothing(database: Database) -> None:
    database.create()
    with database.begin() as connection:
        connection.execute(sa.insert(circuits).values(circuit("A")))

    def broken() -> None:
        with database.begin() as connection:
            connection.execute(sa.insert(circuits).values(circuit("B")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert names(database) == ["A"]


def test_writers_of_many_threads_queue(database: Database) -> None:
    database.create()

    def write(index: int) -> None:
        for turn in range(10):
            with database.begin() as connection:
                connection.execute(sa.insert(circuits).values(circuit(f"{index}-{turn}")))

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(database)) == 80


def test_a_reader_does_not_wait_for_a_writer(database: Database) -> None:
    database.create()
    with database.begin() as connection:
        connection.execute(sa.insert(circuits).values(circuit("A")))
        assert names(database) == []


def test_the_migrations_end_in_the_schema(database: Database) -> None:
    config = migrate.configuration()
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    database.create()
    with database.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_schema_of_a_later_release_is_refused(database: Database) -> None:
    database.create()
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="9999 is from a later release"):
        database.create()


def test_sqlite_survives_a_power_cut_by_its_settings(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "gateway.db"))
    database.create()
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


_WRITER = """
import sys
import sqlalchemy as sa
from pathlib import Path
from gateway.database.engine import Database, sqlite_url
from gateway.database.schema import circuits
database = Database(sqlite_url(Path(sys.argv[1])))
for index in range(10**9):
    with database.begin() as connection:
        connection.execute(sa.insert(circuits).values(
            destination=str(index), state="CLOSED", failures=0, changed_at=1.0))
    sys.stdout.write(f"{index}\\n")
    sys.stdout.flush()
"""


@pytest.mark.crash
def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    database = Database(sqlite_url(path))
    database.create()
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    said += process.stdout.readlines()
    process.stdout.close()
    acknowledged = {line.strip() for line in said if line.endswith("\n")}
    assert acknowledged <= set(names(database))
    database.close()
