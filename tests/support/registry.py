"""A small registry of images (Docker's HTTP API, version 2) that asks for a password."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_DOCKER = "application/vnd.docker"
_MANIFEST = f"{_DOCKER}.distribution.manifest.v2+json"


@dataclass
class Registry:
    """What it serves: ``blobs`` by digest, ``tags`` by ``repository:tag`` to a digest."""

    port: int
    blobs: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    manifests: list[str] = field(default_factory=list)
    """Every manifest that was asked for, in order."""

    login: tuple[str, str] = ("user", "secret")

    def add(self, name: str, layer: bytes, config: Mapping[str, object]) -> str:
        """Serve an image of one layer, a tar, as ``repository:tag``; returns its digest."""
        packed = gzip.compress(layer, 1)
        shape = {
            "architecture": "amd64", "os": "linux", "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }  # fmt: skip
        parts = {
            "config": (
                "application/vnd.docker.container.image.v1+json",
                json.dumps(shape).encode(),
            ),
            "layer": ("application/vnd.docker.image.rootfs.diff.tar.gzip", packed),
        }
        told = {}
        for part, (kind, data) in parts.items():
            self.blobs[_digest(data)] = (kind, data)
            told[part] = {"mediaType": kind, "size": len(data), "digest": _digest(data)}
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": _MANIFEST, "config": told["config"],
             "layers": [told["layer"]]}
        ).encode()  # fmt: skip
        self.blobs[_digest(manifest)] = (_MANIFEST, manifest)
        self.tags[name] = _digest(manifest)
        return _digest(manifest)

    def auths(self) -> dict[str, object]:
        """The pull secret for it."""
        word = base64.b64encode(":".join(self.login).encode()).decode()
        return {"auths": {f"127.0.0.1:{self.port}": {"auth": word}}}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(*self._found(), body=False)

    def do_GET(self) -> None:
        self._answer(*self._found(), body=True)

    def _found(self) -> tuple[int, str, bytes]:
        registry = self.server.registry
        word = base64.b64encode(":".join(registry.login).encode()).decode()
        if self.headers.get("Authorization") != f"Basic {word}":
            return 401, "application/json", b"{}"
        if self.path == "/v2/":
            return 200, "application/json", b"{}"
        repository, kind, reference = self.path.removeprefix("/v2/").rsplit("/", 2)
        if kind == "manifests":
            registry.manifests.append(f"{repository}:{reference}")
        digest = registry.tags.get(f"{repository}:{reference}", reference)
        if digest in registry.blobs:
            return 200, *registry.blobs[digest]
        errors = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
        return 404, "application/json", json.dumps(errors).encode()

    def _answer(self, status: int, kind: str, data: bytes, *, body: bool) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", _digest(data))
        self.end_headers()
        if body:
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: Registry


@contextlib.contextmanager
def running_registry() -> Iterator[Registry]:
    """A registry on a loopback port, HTTP only."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.registry = registry = Registry(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
