"""Service Clara, and node_monitor.Monitor: version, GPUs, stopping pipeline services."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from gateway.monitor.sampler import Gpu, GpuLook, GpuUser
from gateway.platform import convert
from gateway.platform.wire import clara_pb2, metrics_pb2
from gateway.platform.wire.common_pb2 import Version

MEGABYTE = 1 << 20
_PATIENCE_SECONDS = 0.5
"""Between two questions of a stream whether the gateway stops."""


class GpuFeed(Protocol):
    """Who looks at the GPUs, about once a second; any thread may ask."""

    def latest(self) -> GpuLook:
        """The last look; waits for the first."""

    def after(self, number: int, seconds: float) -> Sequence[GpuLook]:
        """The looks after the one of this number; waits up to ``seconds`` for one."""


class ClaraService:
    """Version, utilization, stop."""

    def __init__(
        self,
        version: str,
        gpus: GpuFeed,
        stop_services: Callable[[], None],
        stopping: threading.Event,
    ) -> None:
        self._version = version
        self._gpus = gpus
        self._stop_services = stop_services
        self._stopping = stopping

    def version(self, _request: clara_pb2.ClaraVersionRequest) -> clara_pb2.ClaraVersionResponse:
        """The gateway's own version."""
        numbers = [int(n) for n in re.findall(r"\d+", self._version)[:3]] + [0, 0, 0]
        version = Version(major=numbers[0], minor=numbers[1], patch=numbers[2], label="gateway")
        return clara_pb2.ClaraVersionResponse(header=convert.ok(), version=version)

    def stop(self, _request: clara_pb2.ClaraStopRequest) -> clara_pb2.ClaraStopResponse:
        """Stop the long-lived services of pipelines; jobs and the gateway go on."""
        self._stop_services()
        return clara_pb2.ClaraStopResponse(header=convert.ok())

    def utilization(
        self, request: clara_pb2.ClaraUtilizationRequest
    ) -> Iterator[clara_pb2.ClaraUtilizationResponse]:
        """The last look; with ``watch`` each further one, until the caller or the gateway ends it.

        A stream that watches names processes of jobs only: NVIDIA's client ends at any other.
        """
        node = socket.gethostname()
        for look in _watched(self._gpus, self._stopping, once=not request.watch):
            yield clara_pb2.ClaraUtilizationResponse(
                header=convert.ok(),
                gpu_metrics=[
                    _utilization(gpu, node, of_jobs_only=request.watch) for gpu in look.gpus
                ],
            )


class MonitorService:
    """What the GPUs of this node do."""

    def __init__(self, gpus: GpuFeed, stopping: threading.Event) -> None:
        self._gpus = gpus
        self._stopping = stopping

    def gpu_metrics(
        self, _request: metrics_pb2.MonitorGpuMetricsRequest
    ) -> Iterator[metrics_pb2.MonitorGpuMetricsResponse]:
        """One answer for each look, until the caller or the gateway ends it."""
        for look in _watched(self._gpus, self._stopping, once=False):
            yield metrics_pb2.MonitorGpuMetricsResponse(
                header=convert.ok(), gpu_details=[_details(gpu) for gpu in look.gpus]
            )


def _watched(feed: GpuFeed, stopping: threading.Event, *, once: bool) -> Iterator[GpuLook]:
    """The last look and each after it; one that a slow caller missed comes late, not never."""
    look = feed.latest()
    yield look
    while not once and not stopping.is_set():
        for look in feed.after(look.number, _PATIENCE_SECONDS):  # noqa: B020 - goes on from it
            yield look


def _utilization(
    gpu: Gpu, node: str, *, of_jobs_only: bool
) -> clara_pb2.ClaraUtilizationResponse.GpuUtilization:
    reading = gpu.reading
    return clara_pb2.ClaraUtilizationResponse.GpuUtilization(
        node_id=node,
        pcie_id=reading.device.pcie_id,
        compute_utilization=reading.busy or 0.0,
        memory_free=reading.memory_free // MEGABYTE,
        memory_used=reading.memory_used // MEGABYTE,
        memory_utilization=_filled(gpu),
        timestamp=convert.timestamp(reading.at),
        process_details=[
            _process(user) for user in gpu.users if user.run is not None or not of_jobs_only
        ],
    )


def _process(user: GpuUser) -> clara_pb2.ClaraUtilizationResponse.GpuUtilization.ProcessDetails:
    return clara_pb2.ClaraUtilizationResponse.GpuUtilization.ProcessDetails(
        name=user.name,
        job_id=None if user.run is None else convert.identifier(user.run.job_id),
    )


def _details(gpu: Gpu) -> metrics_pb2.GpuDetails:
    reading = gpu.reading
    return metrics_pb2.GpuDetails(
        device_id=reading.device.index,
        data=metrics_pb2.GpuDetails.GpuMetrics(
            memory_utilization=_filled(gpu),
            gpu_utilization=reading.busy or 0.0,
            free_bar_1=(reading.bar1_free or 0) // MEGABYTE,
            used_bar_1=(reading.bar1_used or 0) // MEGABYTE,
            free_gpu_memory=reading.memory_free // MEGABYTE,
            used_gpu_memory=reading.memory_used // MEGABYTE,
        ),
        timestamp=convert.timestamp(reading.at),
    )


def _filled(gpu: Gpu) -> float:
    """The share of its memory that is in use."""
    total = gpu.reading.memory_total
    return gpu.reading.memory_used / total if total else 0.0
