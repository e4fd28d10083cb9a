"""The shape of a definition file: its keys, their types and their limits.

Only what one value can tell by itself is checked here; what needs the whole document (names that
refer to each other, cycles, overlapping paths) is in :mod:`gateway.pipelines.checks`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gateway.config.model import Settings

MAX_OPERATORS = 200
"""Most operators of one pipeline."""
MAX_PATHS = 64
"""Most inputs, and most outputs, of one operator."""
MAX_TEXT = 65_536
"""Longest text value in characters: Linux takes 128 KiB for one variable or argument."""

RESERVED_VARIABLES = frozenset(
    f"NVIDIA_CLARA_{name}"
    for name in (
        "INPUTPATHS", "OUTPUTPATHS", "JOBID", "JOBNAME", "PAYLOADID", "STAGENAME", "RESULTS",
    )
)  # fmt: skip
"""Variables that the gateway sets itself."""
RESERVED_ROOTS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run",
    "/sbin", "/sys", "/tmp", "/usr", "/var",  # noqa: S108 - names, not files
)  # fmt: skip
"""Folders of the operating system that no input or output may take."""


def _text(value: Any) -> Any:
    """Take numbers and truth values as the text people meant by them."""
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(
            'must be text without NUL, a number, true or false; write "" for an empty value'
        )
    return value


def _number(value: Any) -> Any:
    # Without this, pydantic takes true for 1.
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueError only
    return value


def _name(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", value):
        raise ValueError(
            f"{str(value)[:80]!r} is no name: 1 to 255 letters, digits, hyphens and underscores"
        )
    return value


def _variable(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", value):
        raise ValueError(
            f"{str(value)[:80]!r} is no name of a variable: letters, digits and underscores, "
            "no digit first"
        )
    if value in RESERVED_VARIABLES:
        raise ValueError(f"{value} is set by the gateway and cannot be given here")
    return value


def _path(value: Any) -> Any:
    """Accept a rooted path in its plain form; a slash at the end is dropped."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f"{str(value)[:80]!r} must start with / (a path inside the operator)")
    # ";" and ":" separate the entries of NVIDIA_CLARA_INPUTPATHS.
    if re.search(r"[\x00-\x1f\x7f;:]", value) or len(value) > 1024:
        raise ValueError("must be at most 1024 characters, without control characters, ; and :")
    parts = value.rstrip("/").split("/")[1:]
    if not parts:
        raise ValueError("must be a folder below /")
    if any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        raise ValueError(f"{value[:80]!r} must be plain: no empty, . or .. component")
    plain = "/" + "/".join(parts)
    for root in RESERVED_ROOTS:
        if plain == root or plain.startswith(root + "/"):
            raise ValueError(
                f"{plain[:80]!r} lies in {root}, which belongs to the operating system; "
                f"reserved are {', '.join(RESERVED_ROOTS)}"
            )
    return plain


def _image(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(
        r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}", value
    ):
        raise ValueError(f"{str(value)[:80]!r} is no image name")
    return value


def _tag(value: Any) -> Any:
    value = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", value):
        raise ValueError(f"{value[:80]!r} is no image tag")
    return value


Text = Annotated[str, BeforeValidator(_text), Field(max_length=MAX_TEXT)]
Name = Annotated[str, BeforeValidator(_name)]
VariableName = Annotated[str, BeforeValidator(_variable)]
RootedPath = Annotated[str, BeforeValidator(_path)]
Variables = Annotated[dict[VariableName, Text], Field(max_length=1000)]
Labels = Annotated[dict[Name, Text], Field(max_length=100)]
Command = Annotated[list[Text], Field(max_length=1000)]
Retries = Annotated[int, BeforeValidator(_number), Field(ge=0, le=10)]


class RequestsShape(Settings):
    """Resources that an operator holds while it runs."""

    cpu: Annotated[float, BeforeValidator(_number), Field(gt=0, le=1024)] = 1
    """Cores."""
    memory: Annotated[int, BeforeValidator(_number), Field(ge=1, le=16_777_216)] = 512
    """MB (2^20 bytes); an operator that takes more is ended."""
    gpu: Annotated[int, BeforeValidator(_number), Field(ge=0, le=64)] = 0
    """Devices for this operator alone."""


class ContainerShape(Settings):
    """The program of an operator or a service."""

    image: Annotated[str, BeforeValidator(_image)]
    """Name of the image, with or without its registry."""
    tag: Annotated[str, BeforeValidator(_tag)] = "latest"
    """Version of the image."""
    command: Command = Field(default_factory=list)
    """Program and arguments; replaces the image's entrypoint."""
    variables: Variables = Field(default_factory=dict)
    """Environment of the program."""


class InputShape(Settings):
    """A folder that an operator reads."""

    path: RootedPath
    """Where the operator sees it."""
    source: Annotated[Name | None, Field(alias="from")] = None
    """Operator whose output it is; absent = the payload's input."""
    name: Name | None = None
    """Name of that output; needed when the operator has several."""


class OutputShape(Settings):
    """A folder that an operator writes."""

    path: RootedPath
    """Where the operator sees it."""
    name: Name | None = None
    """Name by which others read it; needed when there are several."""


class HttpShape(Settings):
    """An HTTP port of a service."""

    name: VariableName
    """Variable that holds host:port in the operator."""
    port: Annotated[int, BeforeValidator(_number), Field(ge=1024, le=65535)] | None = None
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
    network: bool | None = None
    """Whether operators may use the network; absent = as the pipeline says, else no."""
    labels: Labels = Field(default_factory=dict)
    """Labels for people and clusters."""


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
    """Engine that Clara would use."""
    pull_secrets: Annotated[list[Text], Field(max_length=16)] = Field(default_factory=list)
    """Secrets that open the registries."""
    parameters: Annotated[dict[VariableName, Text], Field(max_length=1000)] = Field(
        default_factory=dict
    )
    """Template parameters and their defaults."""
    timeout: Annotated[float, BeforeValidator(_number), Field(gt=0)] | None = None
    """Seconds; absent = the gateway's default."""
    x_gateway: ExtraShape = ExtraShape()
    """Keys of our own, for every operator."""
