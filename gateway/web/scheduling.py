"""``/api/v1/scheduler``: what is held, and pausing, draining and resuming it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.events.wake import Topic
from gateway.jobs import controls
from gateway.jobs.controls import Mode
from gateway.web.services import Given, Services

Pipeline = Annotated[
    str | None,
    Query(min_length=1, max_length=255, description="name of one pipeline; absent = all jobs"),
]

router = APIRouter(tags=["actions"])


@router.get("/scheduler")
def describe_scheduler(services: Given) -> dict[str, Any]:
    """Tell what is paused or draining, and how many jobs wait and run."""
    with services.database.read() as connection:
        return controls.overview(connection)


@router.post("/scheduler/pause")
def pause_scheduler(services: Given, pipeline: Pipeline = None) -> dict[str, Any]:
    """Let no job start, IMMEDIATE ones included; running jobs go on."""
    return _hold(services, Mode.PAUSED, pipeline)


@router.post("/scheduler/drain")
def drain_scheduler(services: Given, pipeline: Pipeline = None) -> dict[str, Any]:
    """Let only jobs start that are queued already; later ones wait."""
    return _hold(services, Mode.DRAINING, pipeline)


@router.post("/scheduler/resume")
def resume_scheduler(services: Given, pipeline: Pipeline = None) -> dict[str, Any]:
    """Take back a pause or drain of the same name."""
    with services.database.begin() as connection:
        controls.resume(connection, pipeline)
    return _told(services)


def _hold(services: Services, mode: Mode, pipeline: str | None) -> dict[str, Any]:
    with services.database.begin() as connection:
        controls.hold(connection, mode, pipeline)
    return _told(services)


def _told(services: Services) -> dict[str, Any]:
    services.wakeups.notify(Topic.JOBS, Topic.EVENTS)
    return describe_scheduler(services)
