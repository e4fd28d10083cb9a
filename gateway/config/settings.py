"""``gateway.yaml``: every key, its default and its unit.

:func:`load` reads the file, lays the environment over it and resolves relative paths against the
file's folder.  The reference page of the settings is generated from the docstrings below.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from gateway.config import grpc as grpc_settings
from gateway.config import http as http_settings
from gateway.config.container import ContainerSettings
from gateway.config.document import ConfigError, Document, Fault, dotted, read, validate
from gateway.config.grpc import GrpcSettings
from gateway.config.http import HttpSettings
from gateway.config.kubernetes import KubernetesSettings
from gateway.config.model import Settings
from gateway.config.services import ServiceSettings
from gateway.config.tls import TlsSettings, faults

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Hours = Annotated[float, Field(ge=0)]

HostFolder = Annotated[str, Field(pattern=r"^(/[^/\x00]+)+$", max_length=1024)]

PREFIX = "GATEWAY_"


class DatabaseSettings(Settings):
    """Where records are kept."""

    url: str | None = None
    """``postgresql+psycopg://user:password@host/name``; null = SQLite in ``data-dir``."""


class DicomLimits(Settings):
    """What one DICOM peer may take; the defaults suit scanners and archives."""

    associations_per_peer: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Associations open at once per peer address, one more is rejected 2/3/2; null = only
    ``max-associations`` counts."""
    contexts: Annotated[int, Field(ge=1, le=128)] = 128
    """Presentation contexts one association may propose; more is rejected 1/3/2."""
    command_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 16384
    """Largest command set (those of the standard stay below 1 kB); a larger one is aborted."""
    artim_seconds: Seconds = 30
    """From the connection to a whole A-ASSOCIATE-RQ, and for the TLS handshake."""
    idle_seconds: Seconds = 600
    """Between two messages: scanners keep an association open from one series to the next."""
    pdu_seconds: Seconds = 120
    """For one PDU, from its header to its last byte: a 128 kB PDU at 1 kB/s."""
    message_seconds: Seconds = 7200
    """For one message with its data set: 3 GB at 0.4 MB/s."""


class DicomSettings(Settings):
    """The DICOM listener."""

    bind: str = "0.0.0.0"  # noqa: S104 - modalities call from elsewhere; the allow-list guards
    """Address the listener binds."""
    port: Port = 11112
    """TCP port; 0 = any free port."""
    max_associations: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Associations open at once; one more is rejected 2/3/2 (PS3.8 9.3.4)."""
    max_pdu: Annotated[int, Field(ge=4096, le=4 * 1024 * 1024)] = 131072
    """Largest P-DATA-TF the gateway is willing to receive, in bytes."""
    reject_unknown_sources: bool = True
    """Reject a calling AE title or host that stands in no ``sources`` entry."""
    durability: Literal["power", "process"] = "power"
    """``power``: what is acknowledged survives a power cut; ``process``: it survives kill -9."""
    tls: TlsSettings = TlsSettings()
    """The second, TLS-only listener."""
    limits: DicomLimits = DicomLimits()
    """What one peer may take."""


class StorageSettings(Settings):
    """When the gateway refuses more images (status A700H)."""

    watermark_percent: Annotated[float, Field(gt=0, le=100)] = 85
    """Fullest the disk may be, in percent."""
    reserve_gb: Annotated[float, Field(ge=0)] = 5
    """Least free space in GB (10^9 bytes)."""


class RetentionSettings(Settings):
    """How long payloads are kept after their last work ended; never while any is open.

    Payloads of jobs made by hand count too; a reusable payload stays until its owner deletes it.
    """

    delivered_hours: Hours = 72
    """Payloads whose jobs ended well and whose results were delivered; so for jobs made by hand."""
    failed_hours: Hours = 336
    """Payloads with a failed job or result; so for jobs made by hand."""
    unmatched_hours: Hours = 72
    """Payloads that no rule matched."""


class MqttSettings(Settings):
    """Events to a broker."""

    url: str | None = None
    """``mqtt://[user:password@]host[:port]`` or ``mqtts://…``; null = no events."""
    topic_prefix: Annotated[str, Field(pattern=r"^[^+#\x00]{1,128}$")] = "gateway"
    """First level of every topic."""


class TraceSettings(Settings):
    """Traces of studies to an OpenTelemetry collector (extra ``gateway[otel]``)."""

    url: str | None = None
    """OTLP over HTTP: ``http://host:4318``, ``/v1/traces`` unless a path is given; null = none.
    Headers, certificates and compression: OpenTelemetry's own ``OTEL_EXPORTER_OTLP_*``."""


class ResourceSettings(Settings):
    """What jobs may use together."""

    cpu: Annotated[float, Field(gt=0)] | None = None
    """Cores; null = what the machine has."""
    memory_mb: Annotated[int, Field(gt=0)] | None = None
    """Memory in MB; null = what the machine has."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """Devices; null = those that NVML, NVIDIA's management library, finds."""
    missing_gpu: Literal["refuse", "cpu"] = "refuse"
    """What becomes of a job that asks for a GPU where there is none."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=100)
    """What this machine is, for jobs that ask for a label by ``x-gateway: {labels: {node-…}}``."""


class ImageSettings(Settings):
    """What the process executor runs for one image name."""

    command: list[str] = Field(min_length=1)
    """The image's entrypoint."""
    env: dict[str, str] = Field(default_factory=dict)
    """Variables of the image."""
    warm: bool = False
    """Its operators are Python and may start from a process that has imported them already: their
    module must do nothing when it is imported but not run."""


Weight = Annotated[float, Field(gt=0, le=1000)]
Most = Annotated[int, Field(ge=1, le=100_000)]


class WeightSettings(Settings):
    """How HIGHER, NORMAL and LOWER share the starts while all three wait; IMMEDIATE goes first."""

    higher: Weight = 4
    """Weight of HIGHER."""
    normal: Weight = 2
    """Weight of NORMAL."""
    lower: Weight = 1
    """Weight of LOWER."""


class LimitSettings(Settings):
    """Most jobs that run at once, IMMEDIATE ones included."""

    each_pipeline: Most | None = None
    """Of every pipeline that ``pipelines`` does not name; null = no limit."""
    each_application: Most | None = None
    """Of every called AE title that ``applications`` does not name; null = no limit."""
    pipelines: dict[str, Most] = Field(default_factory=dict)
    """By name of the pipeline."""
    applications: dict[str, Most] = Field(default_factory=dict)
    """By called AE title."""


class JobSettings(Settings):
    """Limits of jobs."""

    timeout_seconds: Seconds = 600
    """Time-out of a job whose definition names none."""
    maximum_timeout_seconds: Seconds = 1800
    """Longest time-out a definition may ask for."""
    grace_seconds: Annotated[float, Field(ge=0)] = 15
    """Between the polite and the hard end of a process tree."""
    weights: WeightSettings = WeightSettings()
    """Shares of the priorities."""
    limits: LimitSettings = LimitSettings()
    """Jobs that run at once."""


class GatewaySettings(Settings):
    """The whole of ``gateway.yaml``."""

    data_dir: Path = Path("gateway-data")
    """Spool, payloads, database, logs of operators."""
    ae_config: Path = Path("ae_config")
    """Folder of AE titles, rules, sources and destinations."""
    pipelines: Path = Path("pipelines")
    """Folder of definitions registered at start-up by their name."""
    models: Path = Path("models")
    """Model repository in Triton's layout."""
    common_dir: Path | None = None
    """Read-only data of services; null = ``<data-dir>/common``."""
    database: DatabaseSettings = DatabaseSettings()
    dicom: DicomSettings = DicomSettings()
    storage: StorageSettings = StorageSettings()
    retention: RetentionSettings = RetentionSettings()
    grpc: GrpcSettings = GrpcSettings()
    http: HttpSettings = HttpSettings()
    mqtt: MqttSettings = MqttSettings()
    traces: TraceSettings = TraceSettings()
    executor: Literal["process", "container", "kubernetes", "argo"] = "process"
    """Engine that runs operators."""
    container: ContainerSettings = ContainerSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    resources: ResourceSettings = ResourceSettings()
    images: dict[str, ImageSettings] = Field(default_factory=dict)
    """Process executor: ``image:tag`` or ``image`` → command and variables."""
    host_volumes: list[HostFolder] = Field(default_factory=list)
    """Folders of this machine that a definition's ``hostVolumePath`` may name, themselves or below;
    operators see them read-only.  Empty = such a definition is refused."""
    jobs: JobSettings = JobSettings()
    services: ServiceSettings = ServiceSettings()


_PATHS: tuple[tuple[str, ...], ...] = (
    ("data-dir",), ("ae-config",), ("pipelines",), ("models",), ("common-dir",),
    ("dicom", "tls", "certificate"), ("dicom", "tls", "key"), ("dicom", "tls", "client-ca"),
    ("dicom", "tls", "destination-ca"),
    ("http", "tls", "certificate"), ("http", "tls", "key"),
    ("grpc", "tls", "certificate"), ("grpc", "tls", "key"), ("grpc", "tls", "client-ca"),
    ("container", "socket"), ("container", "pull-secrets"),
    ("kubernetes", "kubeconfig"), ("kubernetes", "waiter"),
)  # fmt: skip


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> GatewaySettings:
    """Read settings from ``path`` and the environment.

    ``path`` None means ``./gateway.yaml`` if it exists, else defaults.  Relative paths are
    relative to the file's folder.  Raises :class:`ConfigError` with every fault.
    """
    environ = os.environ if environ is None else environ
    default = Path("gateway.yaml")
    if path is None and default.exists():
        path = default
    document = read(path) if path else Document("gateway.yaml", {})
    base = (path.parent if path else Path()).resolve()
    data = document.data
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError([document.fault((), "must be a mapping of settings")])
    misnamed = _overlay(data, environ)
    if misnamed:
        raise ConfigError(misnamed)
    if data.get("data-dir") is None:
        data["data-dir"] = "gateway-data"
    for key in ("ae-config", "pipelines", "models"):
        data.setdefault(key, key.replace("-", "_"))
    for path_key in _PATHS:
        _resolve(data, path_key, base)
    try:
        return _usable(validate(GatewaySettings, document, data), document)
    except ConfigError as error:
        raise ConfigError([_blame(fault, environ) for fault in error.faults]) from error


def _usable(found: GatewaySettings, document: Document) -> GatewaySettings:
    """``found``, if the certificates it names can be used; else :class:`ConfigError`."""
    unusable = [
        document.fault(("dicom", "tls", fault.key), str(fault)) for fault in faults(found.dicom.tls)
    ]
    unusable += [
        document.fault(("grpc", "tls", key), message)
        for key, message in grpc_settings.faults(found.grpc)
    ]
    unusable += [
        document.fault(("http", *key.split(".")), message)
        for key, message in http_settings.faults(found.http)
    ]
    if unusable:
        raise ConfigError(unusable)
    return found


def known_keys(model: type[Settings] = GatewaySettings, at: tuple[str, ...] = ()) -> dict[str, Any]:
    """Map each environment name (without prefix) to the key path it sets."""
    names: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        key = (*at, info.alias or name)
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Settings):
            names.update(known_keys(inner, key))
        else:
            names["__".join(part.replace("-", "_").upper() for part in key)] = key
    return names


def _overlay(data: dict[str, Any], environ: Mapping[str, str]) -> list[Fault]:
    """Lay ``GATEWAY_*`` variables over ``data``; return faults."""
    known = known_keys()
    faults = []
    for variable, text in sorted(environ.items()):
        name = variable.removeprefix(PREFIX)
        if name == variable:
            continue
        key = known.get(name)
        if key is None:
            # Without "__" it may be anybody's variable, such as one of a Kubernetes service.
            if "__" in name:
                faults.append(Fault("environment", None, variable, "names no setting"))
            continue
        _put(data, key, _environment_value(key, text))
    return faults


def _environment_value(key: tuple[str, ...], text: str) -> Any:
    """Text as the setting wants it: a namespace called ``no`` or ``2024`` stays text."""
    model: Any = GatewaySettings
    for part in key:
        annotation = next(i.annotation for i in model.model_fields.values() if i.alias == part)
        model = annotation
    kinds = model.__args__ if isinstance(model, UnionType) else (model,)
    if {str, Path} & set(kinds):
        return None if text.strip() in {"", "null", "~"} else text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _blame(fault: Fault, environ: Mapping[str, str]) -> Fault:
    """Name the variable instead of the file when the value at fault came from it."""
    for name, key in known_keys().items():
        place = dotted(key)
        here = fault.key == place or fault.key.startswith((place + ".", place + "["))
        if here and PREFIX + name in environ:
            return Fault("environment", None, PREFIX + name, fault.message)
    return fault


def _put(data: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    for part in key[:-1]:
        inner = data.get(part)
        if not isinstance(inner, dict):
            inner = {}
            data[part] = inner
        data = inner
    data[key[-1]] = value


def _resolve(data: dict[str, Any], key: tuple[str, ...], base: Path) -> None:
    for part in key[:-1]:
        inner = data.get(part)
        if not isinstance(inner, dict):
            return
        data = inner
    value = data.get(key[-1])
    if isinstance(value, str):
        data[key[-1]] = str(base / Path(value).expanduser())
