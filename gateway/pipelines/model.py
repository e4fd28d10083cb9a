"""A pipeline definition as data, after every check has passed.

Frozen, free of YAML and of run time; made only by the parser.  Words are Clara's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.pipelines.cells import Cells


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
    element_type: str | None = None
    """What its files are, in the definition's own word (``dicom``); None = it does not say."""


@dataclass(frozen=True)
class DataInput:
    """An array in shared memory that an operator reads: output ``name`` of ``source``."""

    name: str
    source: str
    cells: Cells
    """What the operator says it takes."""


@dataclass(frozen=True)
class DataOutput:
    """An array in shared memory that an operator writes."""

    name: str
    cells: Cells
    kind: str
    """``array``, ``string`` or the primitive type."""


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
    host_volume: str | None = None
    """Folder of the machine, shown read-only at its own path."""
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
    data_inputs: tuple[DataInput, ...] = ()
    """From 0.5.0: what comes through shared memory; ``inputs`` holds folders only."""
    data_outputs: tuple[DataOutput, ...] = ()
    models: tuple[str, ...] = ()
    """Models that must be loaded before it runs."""
    host_volume: str | None = None
    """Folder of the machine, shown read-only at its own path."""
    variables: Mapping[str, str] = field(default_factory=dict)
    requests: Requests = Requests()
    services: tuple[Service, ...] = ()
    network: bool = False
    """``x-gateway: {network}``: without it there is none."""
    retries: int = 0
    """``x-gateway: {retries}`` of this operator's transient faults."""
    retry_exit_codes: frozenset[int] | None = None
    """``x-gateway: {retry-exit-codes}``: the others are permanent; None = none is."""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def upstream(self) -> tuple[str, ...]:
        """Operators whose outputs this one reads, each once, folders first."""
        sources = [i.source for i in self.inputs if i.source is not None]
        return tuple(dict.fromkeys([*sources, *(i.source for i in self.data_inputs)]))


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
