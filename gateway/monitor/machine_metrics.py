"""Metrics of the machine, its GPUs, the running operators and the gateway's own processes.

What the kernel counts is read at scrape time; what must be followed comes from the sampler.  A
figure that is not known is left out.  Labels are modes, GPUs, roles, and names of pipelines
and operators; never a job or a name from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.monitor import machine, proc
from gateway.monitor.sampler import Gpu, Machine

Row = tuple[Sequence[str], float | None]
_OPERATOR = ("pipeline", "operator")


class MachineCollector(Collector):
    """Turns what was seen of the machine into metric families; safe from any thread."""

    def __init__(self, seen: Callable[[], Machine], data_dir: Path) -> None:
        self._seen = seen
        self._data_dir = data_dir

    def describe(self) -> Iterable[Metric]:
        """Give nothing: registering must not look."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family, those without a figure too."""
        seen = self._seen()
        yield from _node(self._data_dir)
        yield from _gpus(seen.gpus)
        yield from _operators(seen)
        yield from _processes(seen)


def _gauge(name: str, text: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, figure in rows:
        if figure is not None:
            family.add_metric(values, figure)
    return family


def _counter(name: str, text: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, figure in rows:
        if figure is not None:
            family.add_metric(values, figure)
    return family


def _node(data_dir: Path) -> Iterator[Metric]:
    times, traffic = proc.cpu_times(), proc.disk_traffic(data_dir)
    memory, disk = machine.memory(), machine.disk(data_dir)
    cores = machine.look().cpu
    yield _gauge("gateway_node_cpus", "Cores that the gateway may use", (), [((), cores)])
    yield _counter(
        "gateway_node_cpu_seconds",
        "Time of all cores of the machine",
        ("mode",),
        [((mode,), seconds) for mode, seconds in vars(times).items()],
    )
    for name, text, figure in (
        ("memory_bytes", "Memory of the machine or container", memory.total),
        ("memory_available_bytes", "Memory that programs can still get", memory.available),
        ("disk_bytes", "Size of the disk of data-dir", disk.total),
        ("disk_free_bytes", "Free on the disk of data-dir", disk.free),
    ):
        yield _gauge(f"gateway_node_{name}", text, (), [((), figure)])
    read, written = (traffic.read, traffic.written) if traffic is not None else (None, None)
    text = "the disk of data-dir, by all programs"
    yield _counter("gateway_node_disk_read_bytes", f"Read from {text}", (), [((), read)])
    yield _counter("gateway_node_disk_written_bytes", f"Written to {text}", (), [((), written)])


def _gpus(gpus: Sequence[Gpu]) -> Iterator[Metric]:
    yield _gauge("gateway_gpus", "GPUs of the machine that answer", (), [((), len(gpus))])
    readings = [gpu.reading for gpu in gpus]
    about = [(str(r.device.index), r.device.uuid, r.device.model) for r in readings]
    labels = ("gpu", "uuid", "model")
    yield _gauge("gateway_gpu_info", "1; tells the GPU's names", labels, [(a, 1) for a in about])
    figures: tuple[tuple[str, str, list[float | None]], ...] = (
        (
            "busy_ratio",
            "Share of the time in which the GPU computed",
            [r.busy for r in readings],
        ),
        (
            "memory_busy_ratio",
            "Share of the time in which its memory was read or written",
            [r.memory_busy for r in readings],
        ),
        ("memory_bytes", "Memory of the GPU", [r.memory_total for r in readings]),
        ("memory_used_bytes", "Memory of the GPU in use", [r.memory_used for r in readings]),
        ("temperature_celsius", "Temperature of the GPU", [r.celsius for r in readings]),
        ("power_watts", "Power that the GPU draws", [r.watts for r in readings]),
        ("processes", "Processes on the GPU", [len(r.processes) for r in readings]),
    )
    for name, text, found in figures:
        rows = [((a[0],), figure) for a, figure in zip(about, found, strict=True)]
        yield _gauge(f"gateway_gpu_{name}", text, ("gpu",), rows)


def _operators(seen: Machine) -> Iterator[Metric]:
    running = dict.fromkeys(seen.totals, 0)
    memory = dict.fromkeys(seen.totals, 0)
    for labels, usage in seen.running:
        running[labels] = running.get(labels, 0) + 1
        memory[labels] = memory.get(labels, 0) + usage.memory
    on_gpus = dict.fromkeys(seen.totals, 0) | dict(seen.gpu_memory)
    cpu = [(labels, total.cpu_seconds) for labels, total in seen.totals.items()]
    peak = [(labels, total.peak_memory) for labels, total in seen.totals.items()]
    yield _gauge("gateway_operators_running", "Running operators", _OPERATOR, running.items())
    text = "CPU time of operators"
    yield _counter("gateway_operator_cpu_seconds", text, _OPERATOR, cpu)
    text = "Memory (PSS) of the running operators"
    yield _gauge("gateway_operator_memory_bytes", text, _OPERATOR, memory.items())
    text = "Highest memory (PSS) that was seen of one run"
    yield _gauge("gateway_operator_memory_peak_bytes", text, _OPERATOR, peak)
    text = "GPU memory of the running operators"
    yield _gauge("gateway_operator_gpu_memory_bytes", text, _OPERATOR, on_gpus.items())


def _processes(seen: Machine) -> Iterator[Metric]:
    roles = seen.roles.items()
    label = ("role",)
    yield _gauge(
        "gateway_processes",
        "Processes of the gateway",
        label,
        [((role,), usage.processes) for role, usage in roles],
    )
    yield _gauge(
        "gateway_process_threads",
        "Threads of the gateway's processes",
        label,
        [((role,), usage.threads) for role, usage in roles],
    )
    yield _gauge(
        "gateway_process_memory_bytes",
        "Resident memory of the gateway's processes",
        label,
        [((role,), usage.resident) for role, usage in roles],
    )
    yield _counter(
        "gateway_process_cpu_seconds",
        "CPU time of the gateway's processes",
        label,
        [((role,), usage.cpu_seconds) for role, usage in roles],
    )
    text = "CPU time that measuring the machine took, a part of the above"
    yield _counter("gateway_monitor_cpu_seconds", text, (), [((), seen.cost_seconds)])
