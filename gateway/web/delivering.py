"""``/api/v1/destinations/{name}/…``: pausing the delivery, taking it up again, asking by C-ECHO."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from gateway.config.applications import Destination
from gateway.delivery import holds
from gateway.errors import GatewayError
from gateway.events.wake import Topic
from gateway.web.api import describe_destination
from gateway.web.problems import NotFound
from gateway.web.services import Given, Services
from gateway.web.signing import Who

router = APIRouter(prefix="/destinations/{name}", tags=["actions"])


class Echoed(BaseModel):
    """What a destination answered."""

    ok: bool
    milliseconds: float | None
    detail: str


@router.post("/pause")
def pause_destination(services: Given, who: Who, name: str) -> dict[str, Any]:
    """Send nothing to a destination until it is resumed; what is due waits."""
    destination = _destination(services, name)
    with services.database.begin() as connection:
        holds.pause(connection, destination.name, who.user)
    return _told(services, name)


@router.post("/resume")
def resume_destination(services: Given, name: str) -> dict[str, Any]:
    """Take a pause back: what waited is sent."""
    destination = _destination(services, name)
    with services.database.begin() as connection:
        holds.resume(connection, destination.name)
    return _told(services, name)


@router.post("/echo")
def echo_destination(services: Given, name: str) -> Echoed:
    """Ask a destination whether it is there: C-ECHO, or a look at its folder."""
    destination = _destination(services, name)
    if destination.folder is not None:
        return _folder(destination.folder)
    if services.echo is None:
        return Echoed(ok=False, milliseconds=None, detail="this process calls no destinations")
    try:
        seconds = services.echo(destination)
    except GatewayError as error:
        return Echoed(ok=False, milliseconds=None, detail=str(error))
    milliseconds = round(1000 * seconds, 1)
    where = f"{destination.ae_title}@{destination.host}:{destination.port}"
    return Echoed(ok=True, milliseconds=milliseconds, detail=f"{where} answers C-ECHO")


def _destination(services: Services, name: str) -> Destination:
    found = services.ae_config.current.destination(name)
    if found is None:
        raise NotFound(f"There is no destination {name[:64]!r}.")
    return found


def _told(services: Services, name: str) -> dict[str, Any]:
    services.wakeups.notify(Topic.RESULTS, Topic.EVENTS)
    return describe_destination(services, name)


def _folder(folder: Path) -> Echoed:
    # Nobody makes the folder: a share that is not mounted must not be filled in its place.
    there = folder.is_dir()
    good = there and os.access(folder, os.W_OK | os.X_OK)
    detail = "is writable" if good else "is not writable" if there else "is not there"
    return Echoed(ok=good, milliseconds=None, detail=f"{folder} {detail}")
