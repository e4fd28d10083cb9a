"""Which services a definition calls, and when two of them are one.

A service is known by all that makes its program: image, tag, command, variables, folders, and the
names of the ports it is told to choose.  Whoever asks for the same gets the same, operators of
other pipelines included.  Models are served by one further service, the gateway's own Triton.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.pipelines.model import Definition, Operator, Requests, Service

TRITON = "triton"
"""Identity of the gateway's own Triton, which serves the models of every pipeline."""
FIRST_PORT = 20_000
"""Ports of connections that name none; every service has a network of its own, so none clash."""


@dataclass(frozen=True)
class Wanted:
    """A service that a job needs, for the ledger."""

    identity: str
    name: str
    requests: Requests


def identity(service: Service) -> str:
    """16 hex digits; equal for services that one program can be."""
    told = (
        service.image,
        service.tag,
        service.command,
        sorted(service.variables.items()),
        service.host_volume,
        sorted((volume.name, volume.path) for volume in service.volumes),
        sorted(each.name for each in service.http if each.port is None),
    )
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def ports(service: Service) -> Mapping[str, int]:
    """The port behind each connection's name: the definition's, or one of ours."""
    open_names = sorted(each.name for each in service.http if each.port is None)
    given = {name: FIRST_PORT + number for number, name in enumerate(open_names)}
    return {each.name: each.port or given[each.name] for each in service.http}


def wanted(definition: Definition, triton: Requests) -> tuple[Wanted, ...]:
    """Every service that the operators call, each once; ``triton``: what our own takes."""
    found: dict[str, Wanted] = {}
    for operator in definition.operators:
        for each in wanted_by(operator, triton):
            found.setdefault(each.identity, each)
    return tuple(found.values())


def wanted_by(operator: Operator, triton: Requests) -> tuple[Wanted, ...]:
    """The services that one operator calls."""
    found = [Wanted(identity(s), s.name, s.requests) for s in operator.services]
    if operator.models:
        found.append(Wanted(TRITON, TRITON, triton))
    return tuple(found)
