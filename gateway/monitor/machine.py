"""What the machine has: cores, memory, GPUs, disk."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_NVIDIA_DEVICE = re.compile(r"nvidia\d+")


@dataclass(frozen=True)
class Machine:
    """What jobs can use together."""

    cpu: int
    """Cores this process may run on."""
    memory_mb: int
    """Memory in MB (2^20 bytes), capped by the cgroup this process runs in."""
    gpus: int
    """NVIDIA devices."""


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


def look(devices: Path = Path("/dev"), cgroup: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Look at this machine; the folders are for tests."""
    return Machine(
        cpu=len(os.sched_getaffinity(0)),
        memory_mb=_memory(cgroup) // 2**20,
        gpus=sum(1 for path in devices.glob("nvidia*") if _NVIDIA_DEVICE.fullmatch(path.name)),
    )


def disk(folder: Path) -> Disk:
    """The disk below ``folder``, or below its nearest ancestor that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return Disk(usage.total, usage.free)


def _memory(cgroup: Path) -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return min(physical, int(text))
    return physical
