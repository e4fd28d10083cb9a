"""Sockets on which the kernel says which process a message is from."""

from __future__ import annotations

import array
import socket
import struct

_CREDENTIALS = struct.calcsize("3i")


def socket_pair(kind: socket.SocketKind) -> tuple[socket.socket, socket.socket]:
    """Two ends; the first one learns who writes to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ours, theirs


def sender_of(channel: socket.socket, most_fds: int = 0) -> tuple[bytes, list[int], int]:
    """One message, its descriptors, and the number of the process that sent it, as we count.

    The number is 0 when the message is empty: the other end is closed.
    """
    room = socket.CMSG_SPACE(_CREDENTIALS) + socket.CMSG_SPACE(4 * most_fds)
    data, ancillary, _, _ = channel.recvmsg(4096, room, socket.MSG_CMSG_CLOEXEC)
    fds: array.array[int] = array.array("i")
    pid = 0
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) // fds.itemsize * fds.itemsize])
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = struct.unpack("3i", content[:_CREDENTIALS])[0]
    return data, list(fds), pid if data else 0
