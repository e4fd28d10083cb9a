"""Messages between the gateway and its evaluating process: JSON behind a length, with a deadline.

JSON keeps int and double apart and cannot execute anything on either side.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

MAX_BYTES = 64 * 1024 * 1024
"""Largest message."""

_LENGTH = struct.Struct("!I")


class Closed(EOFError):  # noqa: N818 - read as "raise Closed"
    """The other side is gone."""


class Channel:
    """One end of a stream socket; used by one thread at a time.

    After :class:`TimeoutError` the stream may stand inside a message: close it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, message: Any, until: float | None = None) -> None:
        """Send ``message`` before ``until`` (monotonic clock; None = no deadline).

        Raises :class:`TimeoutError` or :class:`Closed`.
        """
        data = json.dumps(message, allow_nan=False).encode()
        if len(data) > MAX_BYTES:
            raise ValueError(f"a message of {len(data)} bytes is over {MAX_BYTES}")
        self._limit(until)
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(str(error)) from error

    def receive(self, until: float | None = None) -> Any:
        """The next message; raises :class:`TimeoutError` at ``until``, or :class:`Closed`."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size, until))
        if length > MAX_BYTES:
            raise Closed(f"a message of {length} bytes is announced")
        return json.loads(self._exactly(length, until))

    def close(self) -> None:
        """Close this end; the other one sees :class:`Closed`."""
        self._socket.close()

    def _exactly(self, count: int, until: float | None) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._limit(until)
            try:
                part = self._socket.recv(min(count - len(parts), 1 << 20))
            except TimeoutError:
                raise
            except OSError as error:
                raise Closed(str(error)) from error
            if not part:
                raise Closed("the other side closed the channel")
            parts += part
        return bytes(parts)

    def _limit(self, until: float | None) -> None:
        if until is None:
            self._socket.settimeout(None)
            return
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self._socket.settimeout(left)
