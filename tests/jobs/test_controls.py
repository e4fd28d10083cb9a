"""What people do to the queue: pause, drain, resume, another priority, a rerun from the middle."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.config.settings import ImageSettings
from gateway.database import schema
from gateway.errors import Refused
from gateway.executors.process import ProcessExecutor
from gateway.jobs.controls import Mode, hold, overview, prioritise, resume
from gateway.jobs.decision import Limits, Rules
from gateway.jobs.rerun import rerun
from tests.support.jobs_world import REGISTER, World, step, writing


def kinds(world: World) -> list[str]:
    query = sa.select(schema.events.c.kind).where(schema.events.c.kind.like("scheduling/%"))
    return [row.kind for row in world.rows(query.order_by(schema.events.c.seq))]


def test_a_paused_queue_starts_nothing_until_it_is_resumed(world: World) -> None:
    world.pipeline("write", writing())
    world.act(hold, Mode.PAUSED)
    world.act(hold, Mode.PAUSED)
    with world.scheduling():
        first = world.create("write", world.received(), priority="immediate")
        time.sleep(0.6)
        assert world.place(first) == "PENDING/HEALTHY"
        with world.database.read() as connection:
            found = overview(connection)
        assert (found["mode"], found["waiting"], found["running"]) == ("PAUSED", 1, 0)
        world.act(resume)
        assert world.settle(first) == ["STOPPED/HEALTHY"]
    with pytest.raises(Refused, match="the scheduler is neither paused nor draining"):
        world.act(resume)
    assert kinds(world) == ["scheduling/paused", "scheduling/resumed"]


def test_a_paused_pipeline_holds_up_no_other(world: World) -> None:
    world.pipeline("held", writing())
    world.pipeline("free", writing())
    with pytest.raises(Refused, match="no pipeline 'unknown'"):
        world.act(hold, Mode.PAUSED, "unknown")
    world.act(hold, Mode.PAUSED, "held")
    held = world.create("held", world.received(), priority="immediate")
    with world.scheduling():
        free = world.create("free", world.received(), priority="lower")
        assert world.settle(free) == ["STOPPED/HEALTHY"]
        assert world.place(held) == "PENDING/HEALTHY"
        world.act(resume, "held")
        assert world.settle(held) == ["STOPPED/HEALTHY"]


def test_draining_works_off_what_was_queued_before(world: World) -> None:
    world.pipeline("write", writing())
    before = world.create("write", world.received())
    world.act(hold, Mode.DRAINING)
    later = world.create("write", world.received())
    with world.scheduling():
        assert world.settle(before) == ["STOPPED/HEALTHY"]
        time.sleep(0.6)
        assert world.place(later) == "PENDING/HEALTHY"
        world.act(resume)
        assert world.settle(later) == ["STOPPED/HEALTHY"]
    assert kinds(world) == ["scheduling/draining", "scheduling/resumed"]


def test_a_waiting_job_gets_another_priority(world: World) -> None:
    # Each takes the whole machine.
    world.pipeline("all", writing(requests={"cpu": 2}))
    low = world.create("all", world.received(), priority="lower")
    high = world.create("all", world.received(), priority="higher")
    world.act(prioritise, low, "IMMEDIATE")
    world.act(prioritise, low, "immediate")
    with pytest.raises(Refused, match="'urgent' is no priority"):
        world.act(prioritise, low, "urgent")
    with world.scheduling():
        world.settle(low, high)
    assert world.job(low).started_at < world.job(high).started_at
    assert world.events(low).count("job/prioritised") == 1
    with pytest.raises(Refused, match="is STOPPED: only a waiting job"):
        world.act(prioritise, low, "lower")


def test_limits_of_pipelines_and_applications_hold(world: World) -> None:
    world.pipeline("write", writing("sleep 0.2", requests={"cpu": 0.1}))
    scheduler = world.scheduler()
    scheduler._admission._rules = Rules(limits=Limits(pipelines={"write": 1}))
    waiting = [world.create("write", world.received()) for _ in range(3)]
    with world.scheduling(scheduler):
        assert world.settle(*waiting) == ["STOPPED/HEALTHY"] * 3
    times = sorted((world.job(j).started_at, world.job(j).stopped_at) for j in waiting)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times))


CHAIN = [
    step("first", "echo $ATTEMPT > out.txt"),
    step("second", "test -e ../../mended && echo $ATTEMPT > out.txt", after=["first"]),
    step("register", REGISTER, after=["second"]),
]


def test_a_rerun_from_an_operator_keeps_what_stands_before_it(world: World) -> None:
    world.pipeline("chain", CHAIN)
    with world.scheduling():
        job = world.create("chain", world.received())
        assert world.settle(job) == ["STOPPED/FAULTED"]
        with pytest.raises(Refused, match="has no operator 'third'; it has: first, second, regi"):
            world.act(rerun, job, "third")
        with pytest.raises(Refused, match="operator second has not completed, and register needs"):
            world.act(rerun, job, "register")
        folder = world.files.folder(world.job(job).payload_id)
        (folder / "mended").touch()
        world.act(rerun, job, "SECOND")
        assert world.settle(job) == ["STOPPED/HEALTHY"]
    assert (folder / "operators" / "first" / "out.txt").read_text() == "1\n"
    assert (folder / "operators" / "second" / "out.txt").read_text() == "2\n"
    ran = sorted(world.operators(job))
    assert ran == [(1, n) for n in ("first", "register", "second")] + [
        (2, "register"), (2, "second")
    ]  # fmt: skip
    (result,) = world.rows(sa.select(schema.results))
    assert (result.attempt, result.deliverable) == (2, True)
    assert world.events(job).count("job/rerun") == 1


def test_registrations_of_kept_operators_go_out_once(world: World) -> None:
    late = step("late", "test -e ../../mended", after=["register"])
    late["input"] = [{"from": "register", "path": "/x"}]
    world.pipeline("kept", [*CHAIN[:1], step("register", REGISTER, after=["first"]), late])
    with world.scheduling():
        job = world.create("kept", world.received())
        assert world.settle(job) == ["STOPPED/FAULTED"]
        (world.files.folder(world.job(job).payload_id) / "mended").touch()
        world.act(rerun, job, "late")
        assert world.settle(job) == ["STOPPED/HEALTHY"]
        assert [r.attempt for r in world.rows(sa.select(schema.results))] == [2]
        with world.database.begin() as connection:
            connection.execute(sa.update(schema.results).values(state="DELIVERED"))
        world.act(rerun, job, "late")
        assert world.settle(job) == ["STOPPED/HEALTHY"]
    assert [r.attempt for r in world.rows(sa.select(schema.results))] == [2]


def test_the_process_engine_keeps_outputs_too(tmp_path: Path) -> None:
    world = World(tmp_path, ProcessExecutor({"shell": ImageSettings(command=["/bin/sh"])}))
    script = "date +%s%N > /output/out.txt"
    world.pipeline(
        "date", [step("first", script), step("second", f"sleep 0.01; {script}", after=["first"])]
    )
    with world.scheduling():
        job = world.create("date", world.received())
        assert world.settle(job) == ["STOPPED/HEALTHY"]
        folder = world.files.folder(world.job(job).payload_id) / "operators"
        before = {n: (folder / n / "out.txt").read_text() for n in ("first", "second")}
        world.act(rerun, job, "second")
        assert world.settle(job) == ["STOPPED/HEALTHY"]
    after = {n: (folder / n / "out.txt").read_text() for n in ("first", "second")}
    assert after["first"] == before["first"]
    assert after["second"] > before["second"]
    world.close()
