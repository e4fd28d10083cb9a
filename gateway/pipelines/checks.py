"""What makes a well-shaped definition wrong as a whole, each fault with its own line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gateway.config.document import Document, Fault, Key
from gateway.pipelines.shape import OperatorShape, OutputShape, PipelineShape, Variables


def faults(document: Document, shape: PipelineShape) -> list[Fault]:
    """Every fault that the parts of ``shape`` make together, in order of lines."""
    found = [*_names(document, shape.operators, ("operators",), "operator")]
    for index, operator in enumerate(shape.operators):
        found += _operator(document, shape, operator, ("operators", index))
    found += _cycles(document, shape)
    return sorted(found, key=lambda f: (f.line or 0, f.key))


def _operator(
    document: Document, shape: PipelineShape, operator: OperatorShape, at: Key
) -> Iterator[Fault]:
    yield from _api_version(document, shape, operator.api_version, at)
    yield from _paths(document, operator, at)
    yield from _outputs(document, operator, at)
    yield from _inputs(document, shape, operator, at)
    yield from _variables(document, operator.variables, operator.container.variables, at)
    yield from _names(document, operator.services, (*at, "services"), "service")
    taken: dict[str, Key] = {}
    for index, service in enumerate(operator.services):
        here: Key = (*at, "services", index)
        yield from _api_version(document, shape, service.api_version, here)
        yield from _variables(document, service.variables, service.container.variables, here)
        connections = service.connections
        for kind in ("http", "volume", "file"):
            for number, connection in enumerate(getattr(connections, kind)):
                key: Key = (*here, "connections", kind, number, "name")
                if connection.name in taken:
                    line = document.line(taken[connection.name])
                    yield document.fault(key, f"{connection.name!r} stands in line {line} already")
                taken.setdefault(connection.name, key)


def _api_version(
    document: Document, shape: PipelineShape, version: str | None, at: Key
) -> Iterator[Fault]:
    if version is not None and version != shape.api_version:
        message = f"must be the pipeline's {shape.api_version}, or absent"
        yield document.fault((*at, "api-version"), message)


def _names(document: Document, items: Sequence[object], at: Key, kind: str) -> Iterator[Fault]:
    """Names that stand twice; letters count the same in either case."""
    first: dict[str, int] = {}
    for index, item in enumerate(items):
        name = getattr(item, "name", None)
        if name is None:
            continue
        if name.lower() in first:
            line = document.line((*at, first[name.lower()], "name"))
            message = f"the {kind} {name!r} stands here twice, first in line {line}"
            yield document.fault((*at, index, "name"), message)
        first.setdefault(name.lower(), index)


def _paths(document: Document, operator: OperatorShape, at: Key) -> Iterator[Fault]:
    """Paths of one operator that are equal or lie in each other."""
    keyed: list[tuple[Key, str]] = [
        ((*at, kind, index, "path"), item.path)
        for kind in ("input", "output")
        for index, item in enumerate(getattr(operator, kind))
    ]
    for index, (key, path) in enumerate(keyed):
        for other_key, other in keyed[:index]:
            if _overlap(path, other):
                line = document.line(other_key)
                yield document.fault(key, f"{path!r} overlaps {other!r} of line {line}")


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _outputs(document: Document, operator: OperatorShape, at: Key) -> Iterator[Fault]:
    yield from _names(document, operator.output, (*at, "output"), "output")
    if len(operator.output) < 2:
        return
    for index, output in enumerate(operator.output):
        if output.name is None:
            message = "is required when an operator has several outputs"
            yield document.fault((*at, "output", index, "name"), message)


def _inputs(
    document: Document, shape: PipelineShape, operator: OperatorShape, at: Key
) -> Iterator[Fault]:
    """Inputs whose upstream operator, or its output, is not there."""
    known = {o.name.lower(): o for o in shape.operators}
    for index, item in enumerate(operator.input):
        if item.source is None:
            continue
        key: Key = (*at, "input", index)
        upstream = known.get(item.source.lower())
        if upstream is None:
            names = ", ".join(o.name for o in shape.operators)
            message = f"{item.source!r} is no operator of this pipeline; there are: {names}"
            yield document.fault((*key, "from"), message)
        elif not upstream.output:
            message = f"the operator {upstream.name!r} has no output"
            yield document.fault((*key, "from"), message)
        else:
            yield from _output_name(document, upstream.name, upstream.output, item.name, key)


def _output_name(
    document: Document, operator: str, outputs: Sequence[OutputShape], name: str | None, key: Key
) -> Iterator[Fault]:
    names = [o.name for o in outputs if o.name is not None]
    if name is None:
        if len(outputs) > 1:
            message = f"is required: {operator!r} has the outputs {', '.join(names)}"
            yield document.fault((*key, "name"), message)
    elif names and name.lower() not in [n.lower() for n in names]:
        message = f"{name!r} is no output of {operator!r}; it has: {', '.join(names)}"
        yield document.fault((*key, "name"), message)


def _variables(document: Document, outer: Variables, inner: Variables, at: Key) -> Iterator[Fault]:
    for name in inner:
        if name in outer:
            line = document.line((*at, "variables", name))
            message = f"{name} stands in line {line} already"
            yield document.fault((*at, "container", "variables", name), message)


def _cycles(document: Document, shape: PipelineShape) -> Iterator[Fault]:
    """One fault for each operator that waits, in the end, for itself."""
    waits = {
        o.name.lower(): {i.source.lower() for i in o.input if i.source is not None}
        for o in shape.operators
    }
    for index, operator in enumerate(shape.operators):
        name = operator.name.lower()
        if name in _reached(waits, waits[name]):
            message = f"{operator.name!r} waits for its own output (a cycle)"
            yield document.fault(("operators", index, "input"), message)


def _reached(waits: dict[str, set[str]], start: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    todo = list(start)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += waits.get(name, ())
    return seen
