"""``~/.config/gateway/config.yaml``: the user's gateway."""

from __future__ import annotations

from pathlib import Path

from gateway.config.document import read, validate
from gateway.config.model import Settings


class ProfileTls(Settings):
    """TLS of the platform API; relative paths are relative to the file."""

    ca: Path | None = None
    """PEM file of the authorities that vouch for the gateway; null = gRPC's own."""
    certificate: Path | None = None
    """PEM file of one's own certificate chain, for a gateway that asks for it."""
    key: Path | None = None
    """PEM file of its private key."""


class Profile(Settings):
    """The whole file; every key is optional."""

    host: str | None = None
    """Platform API, as ``--host``."""
    url: str | None = None
    """REST, as ``--url``."""
    token: str | None = None
    """Bearer token of the platform API, as ``GATEWAY_TOKEN``."""
    tls: ProfileTls | None = None
    """Call the platform API over TLS; an empty mapping is enough."""


def profile(path: Path) -> Profile:
    """Read ``path``; :class:`~gateway.config.document.ConfigError` with every fault."""
    found = validate(Profile, read(path))
    if found.tls is None:
        return found
    files = {
        name: path.parent / file
        for name in ("ca", "certificate", "key")
        if (file := getattr(found.tls, name)) is not None
    }
    return found.model_copy(update={"tls": found.tls.model_copy(update=files)})
