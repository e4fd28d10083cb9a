"""The graph of a definition: order, resources needed at once, text for people.

Two operators can run at once when neither waits, in the end, for the other.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping, Sequence

from gateway.pipelines.model import Definition, Operator, Requests

_MILLI = 1000


def levels(definition: Definition) -> tuple[tuple[str, ...], ...]:
    """Operators by the length of the longest way to them; each level needs only earlier ones."""
    depth: dict[str, int] = {}
    upstream = {o.name: o.upstream for o in definition.operators}
    waiting = list(upstream)
    while waiting:
        ready = [n for n in waiting if all(u in depth for u in upstream[n])]
        for name in ready:
            depth[name] = 1 + max((depth[u] for u in upstream[name]), default=-1)
        waiting = [n for n in waiting if n not in depth]
    found: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for operator in definition.operators:
        found[depth[operator.name]].append(operator.name)
    return tuple(map(tuple, found))


def needs(definition: Definition) -> Requests:
    """What a job must be given: per resource the largest sum of operators that can run at once.

    Exact: the heaviest antichain of the order, by Dilworth's theorem for weights (the sum of all
    weights less a maximum flow between operators and their successors).  CPU counts in thousandths
    of a core.  What operators write to shared memory stays to the job's end, so it comes on top.
    """
    after = _after(definition)
    cpu = {o.name: round(o.requests.cpu * _MILLI) for o in definition.operators}
    memory = {o.name: o.requests.memory for o in definition.operators}
    gpu = {o.name: o.requests.gpu for o in definition.operators}
    return Requests(
        cpu=heaviest(cpu, after) / _MILLI,
        memory=heaviest(memory, after) + sum(map(kept, definition.operators)),
        gpu=heaviest(gpu, after),
    )


def kept(operator: Operator) -> int:
    """MB of shared memory that an operator's data takes from its start to the job's end.

    All it may ask for, when a dimension is known only from the data.
    """
    sizes = [output.cells.size for output in operator.data_outputs]
    known = sum(size for size in sizes if size is not None)
    return operator.requests.memory if None in sizes else -(-known // (1 << 20))


def lines(definition: Definition) -> list[str]:
    """The graph as text, one line per operator in order of running."""
    number = {name: i for i, level in enumerate(levels(definition), 1) for name in level}
    width = max(len(name) for name in number)
    text = []
    for name in number:
        upstream = definition.operator(name).upstream
        text.append(f"{number[name]}  {name:<{width}}  after {', '.join(upstream) or 'the input'}")
    return text


def _after(definition: Definition) -> dict[str, frozenset[str]]:
    """For each operator, all those that wait for it in the end."""
    after: dict[str, set[str]] = {o.name: set() for o in definition.operators}
    for level in reversed(levels(definition)):
        for name in level:
            for upstream in definition.operator(name).upstream:
                after[upstream] |= {name} | after[name]
    return {name: frozenset(names) for name, names in after.items()}


def heaviest(weights: Mapping[str, int], after: Mapping[str, frozenset[str]]) -> int:
    """The largest sum of weights of items none of which stands in another's ``after``.

    ``after`` must be transitive.
    """
    names: Sequence[str] = list(weights)
    left = dict(weights)
    right = dict(weights)
    flow: dict[tuple[str, str], int] = {}
    total = 0
    while path := _augmenting(names, left, right, after, flow):
        total += _push(path, left, right, flow)
    return sum(weights.values()) - total


def _augmenting(
    names: Sequence[str],
    left: Mapping[str, int],
    right: Mapping[str, int],
    after: Mapping[str, frozenset[str]],
    flow: Mapping[tuple[str, str], int],
) -> list[str]:
    """A shortest way from a left item with capacity to a right one: left, right, left, … right."""
    origin: dict[tuple[int, str], tuple[int, str] | None] = {
        (0, n): None for n in names if left[n] > 0
    }
    todo = deque(origin)
    while todo:
        side, name = todo.popleft()
        if side == 1 and right[name] > 0:
            return _trace(origin, (1, name))
        onward = (
            [(1, n) for n in after[name]]
            if side == 0
            else [(0, n) for n in names if flow.get((n, name), 0) > 0]
        )
        for node in onward:
            if node not in origin:
                origin[node] = (side, name)
                todo.append(node)
    return []


def _trace(
    origin: Mapping[tuple[int, str], tuple[int, str] | None], end: tuple[int, str]
) -> list[str]:
    way: list[str] = []
    node: tuple[int, str] | None = end
    while node is not None:
        way.append(node[1])
        node = origin[node]
    return way[::-1]


def _push(
    path: list[str], left: dict[str, int], right: dict[str, int], flow: dict[tuple[str, str], int]
) -> int:
    """Send as much as the way takes: forward on even steps, taken back on odd ones."""
    steps = list(itertools.pairwise(path))
    back = [flow[(b, a)] for i, (a, b) in enumerate(steps) if i % 2]
    amount = min(left[path[0]], right[path[-1]], *back)
    for i, (a, b) in enumerate(steps):
        if i % 2:
            flow[(b, a)] -= amount
        else:
            flow[(a, b)] = flow.get((a, b), 0) + amount
    left[path[0]] -= amount
    right[path[-1]] -= amount
    return amount
