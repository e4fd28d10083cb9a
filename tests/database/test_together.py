"""Changes of many threads in one transaction: each its own result, no change lost or doubled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.engine import Database
from gateway.database.schema import models, new_id
from gateway.database.together import Together


@pytest.fixture(autouse=True)
def _schema(database: Database) -> None:
    database.create()


class Counting(Together):
    """Counts the transactions of a database."""

    def __init__(self, database: Database, most: int = 64) -> None:
        self.begun = 0
        self.broken = 0
        """How many of the next commits fail."""
        self.away = False
        """Whether no transaction can begin."""
        self.gate = threading.Event()
        self.gate.set()
        self._inner = database
        super().__init__(self, most)  # type: ignore[arg-type]

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that waits for the gate, as for another writer."""
        self.gate.wait()
        self.begun += 1
        if self.away:
            raise OSError("away")
        with self._inner.begin() as connection:
            yield connection
            if self.broken:
                self.broken -= 1
                raise OSError("the disk is gone")


def insert(name: str) -> dict[str, object]:
    """A row of the table of models."""
    return {
        "id": new_id(), "name": name, "type": 0, "metadata": {}, "file": None, "size": 0,
        "digest": "", "created_at": 0.0, "updated_at": 0.0,
    }  # fmt: skip


def add(connection: Connection, name: str) -> str:
    """Insert one; a name that is taken is an error of the database, an empty one ours."""
    if not name:
        raise ValueError("no name")
    connection.execute(sa.insert(models), insert(name))
    return name


def names(database: Database) -> list[str]:
    """The names that were committed."""
    with database.read() as connection:
        return sorted(connection.execute(sa.select(models.c.name)).scalars())


def gathered(together: Counting, wanted: list[str]) -> list[object]:
    """Every name at once, all of them waiting for the gate; results or errors, in order."""
    together.gate.clear()

    def one(name: str) -> object:
        try:
            return together.run(lambda connection: add(connection, name))
        except Exception as error:  # noqa: BLE001 - looked at by the test
            return error

    with ThreadPoolExecutor(len(wanted)) as pool:
        futures = [pool.submit(one, name) for name in wanted]
        while len(together._waiting) < len(wanted):
            threading.Event().wait(0.005)
        together.gate.set()
        return [future.result(30) for future in futures]


def test_who_waits_is_committed_together(database: Database) -> None:
    together = Counting(database)
    wanted = [f"m{number:02}" for number in range(20)]
    assert gathered(together, wanted) == wanted
    assert together.begun == 1
    assert names(database) == wanted


def test_no_transaction_takes_more_than_it_may(database: Database) -> None:
    together = Counting(database, most=8)
    wanted = [f"m{number:02}" for number in range(20)]
    assert gathered(together, wanted) == wanted
    assert together.begun == 3
    assert names(database) == wanted


def test_a_change_that_fails_fails_alone(database: Database) -> None:
    together = Counting(database)
    found = gathered(together, ["a", "", "b", "a", "c"])
    assert [type(each).__name__ for each in found].count("IntegrityError") == 1
    assert isinstance(found[1], ValueError)
    assert {each for each in found if isinstance(each, str)} == {"a", "b", "c"}
    assert names(database) == ["a", "b", "c"]
    assert together.run(lambda connection: add(connection, "d")) == "d"


def test_a_commit_that_fails_is_everybody_s_and_not_tried_again(database: Database) -> None:
    together = Counting(database)
    together.broken = 1
    found = gathered(together, ["a", "b", "c"])
    assert [str(each) for each in found] == ["the disk is gone"] * 3
    assert names(database) == []
    assert together.run(lambda connection: add(connection, "d")) == "d"
    assert names(database) == ["d"]


def test_nobody_is_left_waiting(database: Database) -> None:
    together = Together(database)
    wanted = [f"m{number:03}" for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: together.run(lambda c: add(c, n)), wanted, timeout=60))
    assert found == wanted
    assert names(database) == wanted


def test_a_database_that_cannot_begin_is_each_caller_s_error(database: Database) -> None:
    together = Counting(database)
    together.away = True
    found = gathered(together, ["a", "b"])
    assert [str(each) for each in found] == ["away", "away"]
    together.away = False
    assert together.run(lambda connection: add(connection, "c")) == "c"
