"""How an operator is kept within the memory it asked for.

In order of preference: a control group of version 2, one of version 1, and, where neither may be
made, a watch over the tree's memory with a limit on data segments behind it.  A control group
counts and ends exactly; the watch looks ten times a second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.executors import procfs

log = logging.getLogger(__name__)

MAX_PROCESSES = 1024
"""Most processes and threads of one operator."""
MAX_FILES = 8192
"""Most files that one of its processes holds open."""
WATCH_SECONDS = 0.1
"""Between two looks of the watch."""

_ROOT = Path("/sys/fs/cgroup")


class Cage(Protocol):
    """Limits of one operator, from before its start until its last process ended."""

    watched: bool
    """True when :meth:`exceeded` must be asked while the operator runs."""

    def enter(self, pid: int) -> None:
        """Put the process, and so all it will start, under the limits."""

    def exceeded(self, space: str) -> bool:
        """True when the operator wanted more than it asked for; ``space`` is its pid namespace."""

    def close(self) -> None:
        """Remove what was made; the operator's processes are gone."""


class Limiter(Protocol):
    """Makes cages."""

    @property
    def mode(self) -> str:
        """One sentence for people: how memory is enforced."""

    def cage(self, name: str, memory_mb: int) -> Cage:
        """Limits for one operator; ``name`` is unique on this machine and fit for a file name."""

    def sweep(self, prefix: str) -> None:
        """Remove what a dead gateway left under names that start with ``prefix``."""


def common_limits(pid: int) -> None:
    """Limits that need no control group: files, processes, no core dumps (they hold patients)."""
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    _lower(pid, resource.RLIMIT_NOFILE, MAX_FILES)
    _lower(pid, resource.RLIMIT_NPROC, MAX_PROCESSES)


def _lower(pid: int, what: int, most: int) -> None:
    _, hard = resource.prlimit(pid, what)
    limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.prlimit(pid, what, (limit, limit))


def detect(root: Path = _ROOT) -> Limiter:
    """The best way that works on this machine, tried out by making a group."""
    for make in (_Version2.find, _Version1.find):
        limiter = make(root)
        if limiter is not None:
            return limiter
    return Watch()


def _own(controller: str) -> str | None:
    """Our own group of a hierarchy; ``controller`` is empty for version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    return None


@dataclass
class _Group:
    """A cage made of one or more control group folders."""

    folders: tuple[Path, ...]
    counter: Path
    """File with a line ``oom_kill <count>``."""
    watched: bool = False

    def enter(self, pid: int) -> None:
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def exceeded(self, space: str) -> bool:  # noqa: ARG002 - the kernel counted
        for line in self.counter.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count) > 0
        return False

    def close(self) -> None:
        for folder in self.folders:
            _remove(folder)


@dataclass(frozen=True)
class _Version2:
    """Control groups of version 2 in a part of the tree that is ours to divide."""

    base: Path

    @property
    def mode(self) -> str:
        return "memory is limited by control groups (version 2)"

    @classmethod
    def find(cls, root: Path) -> Limiter | None:
        path = _own("")
        base = root / (path or "/").lstrip("/")
        try:
            if "memory" not in (base / "cgroup.controllers").read_text().split():
                return None
            (base / "cgroup.subtree_control").write_text("+memory +pids")
        except OSError:
            return None
        return _tried(cls(base))

    def cage(self, name: str, memory_mb: int) -> Cage:
        folder = _make(self.base / name)
        (folder / "memory.max").write_text(str(memory_mb << 20))
        for file, value in (
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", str(MAX_PROCESSES)),
        ):
            with contextlib.suppress(OSError):
                (folder / file).write_text(value)
        return _Group((folder,), folder / "memory.events")

    def sweep(self, prefix: str) -> None:
        _sweep(self.base, prefix)


@dataclass(frozen=True)
class _Version1:
    """Control groups of version 1: memory, and processes where that may be written too."""

    memory: Path
    pids: Path | None

    @property
    def mode(self) -> str:
        return "memory is limited by control groups (version 1)"

    @classmethod
    def find(cls, root: Path) -> Limiter | None:
        memory = _version1_base(root, "memory")
        return None if memory is None else _tried(cls(memory, _version1_base(root, "pids")))

    def cage(self, name: str, memory_mb: int) -> Cage:
        folder = _make(self.memory / name)
        limit = str(memory_mb << 20)
        (folder / "memory.limit_in_bytes").write_text(limit)
        with contextlib.suppress(OSError):  # there only when the kernel counts swap
            (folder / "memory.memsw.limit_in_bytes").write_text(limit)
        folders = [folder]
        if self.pids is not None:
            with contextlib.suppress(OSError):
                folders.append(_make(self.pids / name))
                (self.pids / name / "pids.max").write_text(str(MAX_PROCESSES))
        return _Group(tuple(folders), folder / "memory.oom_control")

    def sweep(self, prefix: str) -> None:
        for base in (self.memory, self.pids):
            if base is not None:
                _sweep(base, prefix)


def _version1_base(root: Path, controller: str) -> Path | None:
    path = _own(controller)
    if path is None:
        return None
    base = root / controller / path.lstrip("/")
    return base if os.access(base, os.W_OK) and (base / "cgroup.procs").exists() else None


def _tried(limiter: _Version1 | _Version2) -> Limiter | None:
    """``limiter`` if it can really make a group, else None."""
    try:
        limiter.cage(f"gateway-trial-{os.getpid()}-{time.monotonic_ns()}", 64).close()
    except OSError:
        return None
    return limiter


def _sweep(base: Path, prefix: str) -> None:
    for folder in base.glob(f"{prefix}*"):
        _remove(folder)


def _make(folder: Path) -> Path:
    """Make a group; one of a dead gateway, with its counts, goes first."""
    if folder.exists():
        _remove(folder)
    folder.mkdir()
    return folder


def _remove(folder: Path) -> None:
    """Remove a group; the kernel lets go of it a moment after its last process ended."""
    for _ in range(50):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return
    log.warning("a control group could not be removed", extra={"group": folder.name})


class Watch:
    """No control group may be made: look at the tree's memory while it runs."""

    @property
    def mode(self) -> str:
        """One sentence for people."""
        return "memory is limited by a watch (no control group may be made here)"

    def cage(self, name: str, memory_mb: int) -> Cage:  # noqa: ARG002 - nothing is made
        """Limits for one operator."""
        return _WatchCage(memory_mb << 20)

    def sweep(self, prefix: str) -> None:
        """Nothing was made."""


@dataclass
class _WatchCage:
    limit: int
    watched: bool = True

    def enter(self, pid: int) -> None:
        # Only a stop for what grows faster than the watch looks; address space is no measure,
        # libraries reserve far more of it than they use.
        most = 2 * self.limit + (512 << 20)
        resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))

    def exceeded(self, space: str) -> bool:
        return sum(map(procfs.memory_of, procfs.members(space))) > self.limit

    def close(self) -> None:
        return
