"""A service as data: what is run, what it sees, and how one tells that it is ready."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.executors.sandbox import Bind
from gateway.pipelines.model import Service
from gateway.pipelines.services import identity, ports

COMMON_VARIABLE = "NVIDIA_CLARA_SERVICE_DATA_PATH"
COMMON_PATH = "/clara/common"
"""Where a service sees the common folder, read-only."""
_TRITON_IMAGES = ("tritonserver",)
TRITON_PROGRAMS = ("tritonserver", "trtserver")
_TRITON_PORT = 8000
_READY = "/v2/health/ready"
_REFERENCE = re.compile(r"\$(\$?)\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True)
class Spec:
    """One service, whoever asked for it first."""

    identity: str
    service: Service
    ports: Mapping[str, int] = field(default_factory=dict)
    """By the connection's name."""
    ready: tuple[int, str] | None = None
    """Port and path that answer 200 when it is ready; None = its ports are open."""
    binds: tuple[Bind, ...] = ()
    """Read-only folders of the gateway that it sees besides the common one."""

    @property
    def image(self) -> str:
        """``image:tag``."""
        return f"{self.service.image}:{self.service.tag}"

    def command(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Its command, with ``$(NAME)`` replaced by what ``environ`` says."""
        return tuple(substituted(part, environ) for part in self.service.command)


def of_service(service: Service) -> Spec:
    """The spec of a definition's service."""
    found = ports(service)
    ready = None
    if _TRITON_PORT in found.values() and _is_triton(service):
        ready = (_TRITON_PORT, _READY)
    return Spec(identity(service), service, found, ready)


def variables(
    spec: Spec, image: Mapping[str, str], base: Mapping[str, str], devices: Sequence[str]
) -> dict[str, str]:
    """The environment of a service: ``base``, the image's, the definition's, and ours.

    For each connection the variable that operators get, here with the address to listen on, and
    ``<variable>_PORT``.
    """
    text = ",".join(devices)
    known = {
        **base,
        **image,
        **{name: f"0.0.0.0:{port}" for name, port in spec.ports.items()},
        **{f"{name}_PORT": str(port) for name, port in spec.ports.items()},
        **{volume.name: volume.path for volume in spec.service.volumes},
        COMMON_VARIABLE: COMMON_PATH,
        "NVIDIA_VISIBLE_DEVICES": text or "void",
        "CUDA_VISIBLE_DEVICES": text,
    }
    own = {name: substituted(value, known) for name, value in spec.service.variables.items()}
    return {**known, **own}


def binds(spec: Spec, common: Path, volumes: Path) -> tuple[Bind, ...]:
    """Folders that a service sees; ``volumes`` holds those that it shares with operators."""
    shown = [Bind(common, COMMON_PATH), *spec.binds, *shared_folders(spec, volumes)]
    if spec.service.host_volume is not None:
        shown.append(Bind(Path(spec.service.host_volume).resolve(), spec.service.host_volume))
    return tuple(dict.fromkeys(shown))


def shared_folders(spec: Spec, volumes: Path) -> tuple[Bind, ...]:
    """The volume connections, at the same path in service and operator."""
    return tuple(
        Bind(volumes / str(number), volume.path, writable=True)
        for number, volume in enumerate(spec.service.volumes)
    )


def substituted(text: str, environ: Mapping[str, str]) -> str:
    """``$(NAME)`` as Kubernetes reads it: unknown names stay, ``$$(NAME)`` is ``$(NAME)``."""

    def value(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        return f"$({name})" if escaped else environ.get(name, match[0])

    return _REFERENCE.sub(value, text)


def _is_triton(service: Service) -> bool:
    image = service.image.rsplit("/", 1)[-1]
    program = service.command[0].rsplit("/", 1)[-1] if service.command else ""
    return image in _TRITON_IMAGES or program == TRITON_PROGRAMS[0]
