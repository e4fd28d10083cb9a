"""What the machine has: cores, memory, disk."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_NVIDIA_DEVICE = re.compile(r"nvidia\d+")


@dataclass(frozen=True)
class Machine:
    """What jobs can use together, but for GPUs (:mod:`gateway.monitor.nvml`)."""

    cpu: int
    """Cores this process may run on."""
    memory_mb: int
    """Memory in MB (2^20 bytes), capped by the cgroup this process runs in."""


@dataclass(frozen=True)
class Memory:
    """Memory in bytes, capped by the cgroup this process runs in."""

    total: int
    available: int
    """What programs can still get without swapping; caches are given up for them."""


@dataclass(frozen=True)
class Disk:
    """The file system below a folder, in bytes."""

    total: int
    free: int
    """What an unprivileged program may still write."""

    @property
    def used_percent(self) -> float:
        """How full it is for an unprivileged program."""
        return 100.0 * (1 - self.free / self.total) if self.total else 100.0


def look(cgroup: Path = _CGROUP) -> Machine:
    """Look at this machine; the folder is for tests."""
    return Machine(len(os.sched_getaffinity(0)), memory(cgroup).total // 2**20)


def device_files(devices: Path = Path("/dev")) -> int:
    """How many NVIDIA device files there are: GPUs that the kernel knows, whatever NVML says."""
    return sum(1 for path in devices.glob("nvidia*") if _NVIDIA_DEVICE.fullmatch(path.name))


def disk(folder: Path) -> Disk:
    """The disk below ``folder``, or below its nearest ancestor that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return Disk(usage.total, usage.free)


def memory(cgroup: Path = _CGROUP) -> Memory:
    """The memory of this machine or container; the folder is for tests."""
    total, available = _physical()
    limit = _number(cgroup, "memory.max", "memory/memory.limit_in_bytes")
    if limit is None or limit >= total:
        return Memory(total, available)
    used = _number(cgroup, "memory.current", "memory/memory.usage_in_bytes") or 0
    return Memory(limit, max(0, min(available, limit - used + _cached(cgroup))))


def _physical() -> tuple[int, int]:
    found = {}
    for line in Path("/proc/meminfo").read_bytes().splitlines():
        name, _, value = line.partition(b":")
        found[name] = int(value.split()[0]) * 1024
    return found[b"MemTotal"], found[b"MemAvailable"]


def _number(cgroup: Path, *names: str) -> int | None:
    """The number in the first of these files that has one."""
    for name in names:
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return int(text)
    return None


def _cached(cgroup: Path) -> int:
    """Bytes of files in a cgroup's memory that nobody read lately."""
    for name, word in (
        ("memory.stat", "inactive_file"),
        ("memory/memory.stat", "total_inactive_file"),
    ):
        try:
            lines = (cgroup / name).read_text().splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.split()[0] == word)
    return 0
