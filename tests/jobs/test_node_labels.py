"""Jobs that ask for labels of a machine: where they run, and what becomes of them elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config.settings import JobSettings, ResourceSettings
from gateway.errors import Refused
from gateway.jobs.backlog import Backlog, Waiting
from gateway.jobs.creation import JobCreation
from gateway.jobs.decision import Rules, plan
from gateway.jobs.ledger import Capacity, Need, NeverFits
from gateway.jobs.shares import History
from tests.support.databases import on_postgres, serving
from tests.support.jobs_world import World, writing

A100 = frozenset({"gpu=a100"})


def labelled(world: World, labels: frozenset[str]) -> None:
    """Let the machine have other labels, as after a change of the settings."""
    world.capacity = replace(world.capacity, labels=labels)
    world.creation = JobCreation(capacity=world.capacity, limits=JobSettings())


def asking(world: World, name: str = "write", **labels: str) -> None:
    world.pipeline(name, writing(), **{"x-gateway": {"labels": labels}})


@pytest.fixture
def shared(tmp_path: Path, postgres_server: str) -> Iterator[World]:
    """A world on PostgreSQL, where there may be other nodes."""
    if on_postgres():
        world = World(tmp_path)
        yield world
        world.close()
        return
    with serving(postgres_server):
        world = World(tmp_path)
        yield world
        world.close()


def test_settings_name_the_labels_of_a_machine_and_of_a_cluster() -> None:
    settings = ResourceSettings(labels={"gpu": "a100"})
    assert Capacity.of_machine(settings).labels == A100
    assert Capacity.of_cluster(settings).labels == A100
    assert Capacity.of_machine(ResourceSettings()).labels == frozenset()


@pytest.mark.skipif(on_postgres(), reason="there another node may have the label")
def test_the_only_node_refuses_what_it_lacks_and_other_labels_ask_for_nothing(
    world: World,
) -> None:
    asking(world, site="north", team="ct")
    world.create("write")
    asking(world, **{"node-gpu": "a100"})
    with pytest.raises(NeverFits, match="a node with gpu=a100, this one has no labels"):
        world.create("write")
    labelled(world, frozenset({"gpu=v100"}))
    with pytest.raises(NeverFits, match="a node with gpu=a100, this one has gpu=v100"):
        world.create("write")
    labelled(world, A100 | {"room=mri"})
    job = world.create("write")
    with world.scheduling():
        assert world.settle(job) == ["STOPPED/HEALTHY"]


@pytest.mark.skipif(on_postgres(), reason="there another node may have the label")
def test_a_job_of_the_only_node_that_lost_its_label_ends_with_the_reason(world: World) -> None:
    asking(world, **{"node-gpu": "a100"})
    labelled(world, A100)
    job = world.create("write")
    labelled(world, frozenset())
    with world.scheduling():
        assert world.settle(job) == ["STOPPED/FAULTED"]
    assert "a node with gpu=a100" in (world.job(job).reason or "")


def test_one_label_with_two_values_is_refused(world: World) -> None:
    steps = writing()
    steps[0]["x-gateway"] = {"labels": {"node-gpu": "v100"}}
    world.pipeline("torn", steps, **{"x-gateway": {"labels": {"node-gpu": "a100"}}})
    with pytest.raises(Refused, match="gpu with two values"):
        world.create("torn")


def test_a_job_waits_for_the_node_that_has_its_label_and_keeps_nobody_behind_it(
    shared: World,
) -> None:
    asking(shared, **{"node-gpu": "a100"})
    jobs = [shared.create("write") for _ in range(9)]
    # A newer version of the same pipeline asks for nothing: it passes all that wait.
    asking(shared)
    free = shared.create("write")
    plain = shared.scheduler()
    labelled(shared, A100)
    having = shared.scheduler()
    with shared.scheduling(plain):
        assert shared.settle(free) == ["STOPPED/HEALTHY"]
        assert {shared.place(job) for job in jobs} == {shared.place(jobs[0])}
        assert shared.job(jobs[0]).state == "PENDING"
        with shared.scheduling(having):
            assert shared.settle(*jobs) == ["STOPPED/HEALTHY"] * 9


def test_one_that_waits_elsewhere_keeps_its_place_in_the_line_and_reserves_nothing() -> None:
    absent = Waiting("absent", 2, Need(1, 1, 0), "A", "x", 10.0, 0.0, A100)
    urgent = Waiting("urgent", 4, Need(4, 1, 0), "A", "x", 10.0, 0.0, A100)
    here = Waiting("here", 2, Need(4, 1, 0), "A", "x", 99.0, 1.0)
    history = History(line=("absent",))
    found = plan(Backlog([absent, urgent, here]), (), Capacity(4, 99), Rules(), history, 0.0)
    assert [start.job.job_id for start in found.starts] == ["here"]
    assert found.history.line == ("absent",)
