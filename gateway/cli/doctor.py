"""The checks of ``gateway doctor``: what would keep the gateway from working here."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.checking import check_all
from gateway.config import applications, settings
from gateway.config.applications import Destination
from gateway.config.document import ConfigError
from gateway.config.settings import GatewaySettings
from gateway.config.tls import TlsSettings
from gateway.errors import GatewayError
from gateway.monitor import machine
from gateway.monitor.nvml import Nvml, Reading

ECHO_SECONDS = 5.0
DATABASE_FILE = "gateway.db"
"""The SQLite file in data-dir."""
_PARALLEL = 8


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    ok: bool
    detail: str

    def body(self) -> dict[str, Any]:
        """As it is printed."""
        return {
            "status": "ok" if self.ok else "problem",
            "check": self.check,
            "detail": self.detail,
        }


def examine(config_file: Path | None) -> Iterator[Finding]:
    """Run every check; raises ConfigError when there are no settings to check with."""
    found = settings.load(config_file)
    yield from _configuration(config_file)
    yield from _ports(found)
    yield from _disk(found)
    yield _database(found)
    yield from _destinations(found)
    yield _executor(found)
    yield from _triton(found)
    yield _machine()
    yield from _gpus(found)


def _configuration(config_file: Path | None) -> Iterator[Finding]:
    try:
        for line in check_all(config_file):
            name, _, detail = line.partition(": ")
            yield Finding(name, True, detail)
    except ConfigError as error:
        for fault in error.faults:
            yield Finding("configuration", False, str(fault))


def _ports(found: GatewaySettings) -> Iterator[Finding]:
    runs = _is_running(found)
    listeners = [
        ("port dicom", found.dicom.bind, found.dicom.port),
        ("port dicom tls", found.dicom.bind, found.dicom.tls.port),
        ("port http", found.http.bind, found.http.port),
        ("port grpc", found.grpc.bind, found.grpc.port),
    ]
    for name, bind, port in listeners:
        if not port:
            continue
        try:
            family = socket.AF_INET6 if ":" in bind else socket.AF_INET
            socket.create_server((bind, port), family=family).close()
        except OSError as error:
            detail = f"{bind}:{port}: {error.strerror or error}"
            mine = runs and "in use" in detail
            yield Finding(name, mine, detail + (", by the running gateway" if mine else ""))
        else:
            yield Finding(name, True, f"{bind}:{port} is free")


def _is_running(found: GatewaySettings) -> bool:
    host = "127.0.0.1" if found.http.bind in {"0.0.0.0", "::"} else found.http.bind  # noqa: S104
    try:
        url = f"http://{host}:{found.http.port}/health/live"
        return httpx.get(url, timeout=3, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _disk(found: GatewaySettings) -> Iterator[Finding]:
    folder = found.data_dir
    while not folder.exists():
        folder = folder.parent
    writable = os.access(folder, os.W_OK | os.X_OK)
    says = "is writable" if writable else "is not writable"
    yield Finding("data-dir", writable, f"{folder} {says}")
    look = machine.disk(folder)
    storage = found.storage
    room = look.used_percent < storage.watermark_percent and look.free > storage.reserve_gb * 1e9
    detail = f"{look.used_percent:.0f} % used, {look.free / 1e9:.1f} GB free"
    limits = f"{storage.watermark_percent:g} % or below {storage.reserve_gb:g} GB"
    yield Finding("disk", room, detail + ("" if room else f" (images are refused at {limits})"))


def _database(found: GatewaySettings) -> Finding:
    import sqlalchemy as sa

    path = found.data_dir / DATABASE_FILE
    if found.database.url is None and not path.exists():
        return Finding("database", True, "SQLite, made at the first start")
    engine = sa.create_engine(
        found.database.url or f"sqlite+pysqlite:///file:{path}?mode=ro&uri=true"
    )
    try:
        # Reads the catalogue: SQLite answers SELECT 1 without a look at the file.
        sa.inspect(engine).get_table_names()
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        return Finding("database", False, str(cause).strip().splitlines()[0])
    finally:
        engine.dispose()
    return Finding("database", True, "answers")


def _destinations(found: GatewaySettings) -> Iterator[Finding]:
    try:
        known = applications.load(found.ae_config).destinations
    except ConfigError:
        return
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        yield from pool.map(_destination, known, [found.dicom.tls] * len(known))


def _destination(destination: Destination, tls: TlsSettings) -> Finding:
    name = f"destination {destination.name}"
    if destination.folder is not None:
        return _folder(name, destination.folder)
    from gateway.dicom.limits import RequestorTimeouts
    from gateway.dicom.peer import Peer
    from gateway.dicom.scu import echo

    peer = Peer.of(destination, tls)
    patience = RequestorTimeouts(ECHO_SECONDS, ECHO_SECONDS, ECHO_SECONDS, ECHO_SECONDS)
    try:
        seconds = echo(peer, patience)
    except GatewayError as error:
        return Finding(name, False, str(error))
    return Finding(name, True, f"{peer} answers C-ECHO in {1000 * seconds:.0f} ms")


def _folder(name: str, folder: Path) -> Finding:
    # Delivery makes no folder: a share that is not mounted must not be filled in its place.
    if not folder.is_dir():
        return Finding(name, False, f"{folder} is not there: create or mount it")
    writable = os.access(folder, os.W_OK | os.X_OK)
    return Finding(name, writable, f"{folder} is {'' if writable else 'not '}writable")


def _executor(found: GatewaySettings) -> Finding:
    name = f"executor {found.executor}"
    if found.executor == "container":
        from gateway.executors.container.executor import ContainerExecutor

        faults = ContainerExecutor(found.container).check()
        return Finding(name, not faults, "; ".join(faults) or "the container engine answers")
    if found.executor == "kubernetes":
        from gateway.executors.kubernetes.executor import check

        faults = check(found.kubernetes)
        return Finding(name, not faults, "; ".join(faults) or "the cluster answers and lets us in")
    if found.executor == "argo":
        from gateway.executors.argo.executor import check as check_argo

        faults = check_argo(found.kubernetes)
        return Finding(name, not faults, "; ".join(faults) or "the cluster and its Argo let us in")
    from gateway.executors.process import ProcessExecutor

    try:
        faults = ProcessExecutor(found.images).check()
    except (GatewayError, OSError) as error:
        faults = [str(error)]
    return Finding(name, not faults, "; ".join(faults) or "the sandbox can be made")


def _triton(found: GatewaySettings) -> Iterator[Finding]:
    """Whether models could be served, where there are any and the program is ours to find."""
    if found.executor != "process" or not found.models.is_dir():
        return
    count = sum(each.is_dir() and each.name[0] != "." for each in found.models.iterdir())
    if not count:
        return
    from gateway.executors.images import Images
    from gateway.pipelines.model import Operator

    image = found.services.triton.image
    program = Images(found.images).find(Operator("triton", image.rpartition(":")[0] or image))
    if program is None:
        advice = "install it, or name it in `images`"
        yield Finding("triton", False, f"no tritonserver for {count} models: {advice}")
    else:
        yield Finding("triton", True, f"{program.command[0]} for {count} models")


def _machine() -> Finding:
    here = machine.look()
    return Finding("machine", True, f"{here.cpu} cores, {here.memory_mb} MB of memory")


def _gpus(found: GatewaySettings) -> Iterator[Finding]:
    """A line for each GPU, and one that says whether they are as many as they should be."""
    nvml = Nvml()
    try:
        readings = nvml.read()
    finally:
        nvml.close()
    for reading in readings:
        yield Finding(f"gpu {reading.device.index}", True, _gpu(reading))
    wanted, files = found.resources.gpus, machine.device_files()
    detail = f"{len(readings)} GPUs"
    if nvml.absent:
        detail += ", no NVIDIA driver (NVML) is installed"
    elif nvml.fault is not None:
        detail += f", NVML says: {nvml.fault}"
    if wanted is not None:
        few = wanted > len(readings)
        detail += f"; the setting resources.gpus is {wanted}"
    else:
        # The kernel knows GPUs that jobs would not get: a driver half installed, say.
        few = files > len(readings)
        detail += f"; there are device files of {files}" if few else ""
    yield Finding("gpus", not few, detail)


def _gpu(reading: Reading) -> str:
    size, used = (n // 2**20 for n in (reading.memory_total, reading.memory_used))
    detail = f"{reading.device.model}, {reading.device.uuid}, {used} of {size} MB in use"
    return detail if reading.busy is None else f"{detail}, {reading.busy:.0%} busy"
