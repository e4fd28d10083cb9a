"""Where the gateway is that a command speaks to, and what it shows to be let in.

Three places may say it: the options ``--host`` and ``--url``, the variables ``GATEWAY_HOST`` and
``GATEWAY_URL``, and the file ``~/.config/gateway/config.yaml``.  The first of them that names
either address decides about both: what it leaves out is the usual port on the same machine, so a
command never asks one gateway and acts on another.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from gateway.cli.errors import USAGE, CliError

HTTP_PORT = 8080
GRPC_PORT = 50051
MACHINE = "127.0.0.1"
CONFIG = Path(".config/gateway/config.yaml")
"""Below the home folder: keys ``host``, ``url``, ``token`` and ``tls``."""

_HOST = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:@/\[\]\s]+))(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True)
class Tls:
    """How the platform API is called over TLS; PEM files."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Address:
    """One gateway: its REST address, its platform API, and how to be let in."""

    url: str
    host: str
    token: str | None = None
    tls: Tls | None = None

    @property
    def machine(self) -> str:
        """The machine of the platform API, without its port."""
        return _machine(self.host)


@dataclass(frozen=True)
class Given:
    """What the options said; commands find it as ``ctx.obj``."""

    host: str | None = None
    url: str | None = None

    def with_options(self, host: str | None, url: str | None) -> Given:
        """The same, where options after the command's name win over those before."""
        return replace(self, host=host or self.host, url=url or self.url)

    def resolve(self, environ: Mapping[str, str] | None = None) -> Address:
        """The gateway that is meant; :class:`CliError` (usage) for what is no address."""
        environ = os.environ if environ is None else environ
        profile = _Profile.read()
        named = next(
            ((host, url) for host, url in self._levels(environ, profile) if host or url),
            (None, None),
        )
        host, url = _complete(*named)
        # What lets one into the gateway of the file is shown to no other.
        mine = _machine(host) == _machine(_complete(profile.host, profile.url)[0])
        token = environ.get("GATEWAY_TOKEN") or (profile.token if mine else None)
        return Address(url, host, token, profile.tls if mine else None)

    def _levels(
        self, environ: Mapping[str, str], profile: _Profile
    ) -> Iterator[tuple[str | None, str | None]]:
        yield self.host, self.url
        yield environ.get("GATEWAY_HOST"), environ.get("GATEWAY_URL")
        yield profile.host, profile.url


@dataclass(frozen=True)
class _Profile:
    """The user's file."""

    host: str | None = None
    url: str | None = None
    token: str | None = None
    tls: Tls | None = None

    @classmethod
    def read(cls) -> _Profile:
        path = Path.home() / CONFIG
        if not path.exists():
            return cls()
        from gateway.cli.profile import profile

        found = profile(path)
        tls = None
        if found.tls is not None:
            tls = Tls(found.tls.ca, found.tls.certificate, found.tls.key)
        return cls(found.host, found.url, found.token, tls)


def is_local(machine: str) -> bool:
    """True when ``machine`` is this one: no proxy stands between, nobody listens."""
    try:
        return ipaddress.ip_address(machine).is_loopback
    except ValueError:
        return machine == "localhost"


def _complete(host: str | None, url: str | None) -> tuple[str, str]:
    """Both addresses, where one that is missing is on the machine of the other."""
    machine = MACHINE
    if url:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            local = f"http://{MACHINE}:{HTTP_PORT}"
            raise CliError(f"{url!r} is no address of a gateway, such as {local}", USAGE)
        machine = parts.hostname
    if host:
        match = _HOST.fullmatch(host)
        if match is None or not 0 < int(match["port"] or GRPC_PORT) <= 65535:
            raise CliError(f"{host!r} is no HOST:PORT, such as {MACHINE}:{GRPC_PORT}", USAGE)
        name = match["six"] or match["name"]
        host = f"{_bracketed(name)}:{match['port'] or GRPC_PORT}"
        machine = machine if url else name
    shown = _bracketed(machine)
    return host or f"{shown}:{GRPC_PORT}", (url or f"http://{shown}:{HTTP_PORT}").rstrip("/")


def _bracketed(machine: str) -> str:
    return f"[{machine}]" if ":" in machine else machine


def _machine(host: str) -> str:
    return host.rpartition(":")[0].strip("[]")
