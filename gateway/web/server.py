"""The HTTP server: uvicorn in a thread of its own."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from gateway.config.http import HttpSettings
from gateway.config.tls import TlsSettings, listener_context
from gateway.errors import Permanent

START_SECONDS = 30.0
MAX_CONNECTIONS = 200
"""Requests and idle connections at once; beyond it 503."""
MAX_HEAD = 32 * 1024
"""Longest request line and headers, in bytes."""


class HttpError(Permanent):
    """The server cannot listen where it was told to, or did not come up."""


class HttpServer:
    """Serves one application on one address; started and stopped by the composition root."""

    def __init__(
        self, app: FastAPI, bind: str, port: int, settings: HttpSettings | None = None
    ) -> None:
        """Bind at once, so that a taken port is known before anything starts.

        ``port`` 0 = any free one; of ``settings`` TLS and proxies count.  Raises
        :class:`HttpError`.
        """
        given = settings or HttpSettings()
        try:
            family = socket.AF_INET6 if ":" in bind else socket.AF_INET
            self._socket = socket.create_server((bind, port), family=family, backlog=128)
        except OSError as error:
            reason = error.strerror or error
            raise HttpError(f"HTTP cannot listen on {bind}:{port}: {reason}") from error
        self._app = app
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            http="h11",
            ws="none",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=MAX_HEAD,
            server_header=False,
            # The library believes any program of this machine by itself.
            proxy_headers=bool(given.proxies),
            forwarded_allow_ips=list(given.proxies),
            ssl_context_factory=_tls(given),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Serve; return when requests are answered, raise :class:`HttpError` if none ever is."""
        self._thread.start()
        end = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise HttpError("the HTTP server did not start; the log says why")
            time.sleep(0.01)

    def running(self) -> bool:
        """True while requests are answered."""
        return self._thread.is_alive() and self._server.started

    def stop(self, timeout: float = 10.0) -> None:
        """Finish running requests (a few seconds at most) and end; idempotent."""
        self._app.state.streams.close()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _tls(settings: HttpSettings) -> Callable[..., ssl.SSLContext] | None:
    """What makes the server's TLS, of the same profile as the DICOM listener's; None = no TLS."""
    given = settings.tls
    if given.certificate is None:
        return None
    context = listener_context(TlsSettings(certificate=given.certificate, key=given.key))
    return lambda *_arguments: context
