"""Two schedulers on one PostgreSQL, one of them killed or stopped again and again."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.database import schema
from gateway.database.engine import Database
from gateway.jobs.presence import Lease, Presence
from gateway.jobs.states import State
from tests.support import scheduler_replica
from tests.support.databases import on_postgres, serving
from tests.support.jobs_world import World, writing
from tests.support.local_engine import tag, tagged

Context = multiprocessing.context.ForkServerContext
Process = multiprocessing.context.ForkServerProcess

# The kernel frees the lock with the last process of an attempt, however it ends.
ALONE = "exec 9>>$TRACE.lock; flock -n 9 || echo overlap >> $TRACE; sleep %s"


@pytest.fixture(scope="module")
def server(postgres_server: str) -> Iterator[str]:
    """The server on which the databases of this file stand, whatever the others use."""
    if on_postgres():
        yield postgres_server
        return
    with serving(postgres_server):
        yield postgres_server


@pytest.fixture(scope="module")
def lives() -> Context:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.scheduler_replica"])
    return context


@pytest.fixture
def shared(tmp_path: Path, server: str) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


USUAL = Lease()


class Pair:
    """Two schedulers; whichever ends is followed by another."""

    def __init__(self, lives: Context, world: World, server: str, lease: Lease = USUAL) -> None:
        self._lives = lives
        self._given = (world.data_dir, server, lease)
        self.processes = [self._another(), self._another()]

    def _another(self) -> Process:
        process = self._lives.Process(target=scheduler_replica.live, args=self._given)
        process.start()
        return process

    def kill(self, which: int) -> None:
        self.processes[which].kill()
        self.processes[which].join(10)
        self.processes[which] = self._another()

    def hang(self, which: int, *, on: bool) -> None:
        """Let it live and do nothing, or go on."""
        pid = self.processes[which].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)

    def end(self) -> list[int | None]:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(20)
            process.kill()
        return [process.exitcode for process in self.processes]


def check(world: World, jobs: list[str]) -> None:
    """One end per job, one attempt at a time, nothing left."""
    for job_id in jobs:
        job = world.job(job_id)
        assert (job.state, job.status) == ("STOPPED", "HEALTHY"), job.reason
        kinds = Counter(world.events(job_id))
        assert kinds["job/stopped"] == 1
        assert kinds["job/started"] == job.attempt
        trace = (world.files.folder(job.payload_id) / "trace").read_text().splitlines()
        assert "overlap" not in trace
        begun = [int(line.split()[1]) for line in trace if line.startswith("begin")]
        assert begun == sorted(set(begun)), "an attempt began twice, or after a later one"
        for attempt in range(1, job.attempt + 1):
            assert tagged(tag(job_id, attempt)) == []
    results = world.rows(sa.select(schema.results))
    assert Counter(row.job_id for row in results) == Counter(jobs)
    assert all(row.deliverable for row in results)


def devices_are_exclusive(world: World) -> bool:
    query = sa.select(schema.jobs.c.devices).where(schema.jobs.c.state == State.RUNNING.value)
    taken = [index for row in world.rows(query) for index in row.devices]
    return len(taken) == len(set(taken))


def campaign(
    lives: Context, world: World, server: str, *, jobs: int, kills: int, gap: float
) -> list[str]:
    world.pipeline("alone", writing(ALONE % 0.2, requests={"cpu": 0.5, "gpu": 1}))
    ids = [world.create("alone", world.received()) for _ in range(jobs)]
    chance = random.Random(kills)  # noqa: S311 - repeatable moments, no secret
    pair = Pair(lives, world, server)
    try:
        for number in range(kills):
            until = time.monotonic() + chance.uniform(0.5, 1.5) * gap
            while time.monotonic() < until:
                assert devices_are_exclusive(world)
                time.sleep(0.05)
            pair.kill(number % 2)
        world.settle(*ids, seconds=120 + 3 * jobs)
    finally:
        codes = pair.end()
    assert codes == [0, 0]
    check(world, ids)
    return ids


@pytest.mark.crash
@pytest.mark.timeout(300)
def test_two_schedulers_one_killed_again_and_again(
    shared: World, server: str, lives: Context
) -> None:
    campaign(lives, shared, server, jobs=16, kills=3, gap=2.0)


@pytest.mark.crash
def test_a_hung_scheduler_counts_no_more(shared: World, server: str, lives: Context) -> None:
    shared.pipeline("alone", writing(ALONE % 1))
    pair = Pair(lives, shared, server, scheduler_replica.BRIEF)
    try:
        job = shared.create("alone", shared.received())
        shared.wait_operator(job)
        owner = shared.job(job).owner
        (row,) = shared.rows(sa.select(schema.schedulers).where(schema.schedulers.c.id == owner))
        hung = [str(process.pid) for process in pair.processes].index(row.process.split()[-2])
        pair.hang(hung, on=True)
        shared.wait(lambda: shared.job(job).attempt > 1, 60)
        pair.hang(hung, on=False)
        shared.settle(job, seconds=60)
    finally:
        codes = pair.end()
    assert codes == [0, 0]
    check(shared, [job])


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_prove_schedulers(shared: World, server: str, lives: Context) -> None:
    ids = campaign(lives, shared, server, jobs=600, kills=100, gap=3.0)
    attempts = sum(shared.job(job_id).attempt for job_id in ids)
    sys.stdout.write(f"\n{len(ids)} jobs, 100 kills, {attempts} attempts\n")


def test_two_schedulers_share_the_work(shared: World, server: str) -> None:
    shared.pipeline("write", writing(requests={"cpu": 0.1}))
    jobs = [shared.create("write", shared.received()) for _ in range(12)]
    with shared.scheduling(), shared.scheduling():
        assert shared.settle(*jobs) == ["STOPPED/HEALTHY"] * 12
    assert all(shared.job(job_id).attempt == 1 for job_id in jobs)


def test_a_scheduler_whose_lease_ran_out_is_dead_to_others_and_knows_it(server: str) -> None:
    database = Database(server)
    database.create()
    lease = Lease(seconds=0.2, margin=0.2)
    first, second = (Presence(database, "node", lease) for _ in range(2))
    first.join()
    second.join()
    with database.read() as connection:
        assert not second.dead(connection)(first.id)
        assert second.others(connection)
    assert first.valid()
    time.sleep(0.5)
    assert not first.valid()
    with database.begin() as connection:
        assert second.dead(connection)(first.id)
        second.tidy(connection)
    lost: list[bool] = []
    first.beat(lambda: (lost.append(True), first.end())[0])
    assert lost
    assert first.expelled
    first.join()
    assert first.valid()
    first.leave()
    second.leave()
    database.close()


def test_a_scheduler_whose_process_is_gone_is_dead_at_once(server: str) -> None:
    database = Database(server)
    database.create()
    presence = Presence(database, "node", Lease(seconds=600))
    presence.join()
    other = Presence(database, "node")
    with database.begin() as connection:
        gone = presence._process.rsplit(" ", 1)[0] + " 1"
        connection.execute(sa.update(schema.schedulers).values(process=gone))
        assert other.dead(connection)(presence.id)
        connection.execute(sa.update(schema.schedulers).values(process=f"elsewhere {gone}"))
        assert not other.dead(connection)(presence.id), "on another machine only the lease tells"
    presence.leave()
    database.close()
