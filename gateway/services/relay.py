"""Bytes between a port in an operator's namespace and a service.

While the service is not ready the port accepts nothing: callers wait in the kernel's queue, so one
that comes while a service is started again is served when it is back.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

Dial = Callable[[], socket.socket | None]
"""A new connection to the service; None while it is not ready, OSError when it refuses."""

MOST_CONNECTIONS = 64
"""Open at once through one port; further callers wait."""
_BLOCK = 1 << 18
_AGAIN_SECONDS = 0.05


class Door:
    """One port while its operator runs."""

    def __init__(self, listener: socket.socket, dial: Dial) -> None:
        """Take over ``listener``; it is closed by :meth:`close`."""
        self._listener = listener
        self._dial = dial
        self._places = threading.Semaphore(MOST_CONNECTIONS)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="service-door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the port and every connection through it; returns when its thread ended."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for each in self._open:
                _hang_up(each)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        self._listener.settimeout(None)
        while not self._closing.is_set():
            self._places.acquire()
            caller = self._next()
            if caller is None:
                return
            service = self._connect()
            if service is None:
                caller.close()
                return
            self._join(caller, service)

    def _next(self) -> socket.socket | None:
        """The next caller; None when the door closes."""
        while not self._closing.is_set():
            try:
                return self._listener.accept()[0]
            except OSError:
                # Closed, or the gateway is short of descriptors for a moment: callers wait.
                self._closing.wait(_AGAIN_SECONDS)
        return None

    def _connect(self) -> socket.socket | None:
        """A connection to the service, as soon as it takes one; None when the door closes."""
        while not self._closing.is_set():
            with contextlib.suppress(OSError):
                found = self._dial()
                if found is not None:
                    return found
            self._closing.wait(_AGAIN_SECONDS)
        return None

    def _join(self, caller: socket.socket, service: socket.socket) -> None:
        for each in (caller, service):
            each.settimeout(None)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= {caller, service}
            if self._closing.is_set():
                _hang_up(caller)
        ends = threading.Barrier(2, action=lambda: self._done(caller, service))
        for source, target in ((caller, service), (service, caller)):
            threading.Thread(
                target=_pump, args=(source, target, ends), name="service-relay", daemon=True
            ).start()

    def _done(self, *pair: socket.socket) -> None:
        with self._lock:
            self._open -= set(pair)
        for each in pair:
            each.close()
        self._places.release()


def _pump(source: socket.socket, target: socket.socket, ends: threading.Barrier) -> None:
    """Copy one direction to its end; an error ends both."""
    block = memoryview(bytearray(_BLOCK))
    try:
        while size := source.recv_into(block):
            target.sendall(block[:size])
        target.shutdown(socket.SHUT_WR)
    except OSError:
        _hang_up(source)
        _hang_up(target)
    ends.wait()


def _hang_up(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
