"""The shape of a definition file: its keys, their types and their limits.

Only what one value can tell by itself is checked here; what needs the whole document (names that
refer to each other, cycles, overlapping paths) is in :mod:`gateway.pipelines.checks`.  Imports and
the parameters of operators are gone by then (:mod:`gateway.pipelines.imports`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.model import Settings
from gateway.pipelines.cells import MAX_DIMENSIONS
from gateway.pipelines.words import (
    Dimension,
    Image,
    Kind,
    Name,
    RootedPath,
    Tag,
    Text,
    VariableName,
    number,
    real,
    whole,
)

MAX_OPERATORS = 200
"""Most operators of one pipeline."""
MAX_PATHS = 64
"""Most inputs, and most outputs, of one operator."""

Variables = Annotated[dict[VariableName, Text], Field(max_length=1000)]
Labels = Annotated[dict[Name, Text], Field(max_length=100)]
Command = Annotated[list[Text], Field(max_length=1000)]
Parameters = Annotated[dict[VariableName, Text], Field(max_length=1000)]
Shape = Annotated[list[Dimension], Field(min_length=1, max_length=MAX_DIMENSIONS)]
Retries = Annotated[int, number(), Field(ge=0, le=10), whole(0, 10)]
ExitCode = Annotated[int, number(), Field(ge=1, le=255), whole(1, 255)]


class RequestsShape(Settings):
    """Resources that an operator holds while it runs."""

    cpu: Annotated[float, number(), Field(gt=0, le=1024), real(1024)] = 1
    """Cores."""
    memory: Annotated[int, number(), Field(ge=1, le=1 << 24), whole(1, 1 << 24)] = 512
    """MB (2^20 bytes); an operator that takes more is ended."""
    gpu: Annotated[int, number(), Field(ge=0, le=64), whole(0, 64)] = 0
    """Devices for this operator alone."""


class ContainerShape(Settings):
    """The program of an operator or a service."""

    image: Image
    """Name of the image, with or without its registry."""
    tag: Tag = "latest"
    """Version of the image."""
    command: Command = Field(default_factory=list)
    """Program and arguments; replaces the image's entrypoint."""
    variables: Variables = Field(default_factory=dict)
    """Environment of the program."""
    host_volume_path: Annotated[RootedPath | None, Field(alias="hostVolumePath")] = None
    """Folder of the machine, shown read-only under its own path; the administrator must allow it
    (``host-volumes`` of the settings)."""


class InputShape(Settings):
    """What an operator reads: a folder of files, or from 0.5.0 an array in shared memory."""

    path: RootedPath | None = None
    """Where the operator sees the folder; required, but for data in shared memory."""
    source: Annotated[Name | None, Field(alias="from")] = None
    """Operator whose output it is; absent = the payload's input."""
    name: Name | None = None
    """Name of that output; needed when the operator has several."""
    type: Kind | None = None
    """From 0.5.0: ``stream`` (a folder), ``array``, ``string`` or a primitive; absent = that of the
    output."""
    element_type: Text | None = None
    """From 0.5.0: primitive of an ``array``, or any word for a ``stream``."""
    format: Text | None = None
    """From 0.5.0: another word for ``element-type`` of a ``stream``."""
    shape: Shape | None = None
    """From 0.5.0: sizes of an ``array``, slowest first; -1 = any."""


class OutputShape(Settings):
    """What an operator writes: a folder of files, or from 0.5.0 an array in shared memory."""

    path: RootedPath | None = None
    """Where the operator sees the folder; required, but for data in shared memory."""
    name: Name | None = None
    """Name by which others read it; needed when there are several, and from 0.5.0."""
    type: Kind | None = None
    """From 0.5.0: ``stream`` (a folder), ``array``, ``string`` or a primitive; absent =
    ``stream``."""
    element_type: Text | None = None
    """From 0.5.0: primitive of an ``array``, or any word for a ``stream``."""
    format: Text | None = None
    """From 0.5.0: another word for ``element-type`` of a ``stream``."""
    shape: Shape | None = None
    """From 0.5.0: sizes of an ``array``, slowest first; -1 = any."""


class ModelShape(Settings):
    """A model of the model repository."""

    name: Name
    """Its name there."""


class ParametersShape(Settings):
    """The parameters of an operator, or of a file that is imported."""

    parameters: Parameters = Field(default_factory=dict)
    """Template parameters and their defaults."""


class ImportShape(Settings):
    """``import``: an operator or a service that stands in a file of its own."""

    path: Annotated[str, Field(min_length=1, max_length=1024)]
    """The file, relative to this one, among those registered together."""
    args: Parameters = Field(default_factory=dict)
    """Values for the file's ``parameters``."""


class HttpShape(Settings):
    """An HTTP port of a service."""

    name: VariableName
    """Variable that holds host:port in the operator."""
    port: Annotated[int, number(), Field(ge=1024, le=65535), whole(1024, 65535)] | None = None
    """Fixed port; absent = one that is free."""


class VolumeShape(Settings):
    """A folder of a service."""

    name: VariableName
    """Variable that holds the path."""
    path: RootedPath
    """Where the service sees it."""


class ConnectionsShape(Settings):
    """How a service is reached."""

    http: Annotated[list[HttpShape], Field(max_length=16)] = Field(default_factory=list)
    """HTTP ports."""
    volume: Annotated[list[VolumeShape], Field(max_length=16)] = Field(default_factory=list)
    """Folders."""
    file: Annotated[list[VolumeShape], Field(max_length=16)] = Field(default_factory=list)
    """Folders, by their older name."""


class ServiceShape(Settings):
    """A long-lived program that operators call."""

    name: Name
    """Unique within the operator, in any case of letters."""
    api_version: Text | None = None
    """As the pipeline's."""
    description: Text = ""
    """For people."""
    container: ContainerShape
    """Its program."""
    requests: RequestsShape = RequestsShape()
    """Resources that it holds."""
    variables: Variables = Field(default_factory=dict)
    """Environment of the program."""
    connections: ConnectionsShape = ConnectionsShape()
    """How it is reached."""


class ExtraShape(Settings):
    """``x-gateway``: keys of our own."""

    retries: Retries = 0
    """Further attempts after a fault that may pass by itself."""
    retry_exit_codes: Annotated[list[ExitCode], Field(max_length=255)] | None = None
    """Exit codes that ``retries`` tries again; absent = as the pipeline says, else every one."""
    network: bool | None = None
    """Whether operators may use the network; absent = as the pipeline says, else no."""
    labels: Labels = Field(default_factory=dict)
    """Labels; ``node-NAME`` asks for a machine with that label in ``resources.labels``."""


class OperatorShape(Settings):
    """One step of a pipeline."""

    name: Name
    """Unique within the pipeline, in any case of letters."""
    api_version: Text | None = None
    """As the pipeline's."""
    description: Text = ""
    """For people."""
    container: ContainerShape
    """Its program."""
    input: Annotated[list[InputShape], Field(max_length=MAX_PATHS)] = Field(default_factory=list)
    """Folders that it reads."""
    output: Annotated[list[OutputShape], Field(max_length=MAX_PATHS)] = Field(default_factory=list)
    """Folders that it writes."""
    requests: RequestsShape = RequestsShape()
    """Resources that it holds while it runs."""
    services: Annotated[list[ServiceShape], Field(max_length=16)] = Field(default_factory=list)
    """Programs that it calls."""
    models: Annotated[list[ModelShape], Field(max_length=64)] = Field(default_factory=list)
    """Models that must be loaded before it runs; from 0.6.0, tolerated from 0.4.0."""
    variables: Variables = Field(default_factory=dict)
    """Environment of the program."""
    x_gateway: ExtraShape = ExtraShape()
    """Keys of our own."""


class PipelineShape(Settings):
    """A whole definition file."""

    api_version: str
    """Version of the language."""
    name: Name
    """Name by which rules call it."""
    description: Text = ""
    """For people."""
    operators: Annotated[list[OperatorShape], Field(min_length=1, max_length=MAX_OPERATORS)]
    """Steps, in any order."""
    orchestrator: Literal["Argo", "Clara"] | None = None
    """On a cluster ``Argo`` = a Pod per operator; null = what the api-version meant."""
    pull_secrets: Annotated[list[Text], Field(max_length=16)] = Field(default_factory=list)
    """Secrets that open the registries."""
    parameters: Parameters = Field(default_factory=dict)
    """Template parameters and their defaults."""
    timeout: Annotated[float, number(), Field(gt=0), real()] | None = None
    """Seconds; absent = the gateway's default."""
    x_gateway: ExtraShape = ExtraShape()
    """Keys of our own, for every operator."""
