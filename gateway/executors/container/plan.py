"""One container as data, and as the words of Docker's API.

Whoever the operator is: not root, no capabilities, no way to new ones, a read-only root, a ``/tmp``
in memory, no network unless its definition asks, and limits on memory and processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker
from docker.types import DeviceRequest, Mount

from gateway.executors.access import User
from gateway.executors.container.api import Facts
from gateway.executors.limits import MAX_PROCESSES
from gateway.executors.sandbox import Bind

JOB, ATTEMPT, OPERATOR = "gateway.job", "gateway.attempt", "gateway.operator"
"""Labels by which containers are found again."""
_SHARES_OF_A_CORE = 1024
_CDI = "nvidia.com/gpu"
"""Kind of NVIDIA's devices in the Container Device Interface, which Podman speaks."""


@dataclass(frozen=True)
class Plan:
    """All that one container is made of."""

    name: str
    labels: Mapping[str, str]
    image: str
    """Its id: what was looked at is what runs."""
    user: User
    environ: Mapping[str, str]
    binds: tuple[Bind, ...]
    memory_mb: int
    cpu: float
    command: tuple[str, ...] = ()
    """Replaces entrypoint and arguments; empty = the image's own."""
    folder: str | None = None
    """Working folder; None = the image's own."""
    network: str = "none"
    networks: tuple[str, ...] = ()
    """Further ones."""
    address: tuple[str, str] | None = None
    """IP and MAC of its own on ``network``; None = any."""
    gpus: tuple[str, ...] = ()
    writable_root: bool = False


def options(plan: Plan, facts: Facts, *, init: bool) -> dict[str, Any]:
    """Arguments of the SDK's ``create_container``.

    ``init``: a small first process passes signals on and reaps; the engine may lack it.
    """
    chosen: dict[str, Any] = {
        "image": plan.image,
        "name": plan.name,
        "labels": dict(plan.labels),
        "hostname": "operator",
        "user": f"{plan.user.uid}:{plan.user.gid}",
        "environment": dict(plan.environ),
        "working_dir": plan.folder,
        "healthcheck": {"test": ["NONE"]},
        "host_config": _host(plan, facts, init=init),
    }
    if plan.address is not None:
        ip, mac = plan.address
        end = docker.types.EndpointConfig(facts.version, ipv4_address=ip)
        chosen["networking_config"] = docker.types.NetworkingConfig({plan.network: end})  # type: ignore[arg-type]
        chosen["mac_address"] = mac
    if plan.command:
        chosen["entrypoint"] = list(plan.command)
    return chosen


def _host(plan: Plan, facts: Facts, *, init: bool) -> dict[str, Any]:
    memory = plan.memory_mb << 20
    group = plan.user.group
    chosen: dict[str, Any] = {
        "version": facts.version,
        "network_mode": plan.network,
        "read_only": not plan.writable_root,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": memory,
        # The same = no swap: who needs more memory is to hear of it.
        "memswap_limit": memory,
        "pids_limit": MAX_PROCESSES,
        "cpu_shares": max(2, int(plan.cpu * _SHARES_OF_A_CORE)),
        "shm_size": memory,
        "ipc_mode": "private",
        "init": init,
        "log_config": {"Type": "none", "Config": {}},
        "mounts": [_mount(bind) for bind in _outer_first(plan.binds)],
        "group_add": None if group is None else [str(group)],
        "tmpfs": _tmpfs(plan),
        **_gpus(plan, facts),
    }
    # The SDK does not know Podman's way to say it.
    return dict(docker.types.HostConfig(**chosen)) | _user_namespace(facts)


def _tmpfs(plan: Plan) -> dict[str, str]:
    """A private ``/tmp``, counted as the operator's memory; executable, for compilers use it."""
    if any(bind.path == "/tmp" for bind in plan.binds):  # noqa: S108 - inside the container
        return {}
    return {"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={plan.memory_mb}m"}  # noqa: S108


def _gpus(plan: Plan, facts: Facts) -> dict[str, Any]:
    if not plan.gpus:
        return {}
    if facts.podman:
        names = [f"{_CDI}={name}" for name in plan.gpus]
        return {"device_requests": [DeviceRequest(driver="cdi", device_ids=names)]}
    request = DeviceRequest(
        driver="nvidia", device_ids=list(plan.gpus), capabilities=[["gpu", "compute", "utility"]]
    )
    return {"device_requests": [request]}


def _user_namespace(facts: Facts) -> dict[str, str]:
    """The user's number inside must be its number outside, for the files it writes."""
    if facts.podman:
        return {"UsernsMode": "keep-id"} if facts.rootless else {}
    return {"UsernsMode": "host"} if "userns" in facts.options else {}


def _mount(bind: Bind) -> Mount:
    return Mount(
        target=bind.path, source=str(bind.source), type="bind", read_only=not bind.writable
    )


def _outer_first(binds: tuple[Bind, ...]) -> list[Bind]:
    """A mount hides what was mounted below it before."""
    return sorted(binds, key=lambda bind: bind.path.count("/"))
