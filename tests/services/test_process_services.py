"""Services in sandboxes: shared, watched, started again, closed to whoever does not name them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.executors import procfs
from gateway.jobs.executor import End
from gateway.services.process import mark
from tests.support.served import ASK, World, counter, operator

Make = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def make(**settings: Any) -> World:
        made.append(World(tmp_path, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def processes(life: str) -> list[int]:
    return [pid for pid, fd in procfs._marked(mark(life).encode()) if os.close(fd) is None]


def test_operators_and_jobs_share_a_service(world: Make) -> None:
    here = world()
    asking = {"services": [counter()]}
    first = here.run(
        operator("one", ASK, "COUNTER", **asking),
        operator("two", ASK, "COUNTER", "COUNTER", **asking),
    )
    assert {end.end for end in first.wait().values()} == {End.COMPLETED}
    second = here.run(operator("three", ASK, "COUNTER", **asking))
    assert second.wait()["three"].end is End.COMPLETED
    said = [*first.answers("one"), *first.answers("two"), *second.answers("three")]
    assert len({pid for pid, *_ in said}) == 1
    # The keeper's probes count too.
    assert len({count for _, count, *_ in said}) == 4
    (record,) = here.records()
    assert (record["state"], record["restarts"], record["jobs"]) == ("READY", 0, 0)
    assert record["memory_mb"] == 128
    assert "serving" in (here.root / record["log"]).read_text()
