"""Which jobs start: properties over random queues and machines."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.jobs.backlog import Backlog, Waiting
from gateway.jobs.decision import IMMEDIATE, WEIGHTS, Held, Limits, Plan, Rules, plan
from gateway.jobs.ledger import Capacity, Need
from gateway.jobs.shares import History
from tests.support.queue_sim import EVEN, GRACE, Simulation, dice, shares

HIGHER, NORMAL, LOWER = 3, 2, 1
SMALL = Capacity(4.0, 4096, (0, 1, 2, 3))
CORE = Need(1.0, 1, 0)
BEGIN = History()

needs = st.builds(
    Need,
    st.sampled_from([0.1, 0.5, 1.0, 2.0, 4.0]),
    st.sampled_from([1, 512, 1024, 4096]),
    st.integers(0, 4),
)
queues = st.lists(
    st.tuples(
        st.integers(1, 4), needs, st.sampled_from("ABC"), st.sampled_from("xyz"),
        st.sampled_from([10.0, 60.0, 600.0]), st.floats(0, 300),
    ),
    max_size=60,
)  # fmt: skip


def jobs_of(queue: list[tuple[int, Need, str, str, float, float]]) -> list[Waiting]:
    return [
        Waiting(f"{number:03d}", priority, need, application, pipeline, seconds + GRACE, since)
        for number, (priority, need, application, pipeline, seconds, since) in enumerate(queue)
    ]


def decide(
    *waiting: Waiting, running: tuple[Held, ...] = (), capacity: Capacity = SMALL,
    rules: Rules = EVEN, history: History = BEGIN, now: float = 0.0, most: int = 64,
) -> Plan:  # fmt: skip
    return plan(Backlog(waiting), running, capacity, rules, history, now, most)


def ids(found: Plan) -> list[str]:
    return [start.job.job_id for start in found.starts]


@given(queues, st.integers(0, 1000))
@settings(max_examples=120, deadline=None)
def test_everything_starts_once_and_nothing_on_what_an_immediate_job_waits_for(
    queue: list[tuple[int, Need, str, str, float, float]], seed: int
) -> None:
    # The simulation itself checks each start: within the machine, devices exclusive.
    outcome = Simulation(jobs_of(queue), dice(seed), machine=SMALL).run()
    assert outcome.unfair == []
    assert sorted(outcome.waits) == [f"{number:03d}" for number in range(len(queue))]


@given(queues, st.integers(0, 1000))
@settings(max_examples=120, deadline=None)
def test_a_reserved_job_starts_no_later_than_first_said(
    queue: list[tuple[int, Need, str, str, float, float]], seed: int
) -> None:
    waiting = [job for job in jobs_of(queue) if job.priority != IMMEDIATE]
    simulation = Simulation(waiting, dice(seed), machine=SMALL, lasts=(0.2, 1.0))
    outcome = simulation.run()
    started = {start.job.job_id: at for at, start in outcome.starts}
    for job_id, promised in simulation.promises.items():
        assert started[job_id] <= promised + 1e-6, job_id


@given(queues, st.integers(0, 1000), st.integers(1, 2), st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_limits_hold_and_stop_nobody_for_good(
    queue: list[tuple[int, Need, str, str, float, float]], seed: int, one: int, each: int
) -> None:
    limits = Limits(pipelines={"x": one}, applications={"A": 3}, each_application=each)
    simulation = Simulation(jobs_of(queue), dice(seed), machine=SMALL, rules=Rules(limits=limits))
    begin = simulation._start

    def checked(start: object) -> None:
        begin(start)  # type: ignore[arg-type]
        held = simulation.running.values()
        assert sum(job.pipeline == "x" for job in held) <= one
        counts = Counter(job.application for job in held)
        assert all(count <= (3 if ae == "A" else each) for ae, count in counts.items())

    simulation._start = checked  # type: ignore[method-assign]
    # An IMMEDIATE job that a limit of its own kind keeps back sets nothing aside.
    assert len(simulation.run().waits) == len(queue)


@given(queues, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_decision_depends_on_its_arguments_only(
    queue: list[tuple[int, Need, str, str, float, float]], seed: int
) -> None:
    waiting = jobs_of(queue)
    shuffled = dice(seed).sample(waiting, len(waiting))
    first = decide(*waiting)
    assert decide(*shuffled) == first
    again = History.of_json(first.history.as_json())
    assert again == first.history


def test_a_stopped_plan_goes_on_where_it_was() -> None:
    waiting = [Waiting(f"{n}", 1 + n % 4, CORE, "A", "x", 60, n) for n in range(40)]
    whole = ids(decide(*waiting, capacity=Capacity(40, 4096)))
    backlog, history, running, parts = Backlog(waiting), History(), [], []
    for _ in range(len(whole) + 1):
        part = plan(backlog, running, Capacity(40, 4096), EVEN, history, 0.0, most=1)
        history = part.history
        for start in part.starts:
            backlog.remove(start.job.job_id)
            parts.append(start.job.job_id)
            running.append(Held(start.job.job_id, start.job.need, start.gpus, 60.0))
    assert parts == whole


@pytest.mark.parametrize("weights", [{3: 4.0, 2: 2.0, 1: 1.0}, {3: 5.0, 2: 5.0, 1: 1.0}])
def test_three_priorities_share_the_starts_by_weight(weights: dict[int, float]) -> None:
    waiting = [
        Waiting(f"{priority}-{n:03d}", priority, CORE, "A", "x", 60, n)
        for priority in (LOWER, NORMAL, HIGHER)
        for n in range(200)
    ]
    outcome = Simulation(waiting, dice(1), machine=SMALL, rules=Rules(weights)).run()
    queued = Counter(job.priority for job in waiting)
    for priority, share in shares(outcome, weights, queued).items():
        assert abs(share - 1) <= 0.05, priority


def test_applications_share_a_priority_however_much_one_sends() -> None:
    flood = [Waiting(f"f{n:03d}", NORMAL, CORE, "FLOOD", "x", 60, 0) for n in range(300)]
    few = [Waiting(f"s{n:03d}", NORMAL, CORE, "SMALL", "x", 60, 1) for n in range(20)]
    outcome = Simulation(flood + few, dice(1), machine=SMALL).run()
    first = [start.job.application for _, start in outcome.starts[:48]]
    assert first.count("SMALL") == 20


def test_one_that_sends_job_after_job_does_not_shut_out_another() -> None:
    history, started = History(), []
    for n in range(20):
        busy = Waiting(f"busy{n}", NORMAL, CORE, "BUSY", "x", 60, n)
        flood = Waiting(f"flood{n}", NORMAL, CORE, "FLOOD", "x", 60, n)
        one = Capacity(1.0, 10)
        found = decide(busy, flood, capacity=one, history=history)
        history = found.history
        started += [start.job.application for start in found.starts]
        # BUSY has nothing to start for a moment, then the next one.
        history = decide(flood, capacity=Capacity(0.5, 10), history=history).history
    assert started.count("FLOOD") >= 9


def test_a_blocked_immediate_leaves_others_what_it_does_not_need() -> None:
    held = Held("r", Need(2.0, 2048, 4), (0, 1, 2, 3), 100.0)
    gpu = Waiting("gpu", IMMEDIATE, Need(1.0, 512, 1), "A", "g", 60)
    two = Waiting("two", NORMAL, Need(2.0, 512, 0), "A", "t", 60)
    one = Waiting("one", LOWER, Need(1.0, 512, 0), "A", "o", 60)
    assert ids(decide(gpu, one, running=(held,))) == ["one"]
    assert ids(decide(gpu, two, running=(held,))) == []
    assert ids(decide(two, running=(held,))) == ["two"]


def test_backfill_takes_what_the_reserved_job_leaves_or_ends_before_it_can_start() -> None:
    held = Held("r", Need(3.0, 1024, 0), (), until=100.0)
    big = Waiting("big", NORMAL, Need(4.0, 512, 0), "A", "big", 600, 0)
    long = Waiting("long", NORMAL, Need(1.0, 512, 0), "A", "long", 101, 1)
    short = Waiting("short", NORMAL, Need(1.0, 512, 0), "A", "short", 100, 2)
    found = decide(big, long, short, running=(held,))
    assert ids(found) == ["short"]
    assert found.starts[0].backfill
    assert (found.reserved, found.earliest) == ("big", 100.0)


def test_a_job_on_a_device_is_not_held_up_by_one_that_waits_for_another_kind() -> None:
    held = Held("r", Need(1.0, 512, 4), (0, 1, 2, 3), until=100.0)
    gpu = Waiting("gpu", NORMAL, Need(1.0, 512, 1), "A", "gpu", 600, 0)
    cores = Waiting("cores", NORMAL, Need(2.0, 512, 0), "A", "cores", 600, 1)
    found = decide(gpu, cores, running=(held,))
    assert ids(found) == ["cores"]
    assert found.reserved == "gpu"


def test_a_slot_that_an_immediate_job_waits_for_is_kept() -> None:
    rules = Rules(limits=Limits(pipelines={"x": 1}))
    held = Held("r", CORE, (), 100.0, NORMAL, "A", "x")
    urgent = Waiting("urgent", IMMEDIATE, CORE, "A", "x", 60)
    other = Waiting("other", NORMAL, Need(4.0, 1, 0), "A", "y", 60)
    small = Waiting("small", NORMAL, Need(2.0, 1, 0), "A", "z", 60)
    assert ids(decide(urgent, other, small, running=(held,), rules=rules)) == ["small"]
    mine = Held("r", CORE, (), 100.0, IMMEDIATE, "A", "x")
    three = Waiting("three", NORMAL, Need(3.0, 1, 0), "A", "y", 60)
    # It waits for its own kind alone, so nothing is kept from others.
    assert ids(decide(urgent, three, running=(mine,), rules=rules)) == ["three"]


def test_what_the_machine_can_never_hold_holds_up_nobody() -> None:
    giant = Waiting("giant", IMMEDIATE, Need(99.0, 1, 0), "A", "x", 60)
    large = Waiting("large", HIGHER, Need(1.0, 1, 9), "A", "x", 60)
    small = Waiting("small", LOWER, CORE, "A", "y", 60)
    assert ids(decide(giant, large, small)) == ["small"]


def test_elsewhere_counts_for_limits_and_not_for_the_machine() -> None:
    there = Held("r", Need(4.0, 4096, 4), (0, 1, 2, 3), 100.0, NORMAL, "A", "x", here=False)
    job = Waiting("job", NORMAL, Need(1.0, 1, 1), "A", "x", 60)
    assert ids(decide(job, running=(there,))) == ["job"]
    limits = Rules(WEIGHTS, Limits(each_pipeline=1))
    assert ids(decide(job, running=(there,), rules=limits)) == []
