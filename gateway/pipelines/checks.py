"""What makes a well-shaped definition wrong as a whole, each fault with its own line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from gateway.config.document import Document, Fault, Key
from gateway.pipelines import service_checks, typed
from gateway.pipelines.composed import place
from gateway.pipelines.shape import (
    ContainerShape,
    InputShape,
    OperatorShape,
    OutputShape,
    PipelineShape,
    Variables,
)
from gateway.pipelines.versions import MODELS, MODELS_TOLERATED, TYPED, at_least


def faults(
    document: Document, shape: PipelineShape, host_volumes: Sequence[str] | None = None
) -> list[Fault]:
    """Every fault that the parts of ``shape`` make together, in order of lines.

    ``host_volumes`` are the folders that ``hostVolumePath`` may name; None = any.
    """
    found = [*_names(document, shape.operators, ("operators",), "operator")]
    found += service_checks.ports(document, shape)
    if host_volumes is not None:
        found += _host_volumes(document, shape, host_volumes)
    for index, operator in enumerate(shape.operators):
        found += _operator(document, shape, operator, ("operators", index))
    found += _cycles(document, shape)
    return sorted(found, key=lambda f: (f.line or 0, f.key))


def _operator(
    document: Document, shape: PipelineShape, operator: OperatorShape, at: Key
) -> Iterator[Fault]:
    yield from _api_version(document, shape, operator.api_version, at)
    yield from _models(document, shape, operator, at)
    yield from _paths(document, operator, at)
    yield from _outputs(document, shape, operator, at)
    yield from _inputs(document, shape, operator, at)
    yield from _variables(document, operator.variables, operator.container.variables, at)
    yield from _names(document, operator.services, (*at, "services"), "service")
    yield from service_checks.connections(document, operator, at)
    for index, service in enumerate(operator.services):
        here: Key = (*at, "services", index)
        yield from _api_version(document, shape, service.api_version, here)
        yield from _variables(document, service.variables, service.container.variables, here)


def _models(
    document: Document, shape: PipelineShape, operator: OperatorShape, at: Key
) -> Iterator[Fault]:
    if operator.models and not at_least(shape.api_version, MODELS_TOLERATED):
        message = (
            f"needs api-version {MODELS} (tolerated from {MODELS_TOLERATED}); "
            f"the pipeline says {shape.api_version}"
        )
        yield document.fault((*at, "models"), message)
    yield from _names(document, operator.models, (*at, "models"), "model")


def _host_volumes(
    document: Document, shape: PipelineShape, allowed: Sequence[str]
) -> Iterator[Fault]:
    """Folders of the machine that the administrator does not allow."""
    containers: list[tuple[Key, ContainerShape]] = []
    for index, operator in enumerate(shape.operators):
        at: Key = ("operators", index)
        containers.append(((*at, "container"), operator.container))
        containers += [
            ((*at, "services", number, "container"), service.container)
            for number, service in enumerate(operator.services)
        ]
    for key, container in containers:
        path = container.host_volume_path
        if path is not None and not any(PurePosixPath(path).is_relative_to(a) for a in allowed):
            known = ", ".join(allowed) or "none"
            message = f"{path!r} is not allowed; `host-volumes` of the settings allows: {known}"
            yield document.fault((*key, "hostVolumePath"), message)


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
            where = place(document, (*at, first[name.lower()], "name"))
            message = f"the {kind} {name!r} stands here twice, first in {where}"
            yield document.fault((*at, index, "name"), message)
        first.setdefault(name.lower(), index)


def _paths(document: Document, operator: OperatorShape, at: Key) -> Iterator[Fault]:
    """Paths of one operator that are equal or lie in each other."""
    keyed: list[tuple[Key, str]] = [
        ((*at, kind, index, "path"), item.path)
        for kind in ("input", "output")
        for index, item in enumerate(getattr(operator, kind))
        if item.path is not None
    ]
    if operator.container.host_volume_path is not None:
        keyed.append(((*at, "container", "hostVolumePath"), operator.container.host_volume_path))
    for index, (key, path) in enumerate(keyed):
        for other_key, other in keyed[:index]:
            if _overlap(path, other):
                where = place(document, other_key)
                yield document.fault(key, f"{path!r} overlaps {other!r} of {where}")


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _outputs(
    document: Document, shape: PipelineShape, operator: OperatorShape, at: Key
) -> Iterator[Fault]:
    yield from _names(document, operator.output, (*at, "output"), "output")
    several = len(operator.output) > 1 and not at_least(shape.api_version, TYPED)
    for index, output in enumerate(operator.output):
        key: Key = (*at, "output", index)
        yield from typed.faults(document, shape, output, key)
        if several and output.name is None:
            message = "is required when an operator has several outputs"
            yield document.fault((*key, "name"), message)


def _inputs(
    document: Document, shape: PipelineShape, operator: OperatorShape, at: Key
) -> Iterator[Fault]:
    """Inputs that are wrong by themselves, or whose upstream operator or output is not there."""
    known = {o.name.lower(): o for o in shape.operators}
    data: dict[str, Key] = {}
    for index, item in enumerate(operator.input):
        key: Key = (*at, "input", index)
        own = list(typed.faults(document, shape, item, key))
        yield from own
        if item.source is None:
            continue
        upstream = known.get(item.source.lower())
        if upstream is None:
            names = ", ".join(o.name for o in shape.operators)
            message = f"{item.source!r} is no operator of this pipeline; there are: {names}"
            yield document.fault((*key, "from"), message)
        elif not upstream.output:
            message = f"the operator {upstream.name!r} has no output"
            yield document.fault((*key, "from"), message)
        else:
            output = find_output(upstream, item.name)
            if output is None:
                yield _no_output(document, upstream, item, key)
            elif not own:
                yield from typed.mismatch(document, item, output, upstream.name, key)
                if typed.is_data(output):
                    yield from _again(document, data, output.name or "", key)


def find_output(upstream: OperatorShape, name: str | None) -> OutputShape | None:
    """The output that an input names, or the only one; None if that is none or several."""
    outputs = upstream.output
    if name is None or all(o.name is None for o in outputs):
        return outputs[0] if len(outputs) == 1 else None
    return next((o for o in outputs if o.name and o.name.lower() == name.lower()), None)


def _no_output(document: Document, upstream: OperatorShape, item: InputShape, key: Key) -> Fault:
    names = ", ".join(o.name for o in upstream.output if o.name is not None)
    if item.name is None:
        message = f"is required: {upstream.name!r} has the outputs {names}"
    else:
        message = f"{item.name!r} is no output of {upstream.name!r}; it has: {names}"
    return document.fault((*key, "name"), message)


def _again(document: Document, taken: dict[str, Key], name: str, key: Key) -> Iterator[Fault]:
    """Data inputs are told apart by their names alone."""
    first = taken.setdefault(name.lower(), key)
    if first != key:
        where = place(document, first)
        message = f"an input in shared memory called {name!r} stands in {where} already"
        yield document.fault((*key, "name"), message)


def _variables(document: Document, outer: Variables, inner: Variables, at: Key) -> Iterator[Fault]:
    for name in inner:
        if name in outer:
            where = place(document, (*at, "variables", name))
            message = f"{name} stands in {where} already"
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
