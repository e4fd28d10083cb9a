"""The way to Docker's API, on Docker's own daemon or on Podman's service.

Sessions are short-lived, one thread each: the SDK's client is not made for several.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

from gateway.errors import Permanent, Transient

CALL_SECONDS = 60.0
"""Longest wait for the answer to one call."""
CONNECT_SECONDS = 10.0
"""Longest wait for the first answer of an engine."""
_PODMAN_WITH_GPUS = 5
"""First release whose Docker API heeds requests for devices."""


class EngineError(Transient):
    """The engine does not answer, or it refuses a call."""


class NotThereError(EngineError):
    """The container or image that a call names is not there."""


class RefusedError(EngineError):
    """The engine answered with an error; the message is its own."""


class NoSocketError(Permanent):
    """No engine's socket is to be found."""


@dataclass(frozen=True)
class Facts:
    """What an engine tells of itself."""

    podman: bool
    version: str
    """Of its API."""
    options: tuple[str, ...]
    """Its security options: ``rootless``, ``userns``, ``seccomp``…"""
    release: str = ""
    """Of itself."""

    @property
    def rootless(self) -> bool:
        """True when it runs as an ordinary user."""
        return "rootless" in self.options

    @property
    def gives_gpus(self) -> bool:
        """False when it takes a request for GPUs and silently gives none, as Podman 4 does."""
        major = self.release.partition(".")[0]
        return not self.podman or (major.isdigit() and int(major) >= _PODMAN_WITH_GPUS)


def usual_sockets(environ: Mapping[str, str] | None = None) -> list[Path]:
    """Where an engine's socket is looked for, in this order.

    ``DOCKER_HOST`` (when it names a socket), Docker's of the machine, Podman's of the machine,
    Podman's of this user, Docker's of this user.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("DOCKER_HOST", "")
    found = [Path(named.removeprefix("unix://"))] if named.startswith("unix:///") else []
    found += [Path("/run/docker.sock"), Path("/var/run/docker.sock")]
    found.append(Path("/run/podman/podman.sock"))
    own = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    return [*found, own / "podman" / "podman.sock", own / "docker.sock"]


def find_socket(configured: Path | None, environ: Mapping[str, str] | None = None) -> Path:
    """The socket to use; :class:`NoSocketError` names every place that was looked at."""
    places = usual_sockets(environ) if configured is None else [configured]
    for place in places:
        try:
            if stat.S_ISSOCK(place.stat().st_mode):
                return place
        except OSError:
            continue
    looked = ", ".join(str(place) for place in dict.fromkeys(places))
    raise NoSocketError(f"there is no socket of Docker or Podman at: {looked}")


class Api:
    """An engine behind a socket; looked for when it is first needed, and again after a fault."""

    def __init__(self, configured: Path | None) -> None:
        self._configured = configured
        self._lock = threading.Lock()
        self._facts: Facts | None = None

    @property
    def socket(self) -> Path:
        """Where it listens; :class:`EngineError` when there is no such place."""
        try:
            return find_socket(self._configured)
        except NoSocketError as error:
            raise EngineError(str(error)) from error

    def facts(self, *, fresh: bool = False) -> Facts:
        """What the engine tells of itself, asked once, or again if ``fresh``."""
        with self._lock:
            if self._facts is None or fresh:
                self._facts = None
                with self._open("auto", CONNECT_SECONDS) as client:
                    self._facts = _facts(client)
            return self._facts

    @contextmanager
    def session(self, timeout: float | None = CALL_SECONDS) -> Iterator[docker.APIClient]:
        """A client for the present thread; what it raises becomes an :class:`EngineError`.

        ``timeout`` None = its calls may wait for ever.
        """
        with self._open(self.facts().version, timeout) as client:
            yield client

    @contextmanager
    def _open(self, version: str, timeout: float | None) -> Iterator[docker.APIClient]:
        client = None
        path = self.socket
        try:
            _knock(path)
            client = docker.APIClient(
                base_url=f"unix://{path}",
                version=version,
                timeout=timeout,  # type: ignore[arg-type]
            )
            yield client
        except NotFound as error:
            raise NotThereError(words(error)) from error
        except APIError as error:
            raise RefusedError(words(error)) from error
        except (DockerException, RequestException, OSError) as error:
            raise EngineError(f"the container engine does not answer: {words(error)}") from error
        finally:
            if client is not None:
                client.close()


def _knock(path: Path) -> None:
    """OSError when nobody listens: the SDK would leave its socket open then."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_SECONDS)
        probe.connect(str(path))


def words(error: Exception) -> str:
    """What an engine says, on one line."""
    text = getattr(error, "explanation", None) or str(error)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return " ".join(str(text).split())[:500]


def _facts(client: docker.APIClient) -> Facts:
    told: Mapping[str, Any] = client.version()
    parts = [str(part.get("Name", "")) for part in told.get("Components") or ()]
    options = []
    for option in client.info().get("SecurityOptions") or ():
        options += [
            word.partition("=")[2] for word in str(option).split(",") if word.startswith("name=")
        ]
    version = str(client.api_version)
    podman = any("podman" in part.lower() for part in parts)
    return Facts(podman, version, tuple(options), str(told.get("Version", "")))
