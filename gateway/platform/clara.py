"""Service Clara, and node_monitor.Monitor: version, GPUs, stopping pipeline services."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.platform import convert
from gateway.platform.wire import clara_pb2, metrics_pb2
from gateway.platform.wire.common_pb2 import Version

WATCH_SECONDS = 1.0
"""Between two answers of a stream that watches."""


@dataclass(frozen=True)
class GpuProcess:
    """A process on a GPU: an operator of a job, or one of the platform (``job_id`` None)."""

    name: str
    job_id: str | None = None


@dataclass(frozen=True)
class Gpu:
    """One GPU as it was at ``at`` (Unix seconds); utilizations 0…1, memory in MB (2^20 bytes)."""

    index: int
    node: str
    pcie_id: int
    compute: float
    memory: float
    memory_free: int
    memory_used: int
    at: float
    bar1_free: int = 0
    bar1_used: int = 0
    processes: Sequence[GpuProcess] = ()


Gpus = Callable[[], Sequence[Gpu]]
"""Looks at the GPUs; empty where there is none."""


def no_gpus() -> Sequence[Gpu]:
    """A machine without GPU."""
    return ()


class ClaraService:
    """Version, utilization, stop."""

    def __init__(
        self,
        version: str,
        gpus: Gpus,
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
        """One snapshot, or with ``watch`` one a second until the caller or the gateway ends it."""
        for gpus in _watched(self._gpus, self._stopping, once=not request.watch):
            yield clara_pb2.ClaraUtilizationResponse(
                header=convert.ok(), gpu_metrics=[_utilization(gpu) for gpu in gpus]
            )


class MonitorService:
    """What the GPUs of this node do."""

    def __init__(self, gpus: Gpus, stopping: threading.Event) -> None:
        self._gpus = gpus
        self._stopping = stopping

    def gpu_metrics(
        self, _request: metrics_pb2.MonitorGpuMetricsRequest
    ) -> Iterator[metrics_pb2.MonitorGpuMetricsResponse]:
        """One answer a second until the caller or the gateway ends it."""
        for gpus in _watched(self._gpus, self._stopping, once=False):
            yield metrics_pb2.MonitorGpuMetricsResponse(
                header=convert.ok(), gpu_details=[_details(gpu) for gpu in gpus]
            )


def _watched(gpus: Gpus, stopping: threading.Event, *, once: bool) -> Iterator[Sequence[Gpu]]:
    yield gpus()
    due = time.monotonic()
    while not once:
        due = max(due + WATCH_SECONDS, time.monotonic())
        if stopping.wait(due - time.monotonic()):
            return
        yield gpus()


def _utilization(gpu: Gpu) -> clara_pb2.ClaraUtilizationResponse.GpuUtilization:
    message = clara_pb2.ClaraUtilizationResponse.GpuUtilization
    return message(
        node_id=gpu.node,
        pcie_id=gpu.pcie_id,
        compute_utilization=gpu.compute,
        memory_free=gpu.memory_free,
        memory_used=gpu.memory_used,
        memory_utilization=gpu.memory,
        timestamp=convert.timestamp(gpu.at),
        process_details=[
            message.ProcessDetails(
                name=process.name,
                job_id=None if process.job_id is None else convert.identifier(process.job_id),
            )
            for process in gpu.processes
        ],
    )


def _details(gpu: Gpu) -> metrics_pb2.GpuDetails:
    return metrics_pb2.GpuDetails(
        device_id=gpu.index,
        data=metrics_pb2.GpuDetails.GpuMetrics(
            memory_utilization=gpu.memory,
            gpu_utilization=gpu.compute,
            free_bar_1=gpu.bar1_free,
            used_bar_1=gpu.bar1_used,
            free_gpu_memory=gpu.memory_free,
            used_gpu_memory=gpu.memory_used,
        ),
        timestamp=convert.timestamp(gpu.at),
    )
