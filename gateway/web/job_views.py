"""``/api/v1/jobs/{id}/…``: a job's graph, its operators' logs as they grow, and its files."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from gateway.database.schema import jobs, operators
from gateway.errors import Refused
from gateway.jobs.logs import MOST_READ, Logs
from gateway.web import graphs, ranges
from gateway.web.api import describe
from gateway.web.job_files import JobFiles
from gateway.web.problems import NotFound
from gateway.web.services import Given, Services

_MOST_OFFSET = 1 << 53
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a folder's entries, or a file's bytes",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Folder"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    206: {
        "description": "the range asked for",
        "content": {"application/octet-stream": {"schema": {"type": "string"}}},
    },
}

router = APIRouter(prefix="/api/v1/jobs/{job_id}", tags=["jobs"])


class LogPiece(BaseModel):
    """A piece of an operator's log."""

    text: str
    next_offset: int
    """Ask again from here."""
    attempt: int
    ended: bool
    """The operator ended, and this is the end of its log."""


class Entry(BaseModel):
    """A file or folder of a job."""

    name: str
    path: str
    kind: str
    size: int | None
    modified_at: str


class Folder(BaseModel):
    """What a folder of a job holds."""

    path: str
    items: list[Entry]
    truncated: bool
    """There is more than is listed."""


@router.get("/graph")
def job_graph(services: Given, job_id: str) -> dict[str, Any]:
    """Give the graph of a job's pipeline with state and times of each operator."""
    found: dict[str, Any] = describe(services, graphs.of_job, "job", job_id)
    return found


@router.get("/operators/{operator}/log")
def operator_log(
    services: Given,
    job_id: str,
    operator: str,
    offset: Annotated[int, Query(ge=0, le=_MOST_OFFSET, description="bytes to skip")] = 0,
    attempt: Annotated[int | None, Query(ge=1, le=1 << 31, description="default: the last")] = None,
) -> LogPiece:
    """Give an operator's log from `offset` on, at most 1 MiB, to follow it while it grows."""
    with services.database.read() as connection:
        row = _operator(connection, job_id, operator, attempt)
        if row is None:
            raise NotFound(f"Job {job_id[:64]!r} has no operator {operator[:64]!r} that ran.")
        try:
            piece = Logs(services.data_dir).read(
                connection, job_id, row.name, offset, attempt=row.attempt
            )
        except Refused as error:
            raise NotFound(str(error)) from error
    # A piece that is not full goes to the end, but for half a character.
    ended = row.stopped_at is not None and piece.next_offset - offset < MOST_READ - 4
    return LogPiece(
        text=piece.text, next_offset=piece.next_offset, attempt=row.attempt, ended=ended
    )


@router.get("/files")
def job_folder(services: Given, job_id: str) -> Folder:
    """List the files of a job: `input` and, below `operators`, what each of them wrote."""
    found = _files(services, job_id).open("")
    assert isinstance(found, dict)  # noqa: S101 - the payload's folder is no file
    return Folder.model_validate(found)


@router.get("/files/{path:path}", responses=_FILE)
def job_file(request: Request, services: Given, job_id: str, path: str) -> Response:
    """Download a file of a job, whole or in ranges, or list a folder."""
    found = _files(services, job_id).open(path)
    if isinstance(found, dict):
        return JSONResponse(found)
    return ranges.answer(request, found, path.rpartition("/")[2])


def _files(services: Services, job_id: str) -> JobFiles:
    payload_id: str = describe(services, _payload, "job", job_id)
    return JobFiles(services.data_dir, payload_id)


def _payload(connection: Connection, job_id: str) -> str | None:
    return connection.scalar(sa.select(jobs.c.payload_id).where(jobs.c.id == job_id))


def _operator(connection: Connection, job_id: str, operator: str, attempt: int | None) -> Any:
    query = sa.select(operators.c.name, operators.c.attempt, operators.c.stopped_at).where(
        operators.c.job_id == job_id, sa.func.lower(operators.c.name) == operator.lower()
    )
    if attempt is not None:
        query = query.where(operators.c.attempt == attempt)
    return connection.execute(query.order_by(operators.c.attempt.desc()).limit(1)).first()
