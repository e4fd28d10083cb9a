"""Every cell of the two state tables, on records."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.database import schema
from gateway.errors import Refused
from gateway.jobs.states import (
    FAULT_POINTS,
    JOB_TABLE,
    OPERATOR_TABLE,
    PLACES,
    Effect,
    JobEvent,
    OperatorEvent,
    OperatorStatus,
    Place,
    State,
    next_job,
)
from gateway.jobs.transitions import (
    Ending,
    Facts,
    OperatorLog,
    UnknownJob,
    load,
    move_job,
    move_operator,
)
from tests.support.jobs_world import World, writing

JOB_CELLS = list(itertools.product(PLACES, JobEvent))
OPERATOR_CELLS = list(itertools.product(OperatorStatus, OperatorEvent))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("house"))
    world.pipeline("write", writing())
    yield world
    world.close()


def put(world: World, place: Place) -> str:
    """A job at ``place`` in its second attempt, with one operator running and one pending."""
    job = world.create("write")
    with world.database.begin() as connection:
        connection.execute(
            sa.update(schema.jobs).where(schema.jobs.c.id == job).values(
                state=place.state, status=place.status, attempt=2, retries=1, started_at=5.0,
                stopped_at=6.0 if place.state is State.STOPPED else None, queued_at=4.0,
                reason="earlier", exit_code=9, not_before=3.0, cancel_requested="why not",
            )
        )  # fmt: skip
        for position, status in enumerate(("RUNNING", "PENDING")):
            connection.execute(
                sa.insert(schema.operators).values(
                    job_id=job, attempt=2, name=status.lower(), position=position, status=status,
                    log="logs/x", created_at=1.0,
                )
            )  # fmt: skip
    return job


@pytest.mark.parametrize(("place", "event"), JOB_CELLS, ids=lambda value: str(value))
def test_job_cell(house: World, place: Place, event: JobEvent) -> None:
    job = put(house, place)
    step = JOB_TABLE.get((place, event))
    called: list[int] = []
    facts = Facts(
        at=100.0,
        reason="now",
        exit_code=3,
        not_before=200.0,
        operators=[OperatorLog("a", "logs/a"), OperatorLog("b", "logs/b")],
        results=lambda _connection, row: called.append(row.attempt),
    )
    before = house.job(job)
    events_before = house.events(job)
    if step is None:
        with pytest.raises(Refused):
            house.act(move_job, job, event, facts)
        assert house.job(job) == before
        assert house.events(job) == events_before
        return
    after = house.act(move_job, job, event, facts)
    assert (after.state, after.status) == (step.to.state, step.to.status)
    assert after == house.job(job)
    for effect in Effect:
        EXPECTATIONS[effect](house, after, effect in step.effects)
    calls_results = {Effect.BEGIN_ATTEMPT, Effect.RELEASE_RESULTS} & set(step.effects)
    assert called == ([2] if calls_results else [])
    told = [effect.value for effect in step.effects if effect.value.startswith("tell-")]
    assert [
        kind.replace("job/", "tell-") for kind in house.events(job) if kind != "operator/stopped"
    ][len(events_before) :] == told


def _attempt_began(world: World, job: Any, happened: bool) -> None:
    assert job.attempt == (3 if happened else 2)
    names = {name for attempt, name in world.operators(job.id) if attempt == 3}
    assert names == ({"a", "b"} if happened else set())
    if happened:
        assert (job.started_at, job.not_before, job.reason) == (100.0, None, None)


def _operators_ended(world: World, job: Any, happened: bool) -> None:
    rows = world.operators(job.id)
    assert rows[2, "running"].status == ("FAULTED" if happened else "RUNNING")
    assert rows[2, "running"].reason == ("now" if happened else None)
    assert rows[2, "pending"].status == "PENDING"


def _retry_counted(_world: World, job: Any, happened: bool) -> None:
    if happened:
        assert (job.retries, job.not_before) == (2, 200.0)
    else:
        assert job.retries in (0, 1)


def _stopped(_world: World, job: Any, happened: bool) -> None:
    assert (job.stopped_at == 100.0) is happened
    if happened:
        assert (job.reason, job.exit_code, job.cancel_requested) == ("now", 3, None)


def _was_reset(_world: World, job: Any, happened: bool) -> None:
    assert (job.queued_at == 100.0) is happened
    if happened:
        assert (job.stopped_at, job.reason, job.retries, job.cancel_requested) == (
            None,
            None,
            0,
            None,
        )


def _any(_world: World, _job: Any, _happened: bool) -> None:
    """Checked by the test itself."""


EXPECTATIONS = {
    Effect.ENQUEUE: _any,
    Effect.BEGIN_ATTEMPT: _attempt_began,
    Effect.RELEASE_RESULTS: _any,
    Effect.END_OPERATORS: _operators_ended,
    Effect.COUNT_RETRY: _retry_counted,
    Effect.STOP: _stopped,
    Effect.RESET: _was_reset,
    Effect.TELL_STARTED: _any,
    Effect.TELL_REQUEUED: _any,
    Effect.TELL_STOPPED: _any,
}


@pytest.mark.parametrize(("status", "event"), OPERATOR_CELLS, ids=lambda value: str(value))
def test_operator_cell(house: World, status: OperatorStatus, event: OperatorEvent) -> None:
    job_id = put(house, Place(State.RUNNING, PLACES[0].status))
    with house.database.begin() as connection:
        connection.execute(
            sa.update(schema.operators)
            .where(schema.operators.c.job_id == job_id, schema.operators.c.name == "running")
            .values(status=status)
        )
    job = house.job(job_id)
    step = OPERATOR_TABLE.get((status, event))
    ending = Ending(reason="why\0", exit_code=7, tail="last", at=50.0)
    if step is None:
        with pytest.raises(Refused):
            house.act(move_operator, job, "running", event, ending)
        assert house.operators(job_id)[2, "running"].status == status
        return
    assert house.act(move_operator, job, "running", event, ending) is step.to
    row = house.operators(job_id)[2, "running"]
    assert row.status == step.to
    if event is OperatorEvent.START:
        assert (row.started_at, row.stopped_at) == (50.0, None)
        assert house.events(job_id)[-1] == "operator/started"
    else:
        assert (row.stopped_at, row.reason, row.exit_code, row.tail) == (50.0, "why", 7, "last")
        assert house.events(job_id)[-1] == "operator/stopped"


def test_queueing_stamps_the_time_once(house: World) -> None:
    with house.database.begin() as connection:
        job = house.creation.create(connection, house.new("write"), queue=False)
        assert load(connection, job).queued_at is None
        move_job(connection, job, JobEvent.QUEUE, Facts(at=7.0))
        assert move_job(connection, job, JobEvent.QUEUE, Facts(at=8.0)).queued_at == 7.0


def test_a_job_that_is_not_there(house: World) -> None:
    with house.database.read() as connection, pytest.raises(UnknownJob):
        load(connection, "0" * 32)


def test_every_place_is_reached_and_left() -> None:
    reached = {step.to for step in JOB_TABLE.values()}
    left = {place for place, _event in JOB_TABLE}
    assert reached | {PLACES[0]} == set(PLACES) == left


def test_an_event_out_of_place_says_so() -> None:
    with pytest.raises(Refused, match="a job that is PENDING/HEALTHY knows no complete"):
        next_job(PLACES[0], JobEvent.COMPLETE)


def test_fault_points_have_unique_names() -> None:
    assert len(set(FAULT_POINTS)) == len(FAULT_POINTS)
