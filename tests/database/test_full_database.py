"""A database without room says so, keeps nothing half, and works again once there is room."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from gateway.database.engine import Database, disk_full, sqlite_url
from gateway.database.schema import associations, circuits, events
from gateway.errors import Transient
from gateway.events.wake import Wakeups
from gateway.payloads.associations import Associations


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(sqlite_url(tmp_path / "gateway.db"))
    made.create()
    yield made
    made.close()


def limit(database: Database, pages: int) -> None:
    """Let the file grow by that many pages and no more, as a full disk would.

    The limit belongs to a connection: the pool of a test without threads holds one.
    """
    with database.engine.connect() as connection:
        now = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={now + pages}")


def put(database: Database, name: str, count: int = 1) -> None:
    """One transaction with ``count`` rows of some size."""
    rows = [
        {"destination": f"{name}{n}", "state": "OPEN", "reason": "x" * 2000, "changed_at": 0.0}
        for n in range(count)
    ]
    with database.begin() as connection:
        connection.execute(sa.insert(circuits), rows)


def often(call: Callable[[int], object]) -> None:
    """Call until it raises."""
    for number in range(10_000):
        call(number)


def fill(database: Database) -> BaseException:
    """Write until there is no room; the error."""
    with pytest.raises(OperationalError) as caught:
        often(lambda number: put(database, f"fill{number}-"))
    return caught.value


def test_no_room_is_told_from_other_faults(database: Database) -> None:
    limit(database, 4)
    assert disk_full(fill(database))
    with pytest.raises(OperationalError) as caught, database.begin() as connection:
        connection.exec_driver_sql("SELECT * FROM no_such_table")
    assert not disk_full(caught.value)
    assert not disk_full(ValueError("full"))


def test_a_transaction_without_room_leaves_nothing_and_blocks_nobody(database: Database) -> None:
    limit(database, 4)
    fill(database)
    with database.read() as connection:
        before = connection.scalar(sa.select(sa.func.count()).select_from(circuits))
    with pytest.raises(OperationalError) as caught:
        put(database, "E", 100)
    assert disk_full(caught.value)
    limit(database, 1000)
    with database.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(circuits)) == before
    put(database, "F")


def test_associations_without_room(database: Database) -> None:
    subject = Associations(database, Wakeups())
    open_one = subject.opened("AI", "CT1", "127.0.0.1", 104)
    limit(database, 0)
    fill(database)
    who = ("AI", "CT1", "127.0.0.1", 104)
    with pytest.raises(Transient, match="cannot be written"):
        often(lambda _: subject.opened(*who))
    with pytest.raises(Transient, match="cannot be written"):
        often(lambda _: subject.rejected(*who, "x" * 1000))
    before = time.time()
    subject.closed(open_one, released=True, reason="y" * 20_000)
    assert state(database, open_one) == "OPEN"
    limit(database, 1000)
    subject.settle()
    assert state(database, open_one) == "RELEASED"
    subject.settle()
    with database.read() as connection:
        closed = connection.scalar(
            sa.select(associations.c.closed_at).where(associations.c.id == open_one)
        )
        told = connection.scalar(
            sa.select(sa.func.count())
            .select_from(events)
            .where(events.c.kind == "association/closed")
        )
    assert closed is not None
    assert closed >= before
    assert told == 1


def state(database: Database, identifier: str) -> str:
    with database.read() as connection:
        found: str = connection.execute(
            sa.select(associations.c.state).where(associations.c.id == identifier)
        ).scalar_one()
    return found
