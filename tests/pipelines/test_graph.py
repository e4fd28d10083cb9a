from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.pipelines import graph
from gateway.pipelines.model import Definition, Input, Operator, Output, Requests


def pipeline(edges, requests):
    """``edges``: operator → upstream names."""
    operators = tuple(
        Operator(
            name,
            "i",
            inputs=tuple(Input(f"/{u}", u) for u in upstream),
            outputs=(Output("/o"),),
            requests=requests.get(name, Requests()),
        )
        for name, upstream in edges.items()
    )
    return Definition("0.4.0", "p", operators)


DIAMOND = {"w": ["m", "n"], "r": [], "m": ["r"], "n": ["r"], "s": []}


def test_levels_and_text():
    definition = pipeline(DIAMOND, {})
    assert graph.levels(definition) == (("r", "s"), ("m", "n"), ("w",))
    assert graph.lines(definition) == [
        "1  r  after the input",
        "1  s  after the input",
        "2  m  after r",
        "2  n  after r",
        "3  w  after m, n",
    ]


def test_needs_are_the_heaviest_that_can_run_at_once():
    requests = {
        "r": Requests(4, 100, 2),
        "m": Requests(0.5, 300, 1),
        "n": Requests(1, 400, 0),
        "w": Requests(1, 512, 0),
        "s": Requests(0.25, 50, 1),
    }
    # cpu: r with s; memory: m, n and s; gpu: r with s.
    assert graph.needs(pipeline(DIAMOND, requests)) == Requests(4.25, 750, 3)


def test_a_chain_needs_its_heaviest_and_branches_of_different_depth_add_up():
    chain = pipeline({"a": [], "b": ["a"], "c": ["b"]}, {"b": Requests(3, 1, 0)})
    assert graph.needs(chain) == Requests(3, 512, 0)
    # b2 can run beside a1 though they stand on different levels.
    branches = pipeline(
        {"a1": [], "b1": [], "b2": ["b1"]}, {"a1": Requests(1, 10), "b2": Requests(1, 20)}
    )
    assert graph.needs(branches).memory == 522


@given(st.data())
def test_needs_agree_with_trying_all(data):
    names = [f"n{i}" for i in range(data.draw(st.integers(1, 8)))]
    edges = {
        name: data.draw(st.lists(st.sampled_from(names[:i]), unique=True) if i else st.just([]))
        for i, name in enumerate(names)
    }
    weights = {name: data.draw(st.integers(0, 9)) for name in names}
    definition = pipeline(edges, {n: Requests(1, w) for n, w in weights.items()})
    after = graph._after(definition)
    best = max(
        sum(weights[n] for n in some)
        for size in range(len(names) + 1)
        for some in itertools.combinations(names, size)
        if not any(b in after[a] for a in some for b in some)
    )
    assert graph.needs(definition).memory == best


def test_two_hundred_operators_are_weighed_quickly():
    edges = {f"n{i}": [f"n{j}" for j in range(max(0, i - 7), i, 3)] for i in range(200)}
    assert graph.needs(pipeline(edges, {})).cpu >= 1
