"""A sandbox that holds its program back until it is released.

bubblewrap waits for a byte (``--block-fd``) before it executes the program.  Meanwhile its pid
namespace is opened and put under limits, so the program never runs unlimited and can be ended as a
whole: with the first process of its namespace the kernel ends every other one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import IO

from gateway.executors import limits, procfs
from gateway.executors.limits import Cage
from gateway.executors.sandbox import Bubblewrap, Plan, SandboxError, passwd_files

log = logging.getLogger(__name__)

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
    gate_read: IO[bytes]
    gate_write: IO[bytes]
    released: bool = False

    def confine(self, cage: Cage) -> bool:
        """Put all limits on it, before :meth:`release`; False if it failed already."""
        try:
            limits.common_limits(self.init_pid)
            cage.enter(self.init_pid)
        except ProcessLookupError:
            return False
        return True

    def release(self) -> None:
        """Let the program be executed."""
        self.released = True
        self.gate_write.write(b"1")

    def ran(self) -> bool:
        """True when the program's turn came; to be asked after its end.

        The byte is still there when bubblewrap failed before (a folder to show was missing).
        """
        if not self.released:
            return False
        ready, _, _ = select.select([self.gate_read], [], [], 0)
        return not ready

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
    gate_read, gate_write = _pipe(stack)
    status_read, status_write = _pipe(stack)
    files = [_memory_file(stack, data) for data in passwd_files()]
    packed = b"".join(os.fsencode(a) + b"\0" for a in bwrap.arguments(plan, *files))
    arguments = _memory_file(stack, packed)
    passed = (gate_read.fileno(), status_write.fileno(), arguments, *files)
    process = subprocess.Popen(
        [
            bwrap.path,
            # There is no such variable: the option only carries the mark, for all to see.
            *("--unsetenv", mark),
            *("--json-status-fd", str(status_write.fileno())),
            *("--block-fd", str(gate_read.fileno())),
            *("--args", str(arguments)),
            # Whatever the definition's command begins with, it is no option of bubblewrap's.
            "--",
            *plan.command,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={},
        pass_fds=passed,
    )
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
    sandbox = Sandbox(process, output, outer, init, pid, space, gate_read, gate_write)
    stack.callback(sandbox.finish)
    return sandbox


def _pipe(stack: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    return (
        stack.enter_context(os.fdopen(reader, "rb", 0)),
        stack.enter_context(os.fdopen(writer, "wb", 0)),
    )


def _memory_file(stack: contextlib.ExitStack, data: bytes) -> int:
    """A descriptor to read ``data`` from."""
    file = stack.enter_context(os.fdopen(os.memfd_create("gateway"), "w+b", 0))
    file.write(data)
    file.seek(0)
    return file.fileno()


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
