"""kill -9 at every fault point of the jobs room, then another start."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.database import schema
from gateway.jobs.states import FAULT_POINTS
from tests.support import jobs_crash
from tests.support.jobs_world import World
from tests.support.local_engine import tag, tagged

pytestmark = pytest.mark.crash

SCENARIOS = {
    "job.fault": "fault",
    "job.time-out": "time-out",
    "job.cancel": "cancel",
    "job.evict": "evict",
    "job.retry": "retry",
    "job.give-up": "give-up",
    "job.rerun": "rerun",
    "job.queue": "queue",
    "job.supersede": "supersede",
    "operator.fault": "fault",
}
"""The scenario that passes a point; ``complete`` passes all others."""


@pytest.fixture(scope="module")
def lives() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.jobs_crash"])
    return context


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_killed_at(
    point: str, tmp_path: Path, lives: multiprocessing.context.ForkServerContext
) -> None:
    scenario = SCENARIOS.get(point.rpartition(".")[0], "complete")
    payload = jobs_crash.prepare(tmp_path, scenario)
    deaths = ["operator.start.after", point] if scenario == "give-up" else [point]
    for death in deaths:
        assert _live(lives, tmp_path, payload, scenario, death) == -signal.SIGKILL, death
    assert _live(lives, tmp_path, payload, scenario, "") == 0
    _check(tmp_path, scenario)


def _live(
    lives: multiprocessing.context.ForkServerContext,
    data_dir: Path,
    payload: str,
    scenario: str,
    point: str,
) -> int | None:
    process = lives.Process(target=jobs_crash.live, args=(data_dir, payload, scenario, point))
    process.start()
    process.join(60)
    code = process.exitcode
    process.kill()
    return code


def _check(data_dir: Path, scenario: str) -> None:
    world = World(data_dir)
    jobs = world.rows(sa.select(schema.jobs).order_by(schema.jobs.c.revision))
    assert len(jobs) == (2 if scenario == "supersede" else 1)
    job = jobs[-1]
    assert f"{job.state}/{job.status}" == jobs_crash.ENDS.get(scenario, "STOPPED/HEALTHY")
    operators = world.operators(job.id)
    assert {attempt for attempt, _name in operators} == set(range(1, job.attempt + 1))
    assert not [row for row in operators.values() if row.status == "RUNNING"]
    kinds = Counter(world.events(job.id))
    assert kinds["job/created"] == 1
    assert kinds["job/started"] == job.attempt
    assert kinds["job/stopped"] == (2 if scenario == "rerun" else 1)
    results = world.rows(sa.select(schema.results))
    healthy = job.status == "HEALTHY"
    assert [(r.job_id, r.attempt, r.deliverable) for r in results] == (
        [(job.id, job.attempt, True)] if healthy else []
    )
    assert kinds["result/registered"] == len(results)
    for attempt in range(1, job.attempt + 1):
        assert tagged(tag(job.id, attempt)) == []
    _check_one_at_a_time(world, job.payload_id)
    if scenario == "supersede":
        assert (jobs[0].status, jobs[0].attempt) == ("CANCELED", 0)
    world.close()


def _check_one_at_a_time(world: World, payload_id: str) -> None:
    """No attempt writes after a later one began."""
    trace = world.files.folder(payload_id) / "trace"
    attempts = [
        int(line.split()[1]) for line in trace.read_text().splitlines() if line.startswith("begin")
    ]
    assert attempts == sorted(set(attempts))
