"""A pipeline definition as data, after every check has passed.

Frozen, free of YAML and of run time; made only by the parser.  Words are Clara's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Input:
    """One directory an operator reads.

    ``source`` is the upstream operator, None = the payload's own input; ``name`` is the upstream
    output's name, None when the upstream has a single output.
    """

    path: str
    source: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Output:
    """One directory an operator writes; unnamed = the operator's only output."""

    path: str
    name: str | None = None


@dataclass(frozen=True)
class Requests:
    """What an operator needs while it runs: cores, MB, exclusive devices."""

    cpu: float = 1
    memory: int = 512
    gpu: int = 0


@dataclass(frozen=True)
class HttpConnection:
    """A service's HTTP port: ``name`` is the variable that holds host:port in the operator."""

    name: str
    port: int | None = None


@dataclass(frozen=True)
class VolumeConnection:
    """A volume shared with a service: ``name`` is the variable that holds ``path``."""

    name: str
    path: str


@dataclass(frozen=True)
class Service:
    """A long-lived program that operators call."""

    name: str
    image: str
    tag: str = "latest"
    command: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    requests: Requests = Requests()
    http: tuple[HttpConnection, ...] = ()
    volumes: tuple[VolumeConnection, ...] = ()


@dataclass(frozen=True)
class Operator:
    """One step of a pipeline."""

    name: str
    image: str
    tag: str = "latest"
    description: str = ""
    command: tuple[str, ...] = ()
    """Replaces the image's entrypoint; empty = the image's own."""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    requests: Requests = Requests()
    services: tuple[Service, ...] = ()
    network: bool = False
    """``x-gateway: {network}``: without it there is none."""
    retries: int = 0
    """``x-gateway: {retries}`` of this operator's transient faults."""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def upstream(self) -> tuple[str, ...]:
        """Operators whose outputs this one reads, each once, in order of its inputs."""
        return tuple(dict.fromkeys(i.source for i in self.inputs if i.source is not None))


@dataclass(frozen=True)
class Definition:
    """A whole pipeline, operators in the order they were written."""

    api_version: str
    name: str
    operators: tuple[Operator, ...]
    description: str = ""
    orchestrator: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Template parameters and their defaults."""
    pull_secrets: tuple[str, ...] = ()
    timeout: float | None = None
    """Seconds; None = the gateway's default."""
    retries: int = 0
    """``x-gateway: {retries}``: further attempts of a job that ended by a transient fault."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def operator(self, name: str) -> Operator:
        """The operator called ``name`` (names are case-insensitive); KeyError if there is none."""
        lower = name.lower()
        for operator in self.operators:
            if operator.name.lower() == lower:
                return operator
        raise KeyError(name)
