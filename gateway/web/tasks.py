"""The results service over HTTP, as Clara's adapter polls it (contract, section 6)."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.events.wake import Topic
from gateway.results import tasks
from gateway.web import details
from gateway.web.api import describe
from gateway.web.problems import NotFound
from gateway.web.services import Given, Services

router = APIRouter(prefix="/api/tasks", tags=["results service"])

Agent = Annotated[str, Path(pattern=r"^[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?$", max_length=64)]


class Failure(BaseModel):
    """What a poller says about a task it could not do."""

    model_config = ConfigDict(extra="ignore")

    retry_later: bool = Field(default=False, alias="RetryLater")
    """Put it back for another try."""


@router.get("/{agent}/pending")
def pending(
    services: Given, agent: Agent, size: Annotated[int, Query(ge=1, le=tasks.MOST_TASKS)] = 10
) -> list[dict[str, Any]]:
    """Lease tasks of an agent for five minutes each."""
    with services.database.begin() as connection:
        return tasks.pending(connection, agent, size)


@router.put("/success/{task_id}")
def success(services: Given, task_id: str) -> dict[str, Any]:
    """Take note that a task was done."""
    _exists(services, task_id)
    with services.database.begin() as connection:
        tasks.succeed(connection, task_id)
    services.wakeups.notify(Topic.RESULTS, Topic.EVENTS)
    return {}


@router.put("/failure/{task_id}")
def failure(services: Given, task_id: str, body: Failure) -> dict[str, Any]:
    """Take note that a task could not be done."""
    _exists(services, task_id)
    with services.database.begin() as connection:
        tasks.fail(connection, task_id, body.retry_later)
    services.wakeups.notify(Topic.RESULTS, Topic.EVENTS)
    return {}


def _exists(services: Services, task_id: str) -> None:
    try:
        identifier = uuid.UUID(task_id).hex
    except ValueError as error:
        raise NotFound(f"There is no task {task_id[:64]!r}.") from error
    describe(services, details.result, "task", identifier)
