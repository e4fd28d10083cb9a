"""A job that is found running after every death of the gateway is not tried for ever."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from gateway.database.schema import jobs
from gateway.jobs.adoption import MOST_ATTEMPTS
from tests.support.jobs_world import World, writing


def test_a_job_that_outlived_too_many_gateways_faults(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pipeline("write", writing("true"))
    job = world.create("write", world.received())
    with world.database.begin() as connection:
        connection.execute(
            sa.update(jobs)
            .where(jobs.c.id == job)
            .values(state="RUNNING", attempt=MOST_ATTEMPTS, started_at=1.0)
        )
    with world.scheduling():
        world.settle(job)
    with world.database.read() as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).one()
    assert (row.state, row.status, row.attempt) == ("STOPPED", "FAULTED", MOST_ATTEMPTS)
    assert "no further one" in row.reason
    world.database.close()
