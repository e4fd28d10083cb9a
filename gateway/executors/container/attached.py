"""What a container writes, as it writes it.

Attached before the program starts and with the engine's own log switched off: no line is lost, and
a gigabyte of lines fills no disk of the engine's.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path

from gateway.executors.container.api import EngineError, NotThereError, RefusedError

ATTACH_SECONDS = 60.0
"""Longest wait until the engine has the container ready."""
_MOST_HEAD = 64 << 10
_CHUNK = 1 << 16


class Attached:
    """A connection that carries a container's standard output and error."""

    def __init__(self, path: Path, version: str, container: str) -> None:
        """Attach to ``container``, which need not run yet.

        Raises :class:`NotThereError` or :class:`RefusedError` with the engine's words, else
        :class:`EngineError`.
        """
        self._socket = socket.socket(socket.AF_UNIX)
        self._buffer = b""
        self._left = 0
        try:
            self._socket.settimeout(ATTACH_SECONDS)
            self._socket.connect(str(path))
            self._socket.sendall(
                f"POST /v{version}/containers/{container}/attach?stream=1&stdout=1&stderr=1 "
                "HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
                "Upgrade: tcp\r\nConnection: Upgrade\r\n\r\n".encode()
            )
            self._begin()
            self._socket.settimeout(None)
        except OSError as error:
            self._socket.close()
            raise EngineError(f"the container's output cannot be had: {error}") from error
        except BaseException:
            self._socket.close()
            raise

    def read(self) -> bytes:
        """The next piece of what the container writes; empty = it ended or the engine went away."""
        while self._left == 0:
            head = self._exactly(8)
            if len(head) < 8:
                return b""
            self._left = int.from_bytes(head[4:8], "big")
        if not self._buffer:
            self._fill()
        data, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(data)
        return data

    def interrupt(self) -> None:
        """Let :meth:`read` return in whichever thread it waits."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; nobody reads any more."""
        self._socket.close()

    def _begin(self) -> None:
        while b"\r\n\r\n" not in self._buffer:
            data = self._socket.recv(4096)
            if not data or len(self._buffer) > _MOST_HEAD:
                raise EngineError("the engine closed the connection for a container's output")
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status = int(head.split(None, 2)[1])
        if status in (http.HTTPStatus.SWITCHING_PROTOCOLS, http.HTTPStatus.OK):
            return
        said = self._said()
        raise NotThereError(said) if status == http.HTTPStatus.NOT_FOUND else RefusedError(said)

    def _said(self) -> str:
        """The message of an error; its body may be chunked, and may stay open."""
        self._socket.settimeout(2)
        with contextlib.suppress(OSError):
            while b"}" not in self._buffer and len(self._buffer) < _MOST_HEAD:
                data = self._socket.recv(_CHUNK)
                if not data:
                    break
                self._buffer += data
        text = self._buffer.decode(errors="replace")
        try:
            return str(json.loads(text[text.index("{") : text.rindex("}") + 1])["message"])
        except (ValueError, KeyError):
            return " ".join(text.split())[:500]

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._fill():
                break
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _fill(self) -> bool:
        try:
            data = self._socket.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            # A frame that is cut short ends with what came of it.
            self._left = 0 if not self._buffer else min(self._left, len(self._buffer))
        self._buffer += data
        return bool(data)
