"""``/api/v1``: what people may do, and the logs of operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from sqlalchemy.engine import Connection

from gateway.events.wake import Topic
from gateway.jobs import controls
from gateway.jobs.rerun import rerun
from gateway.results import tasks
from gateway.web import delivering, details, scheduling
from gateway.web.api import Text, describe
from gateway.web.problems import NotFound
from gateway.web.services import Action, Given, Services

DEFAULT_LOG_BYTES = 1024 * 1024
MAX_LOG_BYTES = 64 * 1024 * 1024
_MAX_OFFSET = 1 << 53
_BLOCK = 256 * 1024

Priority = Literal["lower", "normal", "higher", "immediate"]

router = APIRouter(prefix="/api/v1", tags=["actions"])
router.include_router(scheduling.router)
router.include_router(delivering.router)

_Read = Callable[[Connection, str], dict[str, Any] | None]


def _act(
    services: Services, action: Action, read: _Read, kind: str, identifier: str
) -> dict[str, Any]:
    """Do ``action``, wake the workers and tell the record as it is now."""
    describe(services, read, kind, identifier)
    action(identifier)
    services.wakeups.notify(*Topic)
    found: dict[str, Any] = describe(services, read, kind, identifier)
    return found


@router.post("/jobs/{job_id}/cancel")
def cancel_job(services: Given, job_id: str) -> dict[str, Any]:
    """Cancel a job: a waiting one at once, a running one as soon as its processes ended."""
    return _act(services, services.actions.cancel_job, details.job, "job", job_id)


@router.post("/jobs/{job_id}/rerun")
def rerun_job(
    services: Given,
    job_id: str,
    operator: Annotated[
        str | None,
        Query(min_length=1, max_length=255, description="begin here, on what the others left"),
    ] = None,
) -> dict[str, Any]:
    """Run a stopped job again; what it registered before is discarded."""
    if operator is None:
        return _act(services, services.actions.rerun_job, details.job, "job", job_id)

    def begin(identifier: str) -> None:
        with services.database.begin() as connection:
            rerun(connection, identifier, operator)

    return _act(services, begin, details.job, "job", job_id)


@router.post("/jobs/{job_id}/prioritise")
def prioritise_job(services: Given, job_id: str, priority: Priority) -> dict[str, Any]:
    """Give a waiting job another priority; its time in the queue stays."""

    def change(identifier: str) -> None:
        with services.database.begin() as connection:
            controls.prioritise(connection, identifier, priority)

    return _act(services, change, details.job, "job", job_id)


@router.post("/results/{result_id}/retry")
def retry_result(services: Given, result_id: str) -> dict[str, Any]:
    """Try to deliver a failed or waiting result now."""
    return _act(services, services.actions.retry_result, details.result, "result", result_id)


@router.post("/results/{result_id}/resend")
def resend_result(services: Given, result_id: str) -> dict[str, Any]:
    """Send a delivered result once more, every file, for a destination that lost it."""

    def again(identifier: str) -> None:
        with services.database.begin() as connection:
            tasks.resend(connection, identifier)

    return _act(services, again, details.result, "result", result_id)


@router.post("/payloads/{payload_id}/release")
def release_payload(services: Given, payload_id: str) -> dict[str, Any]:
    """Release a payload in CONFLICT after a person has checked it."""
    action = services.actions.release_payload
    return _act(services, action, details.payload, "payload", payload_id)


@router.post("/payloads/{payload_id}/reroute")
def reroute_payload(services: Given, payload_id: str) -> dict[str, Any]:
    """Evaluate the rules again for a payload's newest revision."""
    action = services.actions.reroute_payload
    return _act(services, action, details.payload, "payload", payload_id)


@router.delete("/payloads/{payload_id}")
def delete_payload(services: Given, payload_id: str) -> dict[str, Any]:
    """Delete a payload's files; its record stays."""
    action = services.actions.delete_payload
    return _act(services, action, details.payload, "payload", payload_id)


@router.post("/quarantine/{quarantine_id}/retry")
def retry_quarantine(services: Given, quarantine_id: str) -> dict[str, Any]:
    """Try a quarantined data set again."""
    return _act(
        services,
        services.actions.retry_quarantine,
        details.quarantined,
        "quarantined data set",
        quarantine_id,
    )


@router.get("/jobs/{job_id}/logs", response_class=StreamingResponse)
def job_logs(
    services: Given,
    job_id: str,
    operator: Text = None,
    attempt: Annotated[int | None, Query(ge=1, description="default: the latest")] = None,
    size: Annotated[
        int, Query(ge=1, le=MAX_LOG_BYTES, description="bytes from the end of each operator's log")
    ] = DEFAULT_LOG_BYTES,
    offset: Annotated[
        int | None,
        Query(ge=0, le=_MAX_OFFSET, description="`size` bytes from here on, to follow a log"),
    ] = None,
) -> StreamingResponse:
    """Give the log text of a job's operators, in the order they stand in the definition."""
    describe(services, details.job, "job", job_id)
    with services.database.read() as connection:
        files = details.log_files(connection, job_id)
    last = max((number for number, _, _ in files), default=0) if attempt is None else attempt
    chosen = [
        (name, path)
        for number, name, path in files
        if number == last and (operator is None or name.lower() == operator.lower())
    ]
    if not chosen and operator is not None:
        raise NotFound(f"Attempt {last} of job {job_id} has no operator {operator[:64]!r}.")
    headed = operator is None
    return StreamingResponse(
        _texts(services.data_dir, chosen, size, offset, headed=headed),
        media_type="text/plain; charset=utf-8",
    )


def _texts(
    data_dir: Path, files: list[tuple[str, str]], size: int, offset: int | None, *, headed: bool
) -> Iterator[bytes]:
    for name, relative in files:
        if headed:
            yield f"==> {name} <==\n".encode()
        yield from piece(data_dir, relative, size, offset)


def piece(data_dir: Path, relative: str, size: int, offset: int | None) -> Iterator[bytes]:
    """``size`` bytes of a log from ``offset`` on, from its end when that is None."""
    root = data_dir.resolve()
    path = (root / relative).resolve()
    # The record is ours, the folder is an operator's neighbour: follow nothing out of data-dir.
    if not path.is_relative_to(root) or not path.is_file():
        return
    with path.open("rb") as file:
        end = path.stat().st_size
        begin = max(0, end - size) if offset is None else min(offset, end)
        file.seek(begin)
        left = min(end - begin, size)
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            left -= len(block)
            yield block
