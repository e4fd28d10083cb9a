"""One sandboxed program, from its start until its last process ended.

The thread that calls :func:`launch` stays until then: the kernel kills a sandbox when the *thread*
that made it ends (``--die-with-parent``), which is also what ends it when the gateway is killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Protocol

from gateway.executors.held import hold
from gateway.executors.limits import WATCH_SECONDS, Cage
from gateway.executors.logfile import LogFile
from gateway.executors.sandbox import Bubblewrap, Plan, SandboxError
from gateway.executors.stopping import StopFlag
from gateway.executors.verdict import Outcome

_CHUNK = 1 << 16
_ASK_SECONDS = 0.02
"""Until a program that is not executed yet is asked again to end."""


@dataclass(frozen=True)
class Guard:
    """What watches over one program: its limits, its log, its stop flag, seconds of grace."""

    cage: Cage
    log: LogFile
    stop: StopFlag
    grace: float
    attach: Callable[[int], None] | None = None
    """Called with a process of the sandbox, as this machine numbers it, before the program's turn;
    OSError ends the sandbox."""


class Cell(Protocol):
    """A held program: a :class:`~gateway.executors.held.Sandbox`, or a warm one."""

    @property
    def output(self) -> IO[bytes]:
        """What the program writes."""

    @property
    def outer(self) -> int:
        """Descriptor that is readable when the program ended."""

    @property
    def init(self) -> int:
        """Descriptor (pidfd) of the namespace's first process."""

    @property
    def init_pid(self) -> int:
        """Its number."""

    @property
    def space(self) -> str:
        """The pid namespace."""

    @property
    def released(self) -> bool:
        """True when the program's turn came."""

    @property
    def lost(self) -> bool:
        """True when nobody knows how it ended."""

    def confine(self, cage: Cage) -> bool:
        """Put all limits on it; False if it is gone."""

    def release(self) -> None:
        """Let the program begin."""

    def terminate(self) -> bool:
        """Ask every process of it to end; False if there is none yet."""

    def kill(self) -> None:
        """End all of it now; returns at once."""

    def finish(self) -> int:
        """Kill what is left, wait for the last process, return the exit code."""


def launch(
    bwrap: Bubblewrap, plan: Plan, guard: Guard, mark: str, started: Callable[[float], None]
) -> Outcome:
    """Run ``plan``; returns when no process of it is left.

    ``started`` is called as soon as the program may execute, with that time (seconds since the
    epoch).  Raises what :func:`gateway.executors.held.hold` raises.
    """
    with contextlib.ExitStack() as stack:
        return conduct(hold(stack, bwrap, plan, mark), guard, started)


def conduct(cell: Cell, guard: Guard, started: Callable[[float], None]) -> Outcome:
    """Run what is held in ``cell``, as :func:`launch` does; whoever made it closes it."""
    if cell.confine(guard.cage) and not guard.stop.is_set:
        if guard.attach is not None:
            guard.attach(cell.init_pid)
        at = time.time()
        cell.release()
        started(at)
    return _Wait(cell, guard).run()


class _Wait:
    """The loop of the thread that waits for one program."""

    def __init__(self, sandbox: Cell, guard: Guard) -> None:
        self._sandbox = sandbox
        self._guard = guard
        self._kill_at: float | None = None
        self._asked = True
        self._stopped = False
        self._out_of_memory = False
        self._running = True
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {
            sandbox.output.fileno(): self._read,
            guard.stop.fileno(): self._stop,
            # Whichever ends first ends the other: bubblewrap ends with the main process, its
            # namespace with its first one.
            sandbox.outer: self._end,
            sandbox.init: self._end,
        }
        for fd in self._handlers:
            self._poll.register(fd, select.POLLIN)

    def run(self) -> Outcome:
        while self._running:
            for fd, _ in self._poll.poll(self._timeout()):
                self._handlers[fd](fd)
            self._check_clock()
        code = self._sandbox.finish()
        self._drain()
        cage = self._guard.cage
        memory = self._out_of_memory or (not cage.watched and cage.exceeded(self._sandbox.space))
        if self._sandbox.lost and not self._stopped and not memory:
            raise SandboxError("its warm parent ended")
        return Outcome(code, self._sandbox.released, self._stopped, memory)

    def _timeout(self) -> float | None:
        """Milliseconds until the clock must be looked at; None = no need."""
        waits = []
        if self._guard.cage.watched:
            waits.append(WATCH_SECONDS)
        if self._kill_at is not None:
            waits.append(max(0.0, self._kill_at - time.monotonic()))
        if not self._asked:
            waits.append(_ASK_SECONDS)
        return min(waits) * 1000 + 1 if waits else None

    def _check_clock(self) -> None:
        if not self._asked:
            self._asked = self._sandbox.terminate()
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            self._sandbox.kill()
        cage = self._guard.cage
        if cage.watched and not self._out_of_memory and cage.exceeded(self._sandbox.space):
            self._out_of_memory = True
            self._sandbox.kill()

    def _read(self, fd: int) -> None:
        data = os.read(fd, _CHUNK)
        if data:
            self._guard.log.write(data)
        else:
            self._poll.unregister(fd)

    def _stop(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._stopped = True
        if self._sandbox.released:
            self._asked = self._sandbox.terminate()
            self._kill_at = time.monotonic() + self._guard.grace
        else:
            self._sandbox.kill()

    def _end(self, _fd: int) -> None:
        self._running = False

    def _drain(self) -> None:
        """Take what is left in the pipe; nobody is left to write more."""
        while data := os.read(self._sandbox.output.fileno(), _CHUNK):
            self._guard.log.write(data)
