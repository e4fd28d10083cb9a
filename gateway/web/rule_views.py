"""``/api/v1/rules``: the rules in force, and what they would do, without doing it."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from pydantic import Field
from sqlalchemy.engine import Connection
from starlette.concurrency import run_in_threadpool

from gateway.config.applications import AeConfig
from gateway.database.schema import decisions, payloads
from gateway.routing.explain import Explanation, explain, explain_payload
from gateway.web.api import Items
from gateway.web.problems import NotFound
from gateway.web.records import finite
from gateway.web.services import Given, Services
from gateway.web.signing import Body

LOOK_BACK_SECONDS = 7 * 86400
"""How far back matches and errors are counted."""

router = APIRouter(prefix="/api/v1/rules", tags=["rules"])

AeTitle = Annotated[str, Query(min_length=1, max_length=16, description="called AE title")]
Calling = Annotated[str, Query(min_length=1, max_length=16, description="calling AE title")]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Stored(Body):
    """A study of the past."""

    payload: Annotated[str, Field(min_length=1, max_length=64)]
    """A received payload's id."""


@router.get("")
def list_rules(services: Given) -> dict[str, Any]:
    """Tell the called AE titles and rules in force, what they did lately, and faults of files."""
    live = services.ae_config
    config, fault = live.current, live.fault
    with services.database.read() as connection:
        done = _done(connection)
    return {
        "version": config.version,
        "valid": fault is None,
        "faults": [dataclasses.asdict(each) for each in fault.faults] if fault else [],
        "applications": list(_applications(config, done)),
    }


@router.post("/explain")
def explain_stored(services: Given, given: Stored) -> Items:
    """Explain what the rules in force would do with a study of the past; nothing is done."""
    with services.database.read() as connection:
        query = sa.select(payloads).where(payloads.c.id == given.payload)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"There is no payload {given.payload!r}.")
        found = explain_payload(connection, row, services.ae_config.current)
    return _told([found])


@router.post("/explain-file", openapi_extra=_BODY)
async def explain_file(
    request: Request, services: Given, called: AeTitle, calling: Calling = "ANY-SCP"
) -> Items:
    """Explain what the rules in force would do with a DICOM file; it is not kept."""
    with tempfile.TemporaryDirectory(prefix="gateway-explain-") as folder:
        path = Path(folder) / "file.dcm"
        with path.open("wb") as file:
            async for block in request.stream():
                await run_in_threadpool(file.write, block)
        return await run_in_threadpool(_explain, services, path, called, calling, _from(request))


def _explain(services: Services, path: Path, called: str, calling: str, host: str) -> Items:
    if services.ae_config.current.application(called) is None:
        raise NotFound(f"No application is called {called!r}.")
    return _told(explain([path], called, calling, host, services.ae_config.current))


def _from(request: Request) -> str:
    return request.client.host if request.client else "127.0.0.1"


def _told(found: Iterable[Explanation]) -> Items:
    items = [finite(_plain(dataclasses.asdict(each))) for each in found]
    for item in items:
        item.pop("group_key")
    return Items(items=items)


def _plain(value: Any) -> Any:
    """The same with lists for tuples and plain mappings."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _applications(
    config: AeConfig, done: dict[tuple[str, str], dict[str, Any]]
) -> Iterable[dict[str, Any]]:
    nothing = {"matched": 0, "errors": 0, "last_error": None}
    for application in config.applications:
        shown = application.model_dump(mode="json", by_alias=False)
        for rule in shown["rules"]:
            rule |= done.get((application.ae_title, rule["name"]), nothing)
        yield shown


def _done(connection: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """By called AE title and rule: matches and errors of the last days, and the last error."""
    d = decisions.c
    since = d.decided_at >= time.time() - LOOK_BACK_SECONDS
    query = (
        sa.select(payloads.c.called_ae, d.rule, d.outcome, sa.func.count(), sa.func.max(d.id))
        .join(payloads, payloads.c.id == d.payload_id)
        .where(since, d.rule.is_not(None))
        .group_by(payloads.c.called_ae, d.rule, d.outcome)
    )
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for called, rule, outcome, count, last in connection.execute(query).all():
        entry = found.setdefault((called, rule), {"matched": 0, "errors": 0, "last_error": None})
        if outcome == "ERROR":
            entry["errors"] = count
            entry["last_error"] = connection.scalar(sa.select(d.error).where(d.id == last))
        elif outcome in {"MATCHED", "UNCHANGED"}:
            entry["matched"] += count
    return found
