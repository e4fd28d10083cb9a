"""The accept loop: takes connections and hands each on when its first message is there.

A connection that says nothing, or half of its first message, costs one file descriptor here and
no thread, so a thousand half-open ones do not slow a working modality.  The kernel does the
waiting (SO_RCVLOWAT): a peer that dribbles its request byte by byte wakes nobody.  Replaceable:
the only thing it knows of the rest is a callable that takes a socket.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

Greet = Callable[[socket.socket, tuple[str, int]], None]
"""Takes over a connection that has bytes to read or has ended; must not block."""

_HEAD = 6
"""Bytes of the header of a PDU; one of TLS is shorter, and its first record longer than that."""
_LONGEST_AWAITED = 1 << 16
"""Longest first message waited for here; longer ones are handed on by their header."""

_BACKLOG = 512
_PATIENCE = 1.0
_OUT_OF_DESCRIPTORS_PAUSE = 0.2
_COURTESY_SECONDS = 0.01
"""How long a connection is left to a process that has fewer; one that hangs must not keep it."""


def first_message(head: bytes) -> int:
    """Length of the message that begins with ``head``; 0 when it is none to wait for.

    An A-ASSOCIATE-RQ (PS3.8 9.3.2), or the record of a TLS ClientHello (RFC 8446 5.1).
    """
    if head[0] == 0x01:
        length = _HEAD + int.from_bytes(head[2:6], "big")
    elif head[0] == 0x16:
        length = 5 + int.from_bytes(head[3:5], "big")
    else:
        return 0
    return length if length <= _LONGEST_AWAITED else 0


class Crowd:
    """Connections of one process, from accept to close; any thread.  Here: the only process."""

    def came(self) -> None:
        """One more."""

    def went(self) -> None:
        """One less."""

    def our_turn(self) -> bool:
        """Whether the next connection is this process's, of all that share the listener."""
        return True


@dataclass
class _Guest:
    """A connection that waits for its first message."""

    since: float
    address: tuple[str, int]
    heard_head: bool = False


def listen(bind: str, port: int) -> socket.socket:
    """A listening socket; raises OSError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((bind, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


class Lobby:
    """Runs the accept loop of one listening socket; :meth:`run` in a thread of its own."""

    def __init__(
        self,
        listener: socket.socket,
        greet: Greet,
        *,
        seats: int,
        silence_seconds: float,
        crowd: Crowd | None = None,
    ) -> None:
        """``seats``: silent connections kept; ``silence_seconds``: how long each may be silent.

        ``crowd`` shares connections out evenly with other processes.
        """
        self._crowd = crowd or Crowd()
        self._listener = listener
        self._greet = greet
        self._seats = seats
        self._silence = silence_seconds
        # In order of arrival, so the first is always the oldest.
        self._waiting: dict[socket.socket, _Guest] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._stopping = False

    def run(self) -> None:
        """Accept until :meth:`stop`; closes the listener and everything silent at the end."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._selector.close()
            self._listener.close()
            for sock in self._waiting:
                sock.close()
            self._waiting.clear()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def stop(self) -> None:
        """End :meth:`run` soon; call once, from any thread, while it runs."""
        self._stopping = True
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")

    def _turn(self) -> None:
        for key, _ in self._selector.select(_PATIENCE):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket):
                self._hear(key.fileobj)
        now = time.monotonic()
        while self._waiting:
            sock, guest = next(iter(self._waiting.items()))
            if now - guest.since < self._silence and len(self._waiting) <= self._seats:
                break
            self._drop(sock)

    def _accept(self) -> None:
        if not self._crowd.our_turn():
            time.sleep(_COURTESY_SECONDS)
        try:
            sock, address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # Out of descriptors, mostly: the oldest silent connection makes room.
            log.warning("a connection cannot be accepted", extra={"error": str(error)})
            if self._waiting:
                self._drop(next(iter(self._waiting)))
            else:
                time.sleep(_OUT_OF_DESCRIPTORS_PAUSE)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _HEAD)
        self._crowd.came()
        self._waiting[sock] = _Guest(time.monotonic(), (address[0], address[1]))
        self._selector.register(sock, selectors.EVENT_READ)

    def _hear(self, sock: socket.socket) -> None:
        """Look at what a connection said: wait for the rest of it, or hand it on."""
        guest = self._waiting.get(sock)
        if guest is None:
            return  # dropped earlier in this turn, to make room
        if not guest.heard_head:
            guest.heard_head = True
            try:
                head = sock.recv(_HEAD, socket.MSG_PEEK)
            except OSError:
                head = b""
            # Fewer bytes than were waited for: the peer has closed.
            wanted = first_message(head) if len(head) == _HEAD else 0
            if wanted > _HEAD:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
                return
        self._hand_on(sock, guest.address)

    def _hand_on(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self._forget(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        try:
            self._greet(sock, address)
        except Exception:
            # The boundary between one connection and all others: no thread or memory for this
            # one must not end the accept loop.
            log.exception("a connection cannot be served", extra={"host": address[0]})
            sock.close()

    def _drop(self, sock: socket.socket) -> None:
        """Close a connection, with what it said read: else it hears a reset instead."""
        self._forget(sock)
        with contextlib.suppress(OSError):
            sock.recv(_LONGEST_AWAITED)
        sock.close()

    def _forget(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        del self._waiting[sock]
        self._crowd.went()
