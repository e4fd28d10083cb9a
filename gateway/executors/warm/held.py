"""A sandbox in which a fork of a warm parent waits; like :mod:`gateway.executors.held`.

The sandbox is made first and is the same as for a cold start; a shell stands in for the program and
keeps the namespaces.  The fork that becomes the operator joins them, goes under the same limits,
loses all rights, and waits for its word.  With the first process of the sandbox the kernel ends the
operator like every other process in it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO

from gateway.executors import limits, procfs
from gateway.executors.descriptors import memory_file, packed
from gateway.executors.limits import Cage
from gateway.executors.sandbox import Plan, SandboxError, passwd_files
from gateway.executors.warm.messages import sender_of, socket_pair
from gateway.executors.warm.parent import Parent

log = logging.getLogger(__name__)

# Politely asked to end, it must stay: with it the operator would end at once.
_PLACE = ("/bin/sh", "-c", "trap '' TERM INT HUP; echo ready >&0; read -r end", "operator")
SETUP_SECONDS = 30.0
"""Longest wait for the sandbox, and for the fork in it."""
_TOLD_SECONDS = 5.0


@dataclass
class WarmSandbox:
    """A held operator; made by :func:`hold`, closed by its stack."""

    output: IO[bytes]
    run: socket.socket
    """The fork's word that it is there, ours that it may begin, its exit code."""
    init: int
    init_pid: int
    space: str
    members: tuple[int, ...]
    """The operator and the shell that stands in, as this machine numbers them."""
    released: bool = False
    lost: bool = False
    """Its parent died, so nobody knows how it ended."""
    _confined: bool = False
    _code: int | None = None

    @property
    def outer(self) -> int:
        """Readable when the operator ended."""
        return self.run.fileno()

    def confine(self, cage: Cage) -> bool:
        """Put all limits on it, before :meth:`release`; False if it is gone."""
        if not self._confined:
            try:
                for pid in (self.init_pid, *self.members):
                    limits.common_limits(pid)
                    cage.enter(pid)
            except ProcessLookupError:
                return False
            self._confined = True
        return not procfs.ended(self.init, 0)

    def release(self) -> None:
        """Let the operator begin."""
        self.released = True
        with contextlib.suppress(OSError):  # it was killed
            self.run.send(b"go")

    def terminate(self) -> bool:
        """Ask every process of the operator to end; False if there is none."""
        return procfs.signal_members(self.space, signal.SIGTERM, self.init_pid) > 0

    def kill(self) -> None:
        """End the whole process tree now; returns at once."""
        procfs.send(self.init, signal.SIGKILL)

    def finish(self) -> int:
        """Kill what is left, wait for the last process, return the operator's exit code."""
        self.kill()
        while not procfs.ended(self.init, SETUP_SECONDS):
            log.warning("a killed operator does not end: it hangs inside the kernel")
            self.kill()
        if self._code is None:
            self._code = self._told()
        return self._code

    def _told(self) -> int:
        self.run.settimeout(_TOLD_SECONDS)
        try:
            word = self.run.recv(16)
        except OSError:
            word = b""
        if word.isdigit():
            return int(word)
        self.lost = self.released
        return 128 + signal.SIGKILL


def hold(
    stack: contextlib.ExitStack, parent: Parent, plan: Plan, arguments: Sequence[str], mark: str
) -> WarmSandbox:
    """Make the sandbox of ``plan`` and a fork of ``parent`` in it, which waits.

    ``arguments`` are those of the operator's module.  When ``stack`` closes, no process of it is
    left.  Raises :class:`SandboxError` or OSError when it cannot be made.
    """
    stack.enter_context(parent.use())
    gate, gate_inside = _pair(stack, socket.SOCK_STREAM)
    run, run_inside = _pair(stack, socket.SOCK_SEQPACKET)
    reader, writer = (stack.enter_context(os.fdopen(fd, "rb", 0)) for fd in os.pipe2(os.O_CLOEXEC))
    with gate_inside, run_inside, writer:
        _make(parent, plan, mark, gate_inside, writer.fileno())
        gate_inside.close()
        place = _answer(gate, b"ready\n", reader)
        init_pid = procfs.parent_of(place)
        init = None if init_pid is None else procfs.open_process(init_pid)
        if init is None or init_pid is None:
            raise SandboxError("the sandbox ended while it was made")
        stack.callback(os.close, init)
        space = procfs.namespace(init_pid)
        if space is None or space in {procfs.namespace(os.getpid()), None}:
            raise SandboxError("the sandbox has no processes of its own")
        sandbox = WarmSandbox(reader, run, init, init_pid, space, (place,))
        stack.callback(sandbox.finish)
        _fork(parent, plan, arguments, (init, writer.fileno(), run_inside.fileno()))
    return _with_operator(stack, sandbox, _answer(run, b"ready", None))


def _with_operator(stack: contextlib.ExitStack, made: WarmSandbox, pid: int) -> WarmSandbox:
    if procfs.namespace(pid) != made.space:
        raise SandboxError("the fork of the warm parent is not in the sandbox")
    sandbox = replace(made, members=(pid, *made.members))
    stack.callback(sandbox.finish)
    return sandbox


def _pair(
    stack: contextlib.ExitStack, kind: socket.SocketKind
) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket_pair(kind)
    stack.enter_context(ours)
    stack.enter_context(theirs)
    return ours, theirs


def _make(parent: Parent, plan: Plan, mark: str, gate: socket.socket, output: int) -> None:
    with contextlib.ExitStack() as stack:
        files = [memory_file(stack, data) for data in passwd_files()]
        listed = memory_file(stack, packed(parent.bwrap.arguments(plan, 4, 5)) + b"\0")
        # There is no such variable: the option only carries the mark, for all to see.
        command = [parent.bwrap.path, "--unsetenv", mark, "--args", "3", "--", *_PLACE]
        parent.make_sandbox(command, [gate.fileno(), output, listed, *files])


def _fork(parent: Parent, plan: Plan, arguments: Sequence[str], fds: tuple[int, int, int]) -> None:
    order = {
        "arguments": list(arguments),
        "environ": dict(plan.environ),
        "folder": plan.folder,
    }
    init, output, run = fds
    with contextlib.ExitStack() as stack:
        told = memory_file(stack, json.dumps(order).encode())
        parent.fork([init, told, output, run])


def _answer(channel: socket.socket, expected: bytes, output: IO[bytes] | None) -> int:
    """Wait for a word; the number of the process that said it."""
    channel.settimeout(SETUP_SECONDS)
    try:
        data, _, pid = sender_of(channel)
    except OSError as error:
        raise SandboxError(f"the sandbox or the fork in it took too long{_said(output)}") from error
    if data != expected or not pid:
        raise SandboxError(f"the sandbox ended while it was made{_said(output)}")
    return pid


def _said(output: IO[bytes] | None) -> str:
    """The last line of what bubblewrap wrote, if any."""
    if output is None:
        return ""
    os.set_blocking(output.fileno(), False)
    lines = (output.read(4096) or b"").decode(errors="replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
