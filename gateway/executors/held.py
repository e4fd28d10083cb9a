"""A sandbox that holds its program back until it is released.

Inside, a shell stands at a gate: it says over a socket, its standard input, that it is there, waits
for a word, and becomes the program.  Meanwhile the pid namespace is opened and put under limits, so
the program never runs unlimited and can be ended as a whole: with the first process of its
namespace the kernel ends every other one.

If the gateway is killed while the shell waits, the socket ends and so does the shell.  Once it is
released, bubblewrap has tied the namespace's life to the gateway's thread (PR_SET_PDEATHSIG), which
it does too late for its own ``--block-fd`` to be the gate.  So no program outlives the gateway;
bubblewrap itself may, held for good in an early step, until :func:`procfs.kill_marked` finds it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import IO

from gateway.executors import limits, procfs
from gateway.executors.descriptors import memory_file, packed
from gateway.executors.limits import Cage
from gateway.executors.sandbox import Bubblewrap, Plan, SandboxError, passwd_files

log = logging.getLogger(__name__)

_GATE = ("/bin/sh", "-c", 'echo ready >&0 && read -r go && exec "$@" </dev/null', "operator")
"""The shell at the gate; the program and its arguments follow."""

SETUP_SECONDS = 60.0
"""Longest wait for the sandbox's namespaces."""


@dataclass
class Sandbox:
    """A running bubblewrap; made by :func:`hold`, closed by its stack."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    """What the program, and bubblewrap itself, write."""
    outer: int
    """Descriptor (pidfd) of bubblewrap."""
    init: int
    """Descriptor (pidfd) of the namespace's first process."""
    init_pid: int
    space: str
    """The pid namespace."""
    gate: socket.socket
    released: bool = False
    lost: bool = False
    """Never: bubblewrap itself tells how its program ended."""

    def confine(self, cage: Cage) -> bool:
        """Wait for the program at its gate and put all limits on it, before :meth:`release`.

        False if the sandbox failed on the way (a folder to show is missing, say).
        """
        self.gate.settimeout(SETUP_SECONDS)
        try:
            if not self.gate.recv(16):
                return False
            for pid in (self.init_pid, *procfs.children(self.init_pid, self.space)):
                limits.common_limits(pid)
                cage.enter(pid)
        except (ProcessLookupError, ConnectionError, TimeoutError):
            return False
        return self._tied()

    def _tied(self) -> bool:
        """Wait until bubblewrap's first process inside waits for the program.

        The step before that is the one that ties its life to ours.
        """
        deadline = time.monotonic() + SETUP_SECONDS
        while procfs.state(self.init_pid) != "S":
            if procfs.ended(self.init, 0.001) or time.monotonic() > deadline:
                return False
        return True

    def release(self) -> None:
        """Let the program be executed."""
        self.released = True
        with contextlib.suppress(ConnectionError):  # it was killed at the gate
            self.gate.sendall(b"go\n")

    def terminate(self) -> bool:
        """Ask every process of the program to end; False if there is none yet."""
        return procfs.signal_members(self.space, signal.SIGTERM, self.init_pid) > 0

    def kill(self) -> None:
        """End the whole process tree now; returns at once."""
        procfs.send(self.init, signal.SIGKILL)

    def finish(self) -> int:
        """Kill what is left, wait for the last process, return bubblewrap's exit code."""
        self.kill()
        # The kernel reports the namespace's first process as ended only after all others.
        while not procfs.ended(self.init, SETUP_SECONDS):
            log.warning("a killed operator does not end: it hangs inside the kernel")
            self.kill()
        code = self.process.wait()
        # Bubblewrap ended before it, so it is an orphan, and ours where we are the machine's init.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self.init, os.WEXITED | os.WNOHANG)
        return 128 - code if code < 0 else code


def hold(stack: contextlib.ExitStack, bwrap: Bubblewrap, plan: Plan, mark: str) -> Sandbox:
    """Start bubblewrap for ``plan``; when ``stack`` closes, no process of it is left.

    ``mark`` stands among its arguments, where :func:`procfs.kill_marked` finds it.  Raises
    :class:`SandboxError` when bubblewrap makes no namespace, OSError when the machine lacks
    something (processes, descriptors).
    """
    gate, inside = socket.socketpair()
    stack.enter_context(gate)
    stack.enter_context(inside)
    status_read, status_write = _pipe(stack)
    files = [memory_file(stack, data) for data in passwd_files()]
    arguments = memory_file(stack, packed(bwrap.arguments(plan, *files)) + b"\0")
    process = subprocess.Popen(
        [
            bwrap.path,
            # There is no such variable: the option only carries the mark, for all to see.
            *("--unsetenv", mark),
            *("--json-status-fd", str(status_write.fileno())),
            *("--args", str(arguments)),
            "--",
            *_GATE,
            *plan.command,
        ],
        stdin=inside.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={},
        pass_fds=(status_write.fileno(), arguments, *files),
    )
    inside.close()
    stack.callback(_reap, process)
    status_write.close()
    output = process.stdout
    if output is None:
        raise SandboxError("bubblewrap has no standard output")
    outer = os.pidfd_open(process.pid)
    stack.callback(os.close, outer)
    pid = _child_pid(status_read)
    init = None if pid is None else procfs.open_process(pid)
    if pid is None or init is None:
        raise SandboxError(_complaint(process, output))
    stack.callback(os.close, init)
    space = procfs.namespace(pid)
    if space is None or space == procfs.namespace(os.getpid()):
        raise SandboxError(_complaint(process, output))
    sandbox = Sandbox(process, output, outer, init, pid, space, gate)
    stack.callback(sandbox.finish)
    return sandbox


def _pipe(stack: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    return (
        stack.enter_context(os.fdopen(reader, "rb", 0)),
        stack.enter_context(os.fdopen(writer, "wb", 0)),
    )


def _child_pid(status: IO[bytes]) -> int | None:
    """The namespace's first process, as bubblewrap reports it; None if it ended before."""
    text = b""
    deadline = time.monotonic() + SETUP_SECONDS
    while b"\n" not in text:
        ready, _, _ = select.select([status], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(status.fileno(), 4096) if ready else b""
        if not piece:
            return None
        text += piece
    pid = json.loads(text.splitlines()[0]).get("child-pid")
    return pid if isinstance(pid, int) else None


def _complaint(process: subprocess.Popen[bytes], output: IO[bytes]) -> str:
    process.kill()
    lines = output.read(8192).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "bubblewrap ended without a word"


def _reap(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
