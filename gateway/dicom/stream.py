"""What a :class:`~gateway.dicom.wire.Wire` reads from and writes to: a TCP socket or TLS over one.

Both bound every wait, each by the means that costs least: the kernel's own time-outs for plain
sockets (Python's cost a poll() per read), Python's for TLS, whose library retries through the
kernel's.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import Protocol


class Stream(Protocol):
    """A connected byte stream; used by one thread but for :meth:`stop_reading`."""

    def be_patient(self, *, receive: float | None = None, send: float | None = None) -> None:
        """Set how long one read and one write may wait, in seconds; None leaves it as it is."""

    def recv_into(self, view: memoryview) -> int:
        """Bytes read, 0 at the end; BlockingIOError when none came in time, else OSError."""

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Write everything; BlockingIOError when the peer takes none in time, else OSError."""

    def acknowledge(self) -> None:
        """Acknowledge now what was read, rather than with whatever is sent next."""

    def stop_reading(self) -> None:
        """Let the read that waits end, at the latest by its time-out; callable from any thread."""

    def stop_sending(self) -> None:
        """Tell the peer that nothing more comes; later reads give bytes to be dropped only."""

    def close(self) -> None:
        """Close the connection; idempotent."""


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, int((seconds - whole) * 1e6))


def prepare(sock: socket.socket) -> None:
    """Blocking, without Nagle's delay, probed while silent."""
    sock.setblocking(True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def acknowledge(sock: socket.socket) -> None:
    """Let the kernel send the acknowledgement it holds back for up to 40 ms (RFC 1122 4.2.3.2)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class PlainStream:
    """TCP as it is."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected socket."""
        prepare(sock)
        self.sock = sock
        self.recv_into = sock.recv_into
        self.sendall = sock.sendall

    def be_patient(self, *, receive: float | None = None, send: float | None = None) -> None:
        """Set the kernel's time-outs."""
        if receive is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(receive))
        if send is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send))

    def acknowledge(self) -> None:
        """Acknowledge now."""
        acknowledge(self.sock)

    def stop_reading(self) -> None:
        """Shut the receiving side."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)

    def stop_sending(self) -> None:
        """Shut the sending side."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self.sock.close()


class TlsStream:
    """TLS over a connected socket; :meth:`handshake` comes first."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        host: str | None = None,
    ) -> None:
        """Take over the socket; raises OSError when the peer is gone already.

        ``host``: what a server's certificate must be for, if ``context`` asks for that.
        """
        prepare(sock)
        # The kernel's time-outs would make the library spin instead of returning.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(0))
        try:
            self.sock = context.wrap_socket(
                sock, server_side=server_side, do_handshake_on_connect=False, server_hostname=host
            )
        except OSError as error:
            _close_wrapped(error)
            raise
        self._receive_seconds = 5.0
        self._send_seconds = 60.0
        self._draining = False
        self._shaken = False

    def handshake(self, seconds: float) -> None:
        """Shake hands, all of it within ``seconds``; raises OSError, SSLError among them."""
        self.sock.settimeout(seconds)
        self.sock.do_handshake()
        self._shaken = True
        self.sock.settimeout(self._receive_seconds)

    def be_patient(self, *, receive: float | None = None, send: float | None = None) -> None:
        """Set the time-outs."""
        if send is not None:
            self._send_seconds = send
        if receive is not None:
            self._receive_seconds = receive
            self.sock.settimeout(receive)

    def recv_into(self, view: memoryview) -> int:
        """Read what one TLS record holds."""
        try:
            if self._draining:
                return socket.socket.recv_into(self.sock, view)
            return self.sock.recv_into(view)
        except TimeoutError as error:
            if error.errno is not None:
                raise
            raise BlockingIOError("nothing came in time") from error

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Write everything."""
        self.sock.settimeout(self._send_seconds)
        try:
            self.sock.sendall(data)
        except TimeoutError as error:
            if error.errno is not None:
                raise
            raise BlockingIOError("the peer takes nothing") from error
        finally:
            self.sock.settimeout(self._receive_seconds)

    def acknowledge(self) -> None:
        """Acknowledge now."""
        acknowledge(self.sock)

    def stop_reading(self) -> None:
        """End a handshake at once; a session ends by itself with the next time-out of a read.

        A shutdown below TLS would break the session, and the A-ABORT that says why with it.
        """
        if not self._shaken:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RD)

    def stop_sending(self) -> None:
        """Send close_notify and shut the sending side (RFC 8446 6.1)."""
        with contextlib.suppress(OSError, ValueError):
            self.sock.settimeout(0)
            self.sock.unwrap()
        self._draining = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
            self.sock.settimeout(self._receive_seconds)

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self.sock.close()


def _close_wrapped(error: OSError) -> None:
    """Close the socket that ``wrap_socket`` made before it raised ``error``.

    It has the descriptor by then, and leaves it to the collector when the peer resets the
    connection at that moment (Python 3.11); nobody else knows it.
    """
    trace = error.__traceback__
    while trace is not None:
        made = trace.tb_frame.f_locals.get("self")
        if isinstance(made, ssl.SSLSocket):
            made.close()
        trace = trace.tb_next
