"""The GPUs of this machine, as NVIDIA's management library (NVML) tells them.

NVML comes with the driver: it is loaded at the first look, and a machine without it has no GPUs,
which is no error.  What a GPU does not tell (a slice of one, an old card) is None, never a zero.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Until NVML is tried again after it was not there or failed."""


@dataclass(frozen=True)
class Device:
    """One GPU; these do not change while the machine runs."""

    index: int
    """As NVML counts: in the order of the bus, which is not always that of the device files."""
    minor: int
    """The device file is ``/dev/nvidia<minor>``."""
    uuid: str
    model: str
    pcie_id: int
    """Its place on the bus in 32 bits: domain (16), bus (8), device (5), function (3; 0)."""


@dataclass(frozen=True)
class GpuProcess:
    """A process that holds memory of a GPU."""

    pid: int
    memory: int | None
    """Bytes; None = the driver does not tell."""


@dataclass(frozen=True)
class Reading:
    """What one GPU was doing; memory in bytes, shares of time 0…1 of the driver's last period."""

    device: Device
    at: float
    """Unix time."""
    busy: float | None
    """Share of the time in which a kernel ran."""
    memory_busy: float | None
    """Share of the time in which its memory was read or written."""
    memory_total: int
    memory_used: int
    memory_free: int
    bar1_used: int | None
    bar1_free: int | None
    celsius: int | None
    watts: float | None
    processes: tuple[GpuProcess, ...]


class Nvml:
    """The driver's library; any thread may ask, one at a time is answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[tuple[Device, Any]] | None = None
        self._retry_at = 0.0
        self._fault: str | None = None
        self._absent = False

    @property
    def fault(self) -> str | None:
        """What the driver said when it was last asked in vain; None = it works, or is not there."""
        return None if self._absent else self._fault

    @property
    def absent(self) -> bool:
        """True when the last look found no driver on this machine."""
        return self._absent

    def devices(self) -> tuple[Device, ...]:
        """The GPUs there are; empty where there is no driver."""
        with self._lock:
            return tuple(device for device, _ in self._ready())

    def read(self) -> tuple[Reading, ...]:
        """What every GPU does now.

        One that fails is left out and named in the log and in :attr:`fault`; all are looked for
        anew after :data:`RETRY_SECONDS`.
        """
        with self._lock:
            found = []
            for device, handle in self._ready():
                try:
                    found.append(_read(device, handle))
                except _error() as error:
                    self._failed(f"GPU {device.index}: {error}")
            return tuple(found)

    def close(self) -> None:
        """Let the driver go."""
        with self._lock:
            self._shut()

    def _ready(self) -> list[tuple[Device, Any]]:
        now = time.monotonic()
        if self._fault is not None and now >= self._retry_at:
            self._shut()
        if self._open is None and now >= self._retry_at:
            self._look_for_all()
        return self._open or []

    def _look_for_all(self) -> None:
        import pynvml

        before, self._fault = self._fault, None
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._absent = error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
            self._failed(str(error), before)
            return
        self._absent = False
        self._open = []
        try:
            for index in range(pynvml.nvmlDeviceGetCount()):
                self._add(index)
        except pynvml.NVMLError as error:
            self._failed(str(error), before)

    def _add(self, index: int) -> None:
        """Take one GPU in; one that has fallen off its bus must not hide the others."""
        import pynvml

        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            device = _device(index, handle)
        except pynvml.NVMLError as error:
            self._failed(f"GPU {index}: {error}")
        else:
            if self._open is not None:
                self._open.append((device, handle))

    def _failed(self, fault: str, before: str | None = None) -> None:
        """Remember and tell, once for a fault that stays."""
        if fault not in (before, self._fault) and not self._absent:
            log.warning("NVML fails", extra={"fault": fault})
        self._fault = fault
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _shut(self) -> None:
        if self._open is None:
            return
        import pynvml

        self._open = None
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            log.warning("NVML cannot be shut down", extra={"fault": str(error)})


def _error() -> type[Exception]:
    import pynvml

    kind: type[Exception] = pynvml.NVMLError
    return kind


def _device(index: int, handle: Any) -> Device:
    import pynvml

    place = pynvml.nvmlDeviceGetPciInfo(handle)
    minor = _told(pynvml.nvmlDeviceGetMinorNumber, handle)
    return Device(
        index=index,
        minor=index if minor is None else minor,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        model=_told(pynvml.nvmlDeviceGetName, handle) or "",
        pcie_id=(place.domain & 0xFFFF) << 16 | place.bus << 8 | place.device << 3,
    )


def _read(device: Device, handle: Any) -> Reading:
    import pynvml

    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    busy = _told(pynvml.nvmlDeviceGetUtilizationRates, handle)
    bar1 = _told(pynvml.nvmlDeviceGetBAR1MemoryInfo, handle)
    milliwatts = _told(pynvml.nvmlDeviceGetPowerUsage, handle)
    return Reading(
        device=device,
        at=time.time(),
        busy=None if busy is None else busy.gpu / 100,
        memory_busy=None if busy is None else busy.memory / 100,
        memory_total=memory.total,
        memory_used=memory.used,
        memory_free=memory.free,
        bar1_used=None if bar1 is None else bar1.bar1Used,
        bar1_free=None if bar1 is None else bar1.bar1Free,
        celsius=_told(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        watts=None if milliwatts is None else milliwatts / 1000,
        processes=_processes(handle),
    )


def _processes(handle: Any) -> tuple[GpuProcess, ...]:
    """Each process once: one that computes and draws is in two lists with the same memory."""
    import pynvml

    # A driver of before 2022 has only the second version of these.
    computing = _first_told(
        handle,
        pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
        pynvml.nvmlDeviceGetComputeRunningProcesses_v2,
    )
    drawing = _first_told(
        handle,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2,
    )
    both = _by_pid(drawing) | _by_pid(computing)
    return tuple(GpuProcess(pid, memory) for pid, memory in sorted(both.items()))


def _first_told(handle: Any, *ways: Callable[..., Any]) -> Iterable[Any]:
    answers = (_told(way, handle) for way in ways)
    return next((answer for answer in answers if answer is not None), ())


def _by_pid(entries: Iterable[Any]) -> dict[int, int | None]:
    """Memory of each process: one with several slices of a GPU has an entry for each."""
    found: dict[int, int | None] = {}
    for entry in entries:
        more = entry.usedGpuMemory
        had = found.get(entry.pid)
        found[entry.pid] = had if more is None else (had or 0) + more
    return found


def _told(ask: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None where this GPU or driver has none; raises NVMLError for the rest."""
    import pynvml

    try:
        return ask(*arguments)
    except pynvml.NVMLError as error:
        if error.value in (
            pynvml.NVML_ERROR_NOT_SUPPORTED,
            pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            pynvml.NVML_ERROR_NO_PERMISSION,
        ):
            return None
        raise
