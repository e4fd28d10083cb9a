"""Processes of this machine, told apart without races.

A number may pass from a dead process to a new one at any time, so a process is opened first
(``pidfd``) and looked at after.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import Transient


class StillThere(Transient):
    """A process did not end though it was killed (it hangs inside the kernel)."""


def open_process(pid: int) -> int | None:
    """A descriptor of process ``pid``, or None if it is gone; the caller closes it."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def send(pidfd: int, number: signal.Signals) -> None:
    """Signal the process; a dead one is left alone."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def ended(pidfd: int, timeout: float) -> bool:
    """Wait up to ``timeout`` seconds for the process to end; True if it did."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0, int(timeout * 1000))))


def pids() -> Iterator[int]:
    """Every process there is."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            yield int(path.name)


def namespace(pid: int) -> str | None:
    """The process's pid namespace; None if it is gone or not ours to see."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def state(pid: int) -> str | None:
    """The process's state, a letter as in proc(5): ``S`` is sleeping; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][0]
    except (OSError, IndexError):
        return None


def parent_of(pid: int) -> int | None:
    """The process that ``pid`` is a child of; None if it is gone."""
    try:
        return int(
            Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()[1]
        )
    except (OSError, IndexError, ValueError):
        return None


def children(pid: int, space: str) -> list[int]:
    """Children of the first process ``pid`` of the namespace ``space``."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_bytes()
    except OSError:
        # Some kernels have no such file; here nothing else can be in the namespace yet.
        return [p for p in members(space) if p != pid]
    return [int(p) for p in text.split()]


def members(space: str) -> list[int]:
    """Processes of one pid namespace, as this machine numbers them."""
    return [pid for pid in pids() if namespace(pid) == space]


def signal_members(space: str, number: signal.Signals, spare: int) -> int:
    """Signal every process of the namespace ``space`` but ``spare``; returns how many."""
    count = 0
    for pid in members(space):
        pidfd = None if pid == spare else open_process(pid)
        if pidfd is None:
            continue
        try:
            if namespace(pid) == space:
                send(pidfd, number)
                count += 1
        finally:
            os.close(pidfd)
    return count


def memory_of(pid: int) -> int:
    """Bytes of memory that are this process's share (PSS); 0 if it is gone.

    Where the share is not shown, its resident size, which counts shared pages in full.
    """
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def kill_marked(mark: bytes, timeout: float = 10.0) -> int:
    """Kill every process with ``mark`` among its arguments and wait until none is left.

    Returns how many there were.  Raises :class:`StillThere` after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    killed: set[int] = set()
    while found := _marked(mark):
        if time.monotonic() > deadline:
            for _, pidfd in found:
                os.close(pidfd)
            raise StillThere(f"{len(found)} processes of a dead attempt do not end")
        for pid, pidfd in found:
            killed.add(pid)
            send(pidfd, signal.SIGKILL)
        for _, pidfd in found:
            ended(pidfd, deadline - time.monotonic())
            os.close(pidfd)
    return len(killed)


def _marked(mark: bytes) -> list[tuple[int, int]]:
    found = []
    for pid in pids():
        if not _has(pid, mark):
            continue
        pidfd = open_process(pid)
        if pidfd is None:
            continue
        if _has(pid, mark):
            found.append((pid, pidfd))
        else:
            os.close(pidfd)
    return found


def _has(pid: int, mark: bytes) -> bool:
    try:
        # Readable for every user, unlike the environment.
        return mark in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
