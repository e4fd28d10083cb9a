"""Services that get in each other's way: names of their connections, fixed ports."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.document import Document, Fault, Key
from gateway.pipelines.composed import place
from gateway.pipelines.shape import OperatorShape, PipelineShape, ServiceShape

_MODEL_VARIABLES = (
    "NVIDIA_TRITON_HTTPURI", "CLARA_TRITON_URI", "NVIDIA_CLARA_TRTISURI", "NVIDIA_TRITON_GRPCURI",
)  # fmt: skip
"""Variables that an operator with models is given."""


def connections(document: Document, operator: OperatorShape, at: Key) -> Iterator[Fault]:
    """Connections of one operator whose variables are taken already."""
    taken: dict[str, Key] = {}
    for name in operator.variables:
        taken[name] = (*at, "variables", name)
    for name in operator.container.variables:
        taken[name] = (*at, "container", "variables", name)
    if operator.models:
        taken.update(dict.fromkeys(_MODEL_VARIABLES, (*at, "models")))
    for index, service in enumerate(operator.services):
        for kind in ("http", "volume", "file"):
            for number, connection in enumerate(getattr(service.connections, kind)):
                key: Key = (*at, "services", index, "connections", kind, number, "name")
                if connection.name in taken:
                    where = place(document, taken[connection.name])
                    yield document.fault(key, f"{connection.name!r} stands in {where} already")
                taken.setdefault(connection.name, key)


def ports(document: Document, shape: PipelineShape) -> Iterator[Fault]:
    """Fixed ports that two different services want.

    One service that several operators ask for is one: same image, tag and command.
    """
    taken: dict[int, tuple[tuple[object, ...], Key]] = {}
    for number, operator in enumerate(shape.operators):
        for index, service in enumerate(operator.services):
            for place_of, http in enumerate(service.connections.http):
                key: Key = (
                    "operators", number, "services", index, "connections", "http", place_of, "port",
                )  # fmt: skip
                if http.port is None:
                    continue
                owner, first = taken.setdefault(http.port, (_identity(service), key))
                if owner != _identity(service):
                    where = place(document, first)
                    message = f"another service wants port {http.port} too, in {where}"
                    yield document.fault(key, message)


def _identity(service: ServiceShape) -> tuple[object, ...]:
    container = service.container
    return (container.image, container.tag, tuple(container.command))
