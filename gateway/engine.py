"""Jobs' side of the composition root: the engine that the settings name, and what goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.config.document import ConfigError, Fault
from gateway.config.settings import GatewaySettings
from gateway.database.engine import Database
from gateway.executors.container.executor import ContainerExecutor
from gateway.executors.gpus import Gpu
from gateway.executors.process import ProcessExecutor
from gateway.jobs.creation import JobCreation
from gateway.jobs.executor import Executor
from gateway.jobs.ledger import Capacity
from gateway.jobs.scheduler import Scheduler
from gateway.monitor import health
from gateway.monitor.nvml import Nvml
from gateway.parts import Ending, Part
from gateway.services.engines import KEEPS_SERVICES, Served, runner_of
from gateway.services.keeper import Keeper, Membership, Places
from gateway.services.records import Owner
from gateway.services.triton import requests_of

CLUSTERS = ("kubernetes", "argo")
"""Engines whose jobs run elsewhere."""


@dataclass(frozen=True)
class Engine:
    """What runs jobs, its parts to be stopped with the gateway, and what ``/health`` asks."""

    executor: Executor
    parts: tuple[Part, ...]
    checks: dict[str, health.Check]


def refuse_unreachable_data(settings: GatewaySettings) -> None:
    """Raise :class:`ConfigError` unless a cluster, if one is used, knows where data-dir is."""
    volumes = (settings.kubernetes.claim, settings.kubernetes.host_path)
    if settings.executor in CLUSTERS and volumes.count(None) != 1:
        message = "one of `claim` and `host-path` must say where nodes find data-dir"
        raise ConfigError([Fault("settings", None, "kubernetes", message)])


def engine_of(settings: GatewaySettings, data_dir: Path, nvml: Nvml) -> Engine:
    """The engine that the settings name."""
    executor, parts, checks = _executor(settings, data_dir, nvml), list[Part](), {}
    if isinstance(executor, ProcessExecutor):
        process = executor
        parts.append(Ending(process.close))
        checks["operator-start"] = lambda: health.Part(
            health.Condition.OK, {"mode": process.start_mode}
        )
    checks["executor"] = health.executor(executor.name, executor.check)
    return Engine(executor, tuple(parts), checks)


def _executor(settings: GatewaySettings, data_dir: Path, nvml: Nvml) -> Executor:
    if settings.executor in CLUSTERS:
        # Their client is large, and most gateways never need it.
        from gateway.executors.argo.choice import cluster_executor

        return cluster_executor(settings, data_dir)
    gpus = {gpu.index: Gpu(gpu.minor, gpu.uuid) for gpu in nvml.devices()}
    if settings.executor == "container":
        return ContainerExecutor(settings.container, host_volumes=settings.host_volumes, gpus=gpus)
    return ProcessExecutor(
        settings.images, host_volumes=settings.host_volumes, gpus=gpus, warm=True
    )


def capacity_of(settings: GatewaySettings, nvml: Nvml) -> Capacity:
    """What jobs may use together; GPUs are those that NVML finds, unless a number is set."""
    if settings.executor in CLUSTERS:
        return Capacity.of_cluster(settings.resources)
    return Capacity.of_machine(settings.resources, [gpu.index for gpu in nvml.devices()])


def job_creation_of(settings: GatewaySettings, capacity: Capacity) -> JobCreation:
    """What makes jobs, whoever asks for them."""
    triton = None
    if settings.executor in KEEPS_SERVICES:
        triton = requests_of(settings.services.triton)
    return JobCreation(
        capacity=capacity,
        limits=settings.jobs,
        missing_gpu=settings.resources.missing_gpu,
        triton=triton,
    )


def keeper_of(
    settings: GatewaySettings,
    data_dir: Path,
    database: Database,
    executor: Executor,
    scheduler: Scheduler,
) -> Keeper | None:
    """What lets operators call services; None where the engine can run none."""
    runner = runner_of(executor)
    if runner is None or not isinstance(executor, Served):
        return None
    presence = scheduler.presence
    keeper = Keeper(
        runner,
        database,
        Membership(lambda: Owner(presence.id, presence.node), presence.dead),
        Places(data_dir, settings.common_dir or data_dir / "common", settings.models.resolve()),
        settings.services,
    )
    executor.serve(keeper)
    return keeper
