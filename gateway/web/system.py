"""``/api/v1/system``: what this gateway is made of, how it is set, and how its parts are."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request

from gateway.events.times import rfc3339
from gateway.monitor import health, machine
from gateway.web.accounts.roles import Role
from gateway.web.services import Given, Services
from gateway.web.signing import Who

HIDDEN = "***"
"""What stands in the place of a secret."""
_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")
_LONGEST_LICENCE = 80

router = APIRouter(prefix="/api/v1", tags=["system"])


@router.get("/system")
def system(request: Request, services: Given, who: Who) -> dict[str, Any]:
    """Tell the version, a line for each part, the settings (to administrators) and components."""
    settings = None
    if services.settings is not None and who.may(Role.ADMINISTRATOR):
        data = services.settings.model_dump(mode="json", by_alias=True)
        settings = without_secrets(data)
    return {
        "version": services.version,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "started_at": rfc3339(request.app.state.started_at),
        "checks": list(_checks(services)),
        "settings": settings,
        "components": components(),
    }


def without_secrets(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the settings without passwords, digests of tokens and values of variables."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if key in {"env", "sha256"}:
            # Variables of images are where people put keys of services.
            named = isinstance(value, Mapping)
            found[key] = dict.fromkeys(value, HIDDEN) if named else HIDDEN
        else:
            found[key] = _shown(value)
    return found


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return _PASSWORD.sub(rf"\1:{HIDDEN}@", value) if isinstance(value, str) else value


@functools.cache
def components() -> list[dict[str, Any]]:
    """Every installed distribution with version and licence, by name."""
    found = {each["name"].lower(): each for each in map(_component, _distributions())}
    return [found[name] for name in sorted(found)]


def _distributions() -> Iterator[importlib.metadata.Distribution]:
    return (each for each in importlib.metadata.distributions() if each.metadata["Name"])


def _component(distribution: importlib.metadata.Distribution) -> dict[str, Any]:
    metadata = distribution.metadata
    named = [
        line.rpartition("::")[2].strip()
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    # Older packages put the whole text there.
    texts = [*(metadata.get_all("License-Expression") or ()), *(metadata.get_all("License") or ())]
    shorts = [text for text in texts if "\n" not in text and 0 < len(text) <= _LONGEST_LICENCE]
    short = shorts[0] if shorts else ", ".join(named)
    return {"name": metadata["Name"], "version": distribution.version, "licence": short or None}


def _checks(services: Services) -> Iterator[dict[str, Any]]:
    """A line for each part, as ``gateway doctor`` prints them."""
    for name, part in health.report(services.checks).parts.items():
        told = "; ".join(_words(key, value) for key, value in part.detail.items())
        yield {"name": name, "status": part.condition, "detail": told or "works"}
    here = machine.look()
    detail = f"{here.cpu} cores, {here.memory_mb} MB of memory"
    yield {"name": "machine", "status": health.Condition.OK, "detail": detail}
    for gpu in services.machine().gpus:
        reading = gpu.reading
        size, used = (n // 2**20 for n in (reading.memory_total, reading.memory_used))
        detail = f"{reading.device.model}, {used} of {size} MB in use"
        name = f"gpu {reading.device.index}"
        yield {"name": name, "status": health.Condition.OK, "detail": detail}


def _words(key: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{key.replace('_', ' ')}: {text}"
