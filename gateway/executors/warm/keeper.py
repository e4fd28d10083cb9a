"""The keeper of one warm parent: starts it, and makes the sandboxes that its forks enter.

It runs as a program of its own, first in a pid namespace that holds all of one image's warm
processes: with the keeper's sandbox the kernel ends every one of them.  It needs the standard
library alone and never imports anything of an operator.  It sees the machine as the gateway does,
for sandboxes are made of the machine's folders.

Messages come over the socket whose descriptor is its first argument, descriptors with them; their
first byte says what is wanted, the rest is a command line, separated by NUL.  The descriptors are
put at 0, 1 (and 2), 3, 4, … of the program.  When the socket ends, so does the keeper.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import sys

PARENT = b"P"
"""Start the parent, outside of its own user namespace."""
OWNER = b"O"
"""The descriptor is the parent's pidfd: sandboxes are made in its user namespace."""
SANDBOX = b"S"
"""Make a sandbox."""

CLONE_NEWUSER = 0x10000000
_MOUNT_FLAGS = 2 | 4 | 8
"""No set-user-id, no devices, no programs."""
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_CAPABILITY_VERSION = 0x20080522
_MOST_BYTES = 1 << 16
_MOST_FDS = 16


def main() -> None:
    """Serve until the socket ends."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    _see_own_processes()
    # Nobody asks how a sandbox ended here: the gateway holds its first process itself.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    owner = -1
    while True:
        data, fds, _, _ = socket.recv_fds(channel, _MOST_BYTES, _MOST_FDS, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return
        kind, arguments = data[:1], data[1:].split(b"\0")
        if kind == OWNER:
            owner = fds[0]
            continue
        if os.fork() == 0:
            _become(arguments, fds, owner if kind == SANDBOX else -1)
        for fd in fds:
            os.close(fd)


def _see_own_processes() -> None:
    """Show the processes of this namespace in ``/proc``, where bubblewrap looks; then no rights."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"proc", b"/proc", b"proc", _MOUNT_FLAGS, None):
        raise OSError(ctypes.get_errno(), "mount")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    cleared = libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    if libc.capset(header, nothing) or cleared:
        raise OSError(ctypes.get_errno(), "capset")


def _become(arguments: list[bytes], fds: list[int], owner: int) -> None:
    """Execute ``arguments`` with ``fds`` at their places; does not return."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if owner >= 0:
            _enter(owner)
        # Out of the way first: a place may be another one's present number.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in fds]
        for place, fd in zip((0, 1, *range(3, 3 + len(high))), high, strict=False):
            os.dup2(fd, place)
        os.dup2(1, 2)
        os.execve(arguments[0], arguments, {})  # noqa: S606 - that is what it is for
    finally:
        os._exit(126)


def _enter(pidfd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(pidfd, CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    main()
