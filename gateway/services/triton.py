"""The gateway's own Triton: how it is started, and its model control.

Operators reach inference and nothing else: loading and unloading want a word that only the gateway
knows, so no operator can take another one's model away.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from gateway.config.services import TritonSettings
from gateway.executors.sandbox import Bind
from gateway.pipelines.model import HttpConnection, Requests, Service
from gateway.pipelines.services import TRITON
from gateway.services.errors import ServiceFault, ServiceLost
from gateway.services.spec import Spec

HTTP, GRPC = "NVIDIA_TRITON_HTTPURI", "NVIDIA_TRITON_GRPCURI"
ALSO_HTTP = ("CLARA_TRITON_URI", "NVIDIA_CLARA_TRTISURI")
"""Older names of the HTTP address."""
_PORTS = {HTTP: 8000, GRPC: 8001}
_METRICS_PORT = 8002
_REPOSITORY = "/models"
_HEADER = "gateway-model-control"
_ANSWER_BYTES = 1 << 20


def requests_of(settings: TritonSettings) -> Requests:
    """What it holds while it runs."""
    return Requests(settings.cpu, settings.memory_mb, settings.gpus)


def spec(settings: TritonSettings, repository: Path, word: str) -> Spec:
    """The service; ``repository`` is the folder of models, ``word`` opens its model control."""
    image, colon, tag = settings.image.rpartition(":")
    if not colon or "/" in tag:
        image, tag = settings.image, "latest"
    closed = f"{_HEADER}={word}"
    command = (
        "tritonserver",
        f"--model-repository={_REPOSITORY}",
        "--model-control-mode=explicit",
        "--exit-on-error=false",
        f"--http-port={_PORTS[HTTP]}",
        f"--grpc-port={_PORTS[GRPC]}",
        f"--metrics-port={_METRICS_PORT}",
        f"--http-restricted-api=model-repository,shared-memory,trace,logging:{closed}",
        f"--grpc-restricted-protocol=model-repository,shared-memory,trace,logging:{closed}",
    )
    service = Service(
        name=TRITON,
        image=image,
        tag=tag,
        command=command,
        requests=requests_of(settings),
        http=tuple(HttpConnection(name, port) for name, port in _PORTS.items()),
    )
    ready = (_PORTS[HTTP], "/v2/health/ready")
    return Spec(TRITON, service, dict(_PORTS), ready, (Bind(repository, _REPOSITORY),))


class Control:
    """Model control of one running Triton."""

    def __init__(self, dial: Callable[[int, float], socket.socket], word: str) -> None:
        self._dial = dial
        self._word = word

    def load(self, model: str, timeout: float) -> None:
        """Load a model, or load it anew if its files changed; returns when it is ready.

        Raises :class:`ServiceFault` with Triton's words, :class:`ServiceLost` when it is away.
        """
        self._post(model, "load", timeout)

    def unload(self, model: str, timeout: float) -> None:
        """Unload a model; raises as :meth:`load` does."""
        self._post(model, "unload", timeout)

    def _post(self, model: str, verb: str, timeout: float) -> None:
        path = f"/v2/repository/models/{quote(model, safe='')}/{verb}"
        try:
            status, body = ask(
                self._dial(_PORTS[HTTP], timeout), path, b"{}", {_HEADER: self._word}
            )
        except (OSError, http.client.HTTPException) as error:
            raise ServiceLost(f"Triton went away while it had to {verb} {model!r}") from error
        if status != http.HTTPStatus.OK:
            raise ServiceFault(f"Triton cannot {verb} the model {model!r}: {_said(status, body)}")


def ask(
    connection: socket.socket,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """One HTTP request over ``connection``, which is closed after: status and body."""
    client = http.client.HTTPConnection("localhost")
    client.sock = connection
    try:
        client.request("GET" if body is None else "POST", path, body, headers or {})
        answer = client.getresponse()
        return answer.status, answer.read(_ANSWER_BYTES)
    finally:
        client.close()


def _said(status: int, body: bytes) -> str:
    try:
        return " ".join(str(json.loads(body)["error"]).split())[:1000]
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {status}"
