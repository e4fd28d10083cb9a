"""One life of a scheduler's process, for tests that kill it at a named point and start another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Imported here so that a fork server loads it once for all lives.
from gateway.database import migrate
from gateway.events import faults
from gateway.events.lease import Lease
from gateway.jobs.creation import cancel, queue, supersede
from gateway.jobs.rerun import rerun
from tests.support.jobs_world import RULE, World, writing

PRELOADED = (migrate,)

ONCE = "test -e ../../seen || { touch ../../seen; exit %d; }"

SCRIPTS = {
    "complete": "sleep 0.02",
    "give-up": "sleep 0.1",
    "queue": ":",
    "supersede": ":",
    "fault": "exit 3",
    "time-out": "sleep 60",
    "cancel": "sleep 60",
    "retry": ONCE % 75,
    "evict": "exit 75",
    "rerun": ONCE % 3,
}
"""What the first operator does in each scenario."""

ENDS = {
    "fault": "STOPPED/FAULTED",
    "time-out": "STOPPED/TERMINATED",
    "cancel": "STOPPED/CANCELED",
    "evict": "STOPPED/EVICTED",
}
"""Where the job ends, HEALTHY unless named."""


def prepare(data_dir: Path, scenario: str) -> str:
    """Register the scenario's pipeline and receive a study; returns the payload's id."""
    world = World(data_dir)
    more = {"timeout": 2} if scenario == "time-out" else {}
    world.pipeline("crash", writing(SCRIPTS[scenario]), **more)
    payload = world.received()
    world.close()
    return payload


def live(data_dir: Path, payload: str, scenario: str, fault_point: str) -> None:
    """Do whatever of the scenario is not done yet, then end; or die at ``fault_point``."""
    os.environ[faults.VARIABLE] = fault_point
    faults._trap = faults._Trap(fault_point)
    world = World(data_dir)
    with Lease(data_dir, "scheduler"):
        job = _make(world, payload, scenario)
        with world.scheduling(world.scheduler(poll=0.02)):
            _LIFE.get(scenario, _plain)(world, job)
    world.close()


def _make(world: World, payload: str, scenario: str) -> str:
    if scenario == "supersede":
        world.create("crash", payload, revision=1)
        with world.database.begin() as connection:
            new = world.new("crash", payload, revision=2)
            job = world.creation.create(connection, new)
            supersede(connection, payload, RULE, 2)
        return job
    if scenario == "queue":
        job = world.act(
            lambda c: world.creation.create(c, world.new("crash", payload), queue=False)
        )
        world.act(queue, job)
        return str(job)
    return world.create("crash", payload)


def _plain(world: World, job: str) -> None:
    world.settle(job)


def _cancelled(world: World, job: str) -> None:
    if world.job(job).state != "STOPPED":
        world.wait(lambda: world.job(job).state == "STOPPED" or _busy(world, job))
        if world.job(job).state == "RUNNING":
            world.act(cancel, job, "not wanted")
    world.settle(job)


def _busy(world: World, job: str) -> bool:
    return any(row.status == "RUNNING" for row in world.operators(job).values())


def _rerun(world: World, job: str) -> None:
    world.settle(job)
    if world.place(job) == "STOPPED/FAULTED":
        world.act(rerun, job)
    world.settle(job)


_LIFE: dict[str, Callable[[World, str], None]] = {"cancel": _cancelled, "rerun": _rerun}
