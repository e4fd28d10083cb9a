"""kill -9 at every fault point of the room: all of a decision is stored, or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.database.engine import Database
from gateway.routing.engine import Engine
from gateway.routing.router import FAULT_POINTS
from tests.routing.conftest import World

ROOT = Path(__file__).resolve().parents[2]


def route(path: str) -> None:
    """What the killed process does."""
    with Engine() as engine:
        _world(Database(path), engine).router.route_ready()


def _world(database: Database, engine: Engine) -> World:
    world = World(database, engine)
    world.rules({"name": "density", "pipeline": "lung-density"})  # type: ignore[arg-type]
    return world


@pytest.mark.crash
@pytest.mark.parametrize("point", [*FAULT_POINTS, "job.create.before"])
def test_a_kill_stores_all_or_nothing(world: Any, database_url: str, point: str) -> None:
    world.rules({"name": "density", "pipeline": "lung-density"})
    payload_id = world.payload({"1.1": {"Modality": "CT"}})
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from tests.routing.test_router_crash import route; route(sys.argv[1])"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, database_url],
        env={"PATH": "/usr/bin:/bin", "GATEWAY_FAULT_POINT": point},
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    stored = point == "routing.store.after"
    assert world.row(payload_id).state == ("ROUTED" if stored else "COMPLETE")
    assert len(world.decisions()) == len(world.jobs()) == int(stored)
    assert world.router.route_ready() == int(not stored)
    assert [d.outcome for d in world.decisions()] == ["MATCHED"]
    assert len(world.jobs()) == 1
    assert [e.kind for e in world.events()].count("payload/routed") == 1
