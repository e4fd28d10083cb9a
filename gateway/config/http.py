"""``http``: where REST, metrics and console listen, and who is let in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.config import tls
from gateway.config.model import Settings

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9:._\[\]-]{1,255}$")]
Network = Annotated[str, Field(pattern=r"^[0-9A-Fa-f:./]{1,64}$")]


class HttpTlsSettings(Settings):
    """TLS of the HTTP server; with a certificate set nothing else is spoken on its port."""

    certificate: Path | None = None
    """PEM file of the server's certificate chain; null = no TLS."""
    key: Path | None = None
    """PEM file of its private key, without pass phrase."""


class SessionSettings(Settings):
    """How long somebody stays signed in."""

    idle_minutes: Annotated[float, Field(gt=0, le=1440)] = 30
    """A session that is not used for this long ends; a page that is open uses it."""
    hours: Annotated[float, Field(gt=0, le=168)] = 12
    """A session ends after this long whatever is done with it."""


class SignInSettings(Settings):
    """How often signing in may fail before it is refused for a while (429)."""

    failures_per_address: Annotated[int, Field(ge=1, le=10_000)] = 20
    """From one address (one /64 network of IPv6) within the window."""
    failures_per_user: Annotated[int, Field(ge=1, le=10_000)] = 10
    """For one user within the window, wherever they come from."""
    window_minutes: Annotated[float, Field(gt=0, le=1440)] = 5
    """How long a failure counts."""


class HttpSettings(Settings):
    """REST, health, metrics, results service and console."""

    bind: str = "127.0.0.1"
    """Address the server binds.  Anywhere but on loopback nothing except ``/health/live`` and
    ``/health/ready`` is answered to whoever is not signed in and has no token."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """TCP port; 0 = any free port."""
    hosts: list[Host] = Field(default_factory=list)
    """Names by which callers may ask for this gateway (``Host``), beside those of loopback.
    Empty = on loopback only those, elsewhere any."""
    proxies: list[Network] = Field(default_factory=list)
    """Addresses of reverse proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are
    believed."""
    machines: Literal["loopback", "token", "open"] = "loopback"
    """Who may ask ``/health``, ``/metrics`` and ``/api/tasks`` without a token: programs on this
    machine, nobody, or everybody who reaches the port."""
    tls: HttpTlsSettings = HttpTlsSettings()
    """TLS of the server."""
    sessions: SessionSettings = SessionSettings()
    """How long somebody stays signed in."""
    sign_in: SignInSettings = SignInSettings()
    """How often signing in may fail."""

    @property
    def on_loopback(self) -> bool:
        """True when only programs of this machine reach the port."""
        try:
            return ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            return self.bind == "localhost"


def faults(settings: HttpSettings) -> Iterator[tuple[str, str]]:
    """What in ``http`` cannot be used, as key below it and message; reads the files it names."""
    given = tls.TlsSettings(certificate=settings.tls.certificate, key=settings.tls.key)
    for fault in tls.faults(given):
        yield f"tls.{fault.key}", str(fault).replace("dicom.tls", "http.tls")
    for proxy in settings.proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            yield "proxies", f"{proxy!r} is no address or network"
