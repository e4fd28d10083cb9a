"""Pull secrets: who the gateway is to a registry.

A secret is a file in Docker's own form (``{"auths": {"registry": {"auth": "…"}}}``), the form that
Kubernetes keeps secrets of registries in too.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway.errors import Permanent

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_MOST = 1 << 20


class SecretError(Permanent):
    """A pull secret that is not there or not readable; the message tells no part of it."""


def find(folder: Path | None, names: Iterable[str], reference: str) -> Mapping[str, str] | None:
    """User and password for the registry of ``reference``, from the first secret that has them.

    ``folder`` holds ``<name>.json`` for each secret; None = there are none.  None returned = no
    secret knows the registry; :class:`SecretError` when a named secret cannot be used.
    """
    registry = registry_of(reference)
    for name in names:
        entry = _entry(_read(folder, name), registry)
        if entry is not None:
            return _login(name, entry)
    return None


def registry_of(reference: str) -> str:
    """The host part of an image's name; Docker Hub where there is none."""
    host, slash, _ = reference.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return host
    return _DOCKER_HUB[0]


def _read(folder: Path | None, name: str) -> Mapping[str, Any]:
    if folder is None or not _NAME.fullmatch(name):
        raise SecretError(f"`container.pull-secrets` of gateway.yaml has no secret {name!r}")
    try:
        with (folder / f"{name}.json").open("rb") as file:
            found = json.loads(file.read(_MOST))
    except FileNotFoundError:
        message = f"`container.pull-secrets` of gateway.yaml has no secret {name!r}"
        raise SecretError(message) from None
    except (OSError, ValueError):
        raise SecretError(f"the pull secret {name!r} cannot be read") from None
    if not isinstance(found, dict) or not isinstance(found.get("auths"), dict):
        raise SecretError(f'the pull secret {name!r} has no "auths"')
    return dict(found["auths"])


def _entry(auths: Mapping[str, Any], registry: str) -> Mapping[str, Any] | None:
    same = _DOCKER_HUB if registry in _DOCKER_HUB else (registry,)
    for key, entry in auths.items():
        host = re.sub(r"^https?://", "", key).partition("/")[0]
        if host in same and isinstance(entry, dict):
            return entry
    return None


def _login(name: str, entry: Mapping[str, Any]) -> Mapping[str, str]:
    user, password = entry.get("username"), entry.get("password")
    if "auth" in entry:
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise SecretError(f"the pull secret {name!r} cannot be read") from None
        user, _, password = text.partition(":")
    if not isinstance(user, str) or not isinstance(password, str):
        raise SecretError(f"the pull secret {name!r} has no user or no password")
    return {"username": user, "password": password}
