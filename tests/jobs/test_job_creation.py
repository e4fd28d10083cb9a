"""Jobs made from decisions, and what happens to them before they run."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.config.settings import JobSettings
from gateway.database import schema
from gateway.errors import Refused
from gateway.jobs.creation import (
    JobCreation,
    cancel,
    job_name,
    queue,
    supersede,
)
from gateway.jobs.ledger import Capacity, NeverFits
from gateway.jobs.rerun import rerun
from tests.support import seed
from tests.support.jobs_world import RULE, World, step, writing


def test_one_job_per_payload_revision_and_rule(world: World) -> None:
    world.pipeline("write", writing())
    payload = world.received()
    first = world.create("write", payload)
    assert world.create("write", payload) == first
    assert world.create("write", payload, rule="other") != first
    assert world.create("write", payload, revision=2) != first
    assert world.events(first) == ["job/created"]


def test_jobs_made_by_hand_are_never_the_same(world: World) -> None:
    world.pipeline("write", writing())
    assert world.create("write") != world.create("write")


def test_a_job_takes_the_latest_version_and_keeps_it(world: World) -> None:
    world.pipeline("write", writing())
    old = world.create("write")
    world.pipeline("write", writing("sleep 0"))
    new = world.create("WRITE")
    versions = {row.id: row.version for row in world.rows(sa.select(schema.pipelines))}
    assert versions[world.job(old).pipeline_id] == 1
    assert versions[world.job(new).pipeline_id] == 2


def test_needs_are_those_of_operators_that_can_run_at_once(world: World) -> None:
    parallel = [
        step("first", ":", requests={"cpu": 1, "memory": 1000}),
        step("left", ":", after=["first"], requests={"cpu": 0.5, "memory": 700, "gpu": 1}),
        step("right", ":", after=["first"], requests={"cpu": 0.7, "memory": 800, "gpu": 1}),
    ]
    world.pipeline("fan", parallel)
    job = world.job(world.create("fan"))
    assert (job.cpu, job.memory_mb, job.gpus) == (1.2, 1500, 2)


def test_cores_are_capped_and_the_impossible_is_refused(world: World) -> None:
    world.pipeline("wide", writing(requests={"cpu": 64}))
    assert world.job(world.create("wide")).cpu == 2
    world.pipeline("huge", writing(requests={"memory": 9999}))
    with pytest.raises(NeverFits, match="needs 9999 MB"):
        world.create("huge")
    assert len(world.rows(sa.select(schema.jobs))) == 1


@pytest.mark.parametrize(
    ("given", "kept"), [({}, 600), ({"timeout": 42.5}, 42.5), ({"timeout": 99999}, 1800)]
)
def test_time_outs(world: World, given: dict[str, Any], kept: float) -> None:
    world.pipeline("write", writing(), **given)
    assert world.job(world.create("write")).timeout_seconds == kept


def test_variables_must_be_declared(world: World) -> None:
    world.pipeline("write", writing(), parameters={"LEVEL": "1"})
    job = world.job(
        world.create(
            "write",
            variables={
                "LEVEL": 2,
            },
        )
    )
    assert job.variables == {"LEVEL": 2}
    with pytest.raises(Refused, match="declares no parameter LEVLE; declared: LEVEL"):
        world.create("write", variables={"LEVLE": 2})


def test_a_variable_can_shape_the_definition(world: World) -> None:
    world.pipeline("write", writing("test ${{LEVEL}} = true"), parameters={"LEVEL": "false"})
    with world.scheduling():
        job = world.create("write", world.received(), variables={"LEVEL": True})
        other = world.create("write", world.received())
        assert world.settle(job, other) == ["STOPPED/HEALTHY", "STOPPED/FAULTED"]


def test_what_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="there is no pipeline 'nothing'"):
        world.create("nothing")
    world.pipeline("write", writing())
    with pytest.raises(Refused, match="'urgent' is no priority; allowed: lower, normal"):
        world.create("write", priority="urgent")


def test_names_say_ae_pipeline_and_second_and_fit_a_label() -> None:
    assert job_name("LUNG_CT", "lung-density", 0) == "lung-ct-lung-density-19700101000000"
    assert job_name(None, "Größe/ß", 0) == "gr-e-19700101000000"
    assert job_name("", "***", 0) == "job-19700101000000"
    long = job_name("A" * 16, "x" * 255, 1.7e9)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", long)
    assert long.endswith("-20231114221320")


def test_a_newer_revision_cancels_what_still_waits(world: World) -> None:
    world.pipeline("write", writing())
    payload, other = world.received(), world.received()
    old = world.create("write", payload, revision=1)
    new = world.create("write", payload, revision=2)
    unrelated = world.create("write", payload, revision=1, rule="another rule")
    elsewhere = world.create("write", other, revision=1)
    assert world.act(supersede, payload, RULE, 2) == [old]
    assert world.act(supersede, payload, RULE, 2) == []
    assert world.place(old) == "STOPPED/CANCELED"
    assert world.job(old).reason == "superseded by revision 2 of its payload"
    assert {world.place(job) for job in (new, unrelated, elsewhere)} == {"PENDING/HEALTHY"}


def test_a_running_older_revision_goes_on(world: World) -> None:
    world.pipeline("slow", writing("sleep 0.3"))
    payload = world.received()
    with world.scheduling():
        job = world.create("slow", payload)
        world.wait_operator(job)
        assert world.act(supersede, payload, RULE, 2) == []
        assert world.settle(job) == ["STOPPED/HEALTHY"]


def test_cancel_of_a_waiting_job_is_immediate_and_of_a_stopped_one_refused(world: World) -> None:
    world.pipeline("write", writing())
    job = world.create("write")
    world.act(cancel, job)
    assert world.place(job) == "STOPPED/CANCELED"
    assert world.job(job).reason == "cancelled"
    with pytest.raises(Refused, match="STOPPED/CANCELED knows no cancel"):
        world.act(cancel, job)


def test_a_job_waits_for_its_owner(world: World) -> None:
    world.pipeline("write", writing())
    job = world.act(lambda c: world.creation.create(c, world.new("write"), queue=False))
    with world.scheduling(world.scheduler(poll=0.05)):
        other = world.create("write", world.received())
        world.settle(other)
        assert world.place(job) == "PENDING/HEALTHY"
        world.act(queue, job)
        world.settle(job)


def test_rerun_only_of_what_has_stopped_and_is_not_being_delivered(world: World) -> None:
    world.pipeline("write", writing())
    job = world.create("write")
    with pytest.raises(Refused, match="PENDING/HEALTHY knows no rerun"):
        world.act(rerun, job)
    world.act(cancel, job)
    seed.insert(
        world.database, schema.results, correlation_id="c" * 32, job_id=job, attempt=1,
        agent="ClaraSCU", parameters="null", deliverable=True, state="SENDING", created_at=1.0,
    )  # fmt: skip
    with pytest.raises(Refused, match="still being delivered"):
        world.act(rerun, job)
    with world.database.begin() as connection:
        connection.execute(sa.update(schema.results).values(state="DELIVERED"))
    world.act(rerun, job)
    assert world.place(job) == "PENDING/HEALTHY"


def test_missing_gpu_may_become_cpu(world: World) -> None:
    world.pipeline("write", writing(requests={"gpu": 1}))
    bare = Capacity(2, 4096)
    refusing = JobCreation(capacity=bare, limits=JobSettings())
    lenient = JobCreation(capacity=bare, limits=JobSettings(), missing_gpu="cpu")
    with pytest.raises(NeverFits):
        world.act(refusing.create, world.new("write"))
    job = world.act(lenient.create, world.new("write"))
    assert world.job(job).gpus == 0
