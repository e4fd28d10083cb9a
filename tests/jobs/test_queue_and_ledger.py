"""Who starts next and who holds what: properties over random machines and queues."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.settings import ResourceSettings
from gateway.jobs.ledger import Capacity, Ledger, Need, NeverFits, fits, set_aside
from gateway.jobs.queue import FairQueue, Waiting
from gateway.pipelines.model import Requests

CAPACITY = Capacity(4.0, 4096, (0, 1, 2, 3))
IMMEDIATE, HIGHER, NORMAL, LOWER = 4, 3, 2, 1

needs = st.builds(
    Need,
    st.sampled_from([0.1, 0.2, 0.5, 1.0, 2.0, 4.0]),
    st.sampled_from([1, 512, 1024, 4096]),
    st.integers(0, 4),
)
arrivals = st.tuples(st.just("arrive"), st.integers(1, 4), needs)
endings = st.tuples(st.just("end"), st.integers(0, 100), st.just(Need()))
histories = st.lists(st.one_of(arrivals, arrivals, endings), max_size=60)


class Machine:
    """A queue and a ledger driven by a history, checked after every move."""

    def __init__(self) -> None:
        self.ledger = Ledger(CAPACITY)
        self.queue = FairQueue()
        self.waiting: list[Waiting] = []
        self.running: list[str] = []
        self.started: list[Waiting] = []
        self.count = 0

    def arrive(self, priority: int, need: Need) -> None:
        self.count += 1
        self.waiting.append(Waiting(f"job{self.count}", priority, need))

    def end(self, which: int) -> None:
        if self.running:
            self.ledger.release(self.running.pop(which % len(self.running)))

    def turn(self) -> None:
        while (chosen := self.queue.choose(self.waiting, self.ledger.free())) is not None:
            self.check_choice(chosen)
            grant = self.ledger.acquire(chosen.job_id, chosen.need)
            assert grant is not None, "the queue chose what does not fit"
            assert self.ledger.check() == []
            self.waiting.remove(chosen)
            self.running.append(chosen.job_id)
            self.started.append(chosen)

    def check_choice(self, chosen: Waiting) -> None:
        same = [job for job in self.waiting if job.priority == chosen.priority]
        if chosen.priority != IMMEDIATE:
            assert chosen == same[0], "a job overtook another of its priority"
            free = self.ledger.free()
            for job in self.waiting:
                if job.priority == IMMEDIATE:
                    assert not fits(job.need, free), "IMMEDIATE could have started"
                    free = set_aside(job.need, free)
            assert fits(chosen.need, free), "it took what an IMMEDIATE job waits for"


@given(histories)
@settings(max_examples=150, deadline=None)
def test_nothing_is_overcommitted_and_immediate_goes_first(
    history: list[tuple[str, int, Need]],
) -> None:
    machine = Machine()
    for what, number, need in history:
        if what == "arrive":
            machine.arrive(number, need)
        else:
            machine.end(number)
        machine.turn()
    # However it went, everything starts in the end: nothing starves.
    while machine.waiting or machine.running:
        before = len(machine.waiting) + len(machine.running)
        machine.end(0)
        machine.turn()
        assert len(machine.waiting) + len(machine.running) < before
    assert len(machine.started) == machine.count


@given(st.lists(st.sampled_from([LOWER, NORMAL, HIGHER]), max_size=10), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_three_priorities_share_the_starts_4_2_1(earlier: list[int], cores: int) -> None:
    queue = FairQueue()
    whole = Need(float(cores), 1, 0)
    for number, priority in enumerate(earlier):
        queue.choose([Waiting(f"e{number}", priority, whole)], whole)
    waiting = [
        Waiting(f"{priority}-{number}", priority, whole)
        for priority in (LOWER, NORMAL, HIGHER)
        for number in range(100)
    ]
    starts: Counter[int] = Counter()
    for _ in range(70):
        chosen = queue.choose(waiting, whole)
        assert chosen is not None
        waiting.remove(chosen)
        starts[chosen.priority] += 1
    for priority, share in ((HIGHER, 40), (NORMAL, 20), (LOWER, 10)):
        assert abs(starts[priority] - share) <= 2, starts


def test_a_big_job_is_not_starved_by_small_ones() -> None:
    machine = Machine()
    machine.arrive(NORMAL, Need(1.0, 1, 0))
    machine.turn()
    machine.arrive(NORMAL, Need(4.0, 1, 0))
    for _ in range(20):
        machine.arrive(HIGHER, Need(1.0, 1, 0))
        machine.arrive(LOWER, Need(1.0, 1, 0))
        machine.turn()
        machine.end(0)
        machine.turn()
    big = next(i for i, job in enumerate(machine.started) if job.need.cpu == 4.0)
    assert big <= 12


def test_a_blocked_immediate_leaves_others_what_it_does_not_need() -> None:
    free = Need(2.0, 2048, 0)
    gpu = Waiting("gpu", IMMEDIATE, Need(1.0, 512, 1))
    two_cores = Waiting("two cores", NORMAL, Need(2.0, 512, 0))
    one_core = Waiting("one core", LOWER, Need(1.0, 512, 0))
    assert FairQueue().choose([gpu, one_core], free) == one_core
    assert FairQueue().choose([gpu, two_cores], free) is None
    assert FairQueue().choose([two_cores], free) == two_cores


def test_a_blocked_head_leaves_other_priorities_what_it_does_not_need() -> None:
    free = Need(2.0, 2048, 0)
    gpu = Waiting("gpu", NORMAL, Need(1.0, 512, 1))
    behind = Waiting("behind", NORMAL, Need(1.0, 512, 0))
    beside = Waiting("beside", LOWER, Need(1.0, 512, 0))
    assert FairQueue().choose([gpu, behind, beside], free) == beside
    assert FairQueue().choose([gpu, behind], free) is None


def test_a_priority_that_was_idle_claims_no_arrears() -> None:
    queue = FairQueue()
    whole = Need(1.0, 1, 0)
    for number in range(50):
        queue.choose([Waiting(f"h{number}", HIGHER, whole)], whole)
    both = [Waiting(f"h{n}", HIGHER, whole) for n in range(50, 90)]
    both += [Waiting(f"l{n}", LOWER, whole) for n in range(40)]
    first = []
    for _ in range(10):
        chosen = queue.choose(both, whole)
        assert chosen is not None
        both.remove(chosen)
        first.append(chosen.priority)
    assert first.count(LOWER) <= 3


def test_gpus_are_exclusive_and_come_back() -> None:
    ledger = Ledger(Capacity(8, 8192, (0, 2)))
    first = ledger.acquire("a", Need(1, 1, 1))
    second = ledger.acquire("b", Need(1, 1, 1))
    assert first is not None
    assert second is not None
    assert (first.gpus, second.gpus) == ((0,), (2,))
    assert ledger.acquire("c", Need(1, 1, 1)) is None
    assert ledger.acquire("a", Need(9, 9, 9)) == first
    ledger.release("a")
    ledger.release("never there")
    third = ledger.acquire("c", Need(1, 1, 1))
    assert third is not None
    assert third.gpus == (0,)
    assert set(ledger.grants()) == {"b", "c"}


def test_decimal_cores_fill_the_machine_exactly() -> None:
    ledger = Ledger(Capacity(0.3, 10))
    assert ledger.acquire("a", Need(0.1, 1))
    assert ledger.acquire("b", Need(0.2, 1))
    assert ledger.acquire("c", Need(0.1, 1)) is None
    assert ledger.check() == []


def test_what_can_never_fit_is_named() -> None:
    machine = Capacity(2, 1000, (0,))
    assert machine.admit(Requests(16, 1000, 1)) == Need(2, 1000, 1)
    with pytest.raises(NeverFits, match="needs 1001 MB of memory at once, the machine has 1000"):
        machine.admit(Requests(1, 1001, 0))
    with pytest.raises(NeverFits, match="needs 2 GPUs at once, the machine has 1"):
        machine.admit(Requests(1, 1, 2), missing_gpu="cpu")


def test_a_machine_without_gpus_may_run_on_the_cpu() -> None:
    bare = Capacity(2, 1000)
    with pytest.raises(NeverFits):
        bare.admit(Requests(1, 1, 1))
    assert bare.admit(Requests(1, 1, 1), missing_gpu="cpu").gpus == 0


def test_capacity_of_this_machine_and_of_the_settings() -> None:
    machine = Capacity.of_machine(ResourceSettings(), [0, 2])
    assert machine.cpu >= 1
    assert machine.memory_mb > 100
    assert machine.gpus == (0, 2)
    told = Capacity.of_machine(ResourceSettings(cpu=1.5, memory_mb=9, gpus=3), [0])
    assert told == Capacity(1.5, 9, (0, 1, 2))
