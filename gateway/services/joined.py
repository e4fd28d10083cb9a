"""A small program that makes sockets inside another network namespace.

``python joined.py CONTROL NET``: two descriptors, a socket to its master and the namespace.  A
socket belongs to the namespace it was made in, whoever uses it, so the master gets sockets and
need not enter itself.  Without root's capabilities the way leads through the user namespace that
owns the network; that changes the whole process, hence a process of its own.

It answers each line, ``listen PORT`` or ``socket``, with ``ok`` and a descriptor, or with
``error WORDS``; it ends with its master's end of the socket.  Standard library only: it runs
isolated, for the speed of its start.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import sys

_NEWNET = 0x40000000
_NEWUSER = 0x10000000
_GET_USER_NAMESPACE = 0xB701
_BACKLOG = 128


def _setns(fd: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, kind) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def join(net: int) -> None:
    """Enter the network namespace, through its owner where we have no rights of our own."""
    try:
        _setns(net, _NEWNET)
    except PermissionError:
        _setns(fcntl.ioctl(net, _GET_USER_NAMESPACE), _NEWUSER)
        _setns(net, _NEWNET)


def made(line: str) -> socket.socket:
    """The socket that a line asks for."""
    word, _, port = line.partition(" ")
    if word == "listen":
        return socket.create_server(("127.0.0.1", int(port)), backlog=_BACKLOG)
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def serve(control: socket.socket) -> None:
    """Answer lines until there are no more."""
    with control.makefile("r") as lines:
        for line in lines:
            try:
                with made(line.strip()) as found:
                    socket.send_fds(control, [b"ok\n"], [found.fileno()])
            except OSError as error:
                control.sendall(f"error {error.strerror}\n".encode())


def main(control: socket.socket, net: int) -> None:
    """Join, say so, serve."""
    try:
        join(net)
    except OSError as error:
        control.sendall(f"error {error.strerror}\n".encode())
        return
    control.sendall(b"ok\n")
    serve(control)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
