"""What the kernel tells of this machine and its processes (proc(5)); nothing is kept here.

A process may end at any time: whatever is asked of one that is gone is nothing, and no error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_ENVIRONMENT_BYTES = 1 << 20
_SECTOR = 512
"""The unit of the kernel's disk counters, whatever the disk's own."""


@dataclass(frozen=True)
class CpuTimes:
    """Seconds of all cores together since the machine started."""

    user: float
    system: float
    iowait: float
    steal: float
    """Taken by the host of a virtual machine."""
    idle: float


@dataclass(frozen=True)
class DiskTraffic:
    """Bytes since the machine started."""

    read: int
    written: int


def pids() -> set[int]:
    """Every process there is."""
    # A path object for each would take longer than all the rest.
    return {int(name) for name in os.listdir(_PROC) if name.isdigit()}  # noqa: PTH208


def stat(pid: int) -> list[bytes]:
    """The fields of its ``stat`` from its state (the third) on; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, without that of its children."""
    return sum(map(int, stat(pid)[11:13])) / os.sysconf("SC_CLK_TCK")


def life(pid: int) -> tuple[bool, float]:
    """Whether a process still runs, and its CPU time with that of children it saw end.

    One that ended keeps its time until its parent takes note of its end.
    """
    fields = stat(pid)
    runs = bool(fields) and fields[0] not in (b"Z", b"X")
    return runs, sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def parent(pid: int) -> int:
    """Its parent; 0 when it has none or is gone."""
    fields = stat(pid)
    return int(fields[1]) if fields else 0


def resident(pid: int) -> int:
    """Bytes it has in memory, shared ones in full."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def threads(pid: int) -> int:
    """How many threads it has."""
    fields = stat(pid)
    return int(fields[17]) if fields else 0


def arguments(pid: int) -> list[bytes]:
    """Its command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def program(pid: int) -> str:
    """The name of its program, at most 15 bytes; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def environment(pid: int) -> list[bytes]:
    """Its environment as it was at its start; empty when it is gone or not ours to see."""
    try:
        with Path(f"/proc/{pid}/environ").open("rb") as file:
            return file.read(_ENVIRONMENT_BYTES).split(b"\0")
    except OSError:
        return []


def cpu_times() -> CpuTimes:
    """What the cores did since the machine started."""
    words = (_PROC / "stat").read_bytes().splitlines()[0].split()[1:]
    user, nice, system, idle, iowait, irq, softirq, steal, *_ = (
        int(word) / os.sysconf("SC_CLK_TCK") for word in [*words, *[b"0"] * 8]
    )
    return CpuTimes(user + nice, system + irq + softirq, iowait, steal, idle)


def disk_traffic(folder: Path) -> DiskTraffic | None:
    """What went over the disk below ``folder``; None where the kernel does not tell.

    It does not for file systems without one disk of their own: network shares, overlays, pools.
    """
    try:
        device = folder.stat().st_dev
        path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        words = path.read_bytes().split()
        return DiskTraffic(int(words[2]) * _SECTOR, int(words[6]) * _SECTOR)
    except (OSError, IndexError):
        return None


def lock_holders() -> set[tuple[int, int]]:
    """Process and file number (inode) of every whole-file lock (flock) held for writing."""
    try:
        lines = (_PROC / "locks").read_text().splitlines()
    except OSError:
        return set()
    words = [line.split() for line in lines]
    return {
        (int(w[4]), int(w[5].rpartition(":")[2]))
        for w in words
        if w[1:4] == ["FLOCK", "ADVISORY", "WRITE"]
    }
