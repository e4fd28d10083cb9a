"""What services hold is counted: in a job's admission, while they run, until they give way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from gateway.database.engine import Database
from gateway.database.schema import new_id, services
from gateway.jobs.ledger import Capacity, Need, NeverFits
from gateway.jobs.services import admitted, give_way, in_the_way, lacking, reserve, up
from gateway.pipelines.model import Definition, Operator, Requests, Service
from gateway.pipelines.services import TRITON, identity

ATLAS = Service("atlas", "hospital/atlas", "3", requests=Requests(1, 2048, 1))
OPERATOR = Operator(
    "ask", "hospital/ask", services=(ATLAS,), models=("nodules",), requests=Requests(8, 1024, 1)
)
DEFINITION = Definition("0.6.0", "asking", (OPERATOR,))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    made.create()
    yield made
    made.close()


def test_a_job_needs_its_services_too() -> None:
    capacity = Capacity(2, 8192, (0, 1))
    need, priced = admitted(capacity, DEFINITION, Requests(4, 4096, 0), "refuse")
    # Cores are shared out: services have half of the machine's at most, the job what is left.
    assert need == Need(1, 1024, 1)
    assert priced == {identity(ATLAS): [0.5, 2048, 1], TRITON: [0.5, 4096, 0]}


def test_what_does_not_fit_with_its_services_is_refused() -> None:
    with pytest.raises(NeverFits, match="with its services the job needs 7168 MB"):
        admitted(Capacity(2, 7000, (0, 1)), DEFINITION, Requests(1, 4096), "refuse")
    with pytest.raises(NeverFits, match="with its services the job needs 2 GPUs"):
        admitted(Capacity(2, 9000, (0,)), DEFINITION, Requests(1, 4096), "refuse")


def test_an_engine_without_services_counts_none() -> None:
    assert admitted(Capacity(2, 4096, (0,)), DEFINITION, None, "refuse") == (Need(2, 1024, 1), {})


def test_a_reservation_holds_until_its_record_goes(database: Database) -> None:
    owner = new_id()
    priced = {"atlas": [1, 2048, 1], TRITON: [1, 4096, 1]}
    with database.begin() as connection:
        reserve(connection, {TRITON: priced[TRITON]}, owner, "here", [3])
    with database.begin() as connection:
        running = up(connection, "here", owner)
        assert lacking(priced, running) == {"atlas": [1, 2048, 1]}
        reserve(connection, priced, owner, "here", [5])
    with database.read() as connection:
        held = {each.identity: each for each in up(connection, "here", owner)}
        others = up(connection, "here", new_id())
        assert up(connection, "elsewhere", owner) == []
    assert held["atlas"].need == Need(1, 2048, 1)
    assert (held["atlas"].devices, held[TRITON].devices) == ((5,), (3,))
    # They count for every scheduler of the machine, and are of use to their own only.
    assert len(others) == 2
    assert lacking(priced, others) == priced


def test_idle_ones_give_way_if_that_helps(database: Database) -> None:
    owner = new_id()
    with database.begin() as connection:
        reserve(connection, {"one": [1, 2000, 0], "two": [1, 1000, 0]}, owner, "here", [])
    with database.read() as connection:
        running = up(connection, "here", owner)
    # No running job calls them.
    assert all(each.idle for each in running)
    free = Need(1, 500)
    assert in_the_way(running, Need(1, 500), free, ()) == []
    assert in_the_way(running, Need(1, 9000), free, ()) == []
    # The job's own are spared.
    assert in_the_way(running, Need(1, 3000), free, ("two",)) == []
    (found,) = in_the_way(running, Need(1, 2500), free, ("two",))
    with database.begin() as connection:
        give_way(connection, [found])
        asked = connection.execute(
            sa.select(services.c.identity).where(services.c.stop_requested)
        ).scalars()
        assert asked.all() == ["one"]
