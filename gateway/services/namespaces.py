"""Sockets inside the network namespace of a sandbox, for those who are outside.

A sandbox has a network namespace of its own with nothing but a loopback.  The gateway opens ports
in an operator's and connects to ports in a service's, and neither sees more than that.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

_HELPER = Path(__file__).with_name("joined.py")
_ANSWER_SECONDS = 30.0
LOOPBACK = "127.0.0.1"


class Namespace:
    """The network namespace of one process; any thread, until :meth:`close`."""

    def __init__(self, pid: int) -> None:
        """Join the namespace of ``pid``, which must be alive; OSError when that is not allowed."""
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair()
        ours.settimeout(_ANSWER_SECONDS)
        self._control = ours
        try:
            net = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            ours.close()
            theirs.close()
            raise
        try:
            self._helper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_HELPER), str(theirs.fileno()), str(net)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), net),
                env={},
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(net)
        try:
            self._answer()
        except OSError:
            self.close()
            raise

    def listen(self, port: int) -> socket.socket:
        """A socket that listens on ``port`` of the namespace's loopback."""
        return self._ask(f"listen {port}")

    def dial(self, port: int, timeout: float) -> socket.socket:
        """A connection to ``port`` of the namespace's loopback."""
        made = self._ask("socket")
        try:
            made.settimeout(timeout)
            made.connect((LOOPBACK, port))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Let the helper end; sockets that were made stay."""
        with self._lock:
            self._control.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._helper.wait(_ANSWER_SECONDS)
                return
            self._helper.kill()
            self._helper.wait()

    def _ask(self, line: str) -> socket.socket:
        with self._lock:
            self._control.sendall(f"{line}\n".encode())
            found = self._answer()
        if found is None:
            raise OSError("no socket came")
        return found

    def _answer(self) -> socket.socket | None:
        data, fds, _, _ = socket.recv_fds(self._control, 256, 1)
        made = [socket.socket(fileno=fd) for fd in fds]
        word, _, rest = data.decode(errors="replace").strip().partition(" ")
        if word != "ok":
            for each in made:
                each.close()
            raise OSError(rest or "the helper ended without a word")
        return made[0] if made else None
