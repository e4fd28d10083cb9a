"""``/api/v1``: payloads, where a study is, and the configuration in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Query
from pydantic import AwareDatetime, BaseModel
from sqlalchemy.engine import Connection

from gateway.config.model import Settings
from gateway.database.schema import circuits, payloads, results
from gateway.delivery import holds
from gateway.events.times import rfc3339
from gateway.web import listing, where
from gateway.web.listing import Listing
from gateway.web.problems import NotFound
from gateway.web.records import all_shown
from gateway.web.services import Given, Services
from gateway.web.timeline import timeline

Limit = Annotated[int, Query(ge=1, le=listing.MAX_LIMIT, description="items on a page")]
_BEFORE = "`next` of the page before"
Cursor = Annotated[str | None, Query(pattern=listing.CURSOR, description=_BEFORE)]
CountedCursor = Annotated[str | None, Query(pattern=listing.COUNTED_CURSOR, description=_BEFORE)]
Text = Annotated[str | None, Query(min_length=1, max_length=255)]
Since = Annotated[AwareDatetime | None, Query(description="that time and later")]
Until = Annotated[AwareDatetime | None, Query(description="before that time")]

_QUEUE = ("PENDING", "SENDING", "WAITING", "FAILED")

router = APIRouter(prefix="/api/v1", tags=["records"])


class Items(BaseModel):
    """One page of a list: snake_case items, newest first, and the cursor of the next page."""

    items: list[dict[str, Any]]
    next: str | None = None


def describe(
    services: Services, read: Callable[[Connection, str], Any], kind: str, identifier: str
) -> Any:
    """What ``read`` finds; raises :class:`NotFound` when that is nothing."""
    with services.database.read() as connection:
        found = read(connection, identifier)
    if not found:
        raise NotFound(f"There is no {kind} {identifier[:64]!r}.")
    return found


def page_of(
    services: Services,
    what: Listing,
    limit: int,
    cursor: str | None,
    conditions: Callable[[Connection], list[listing.Condition]] = lambda _connection: [],
    **filters: str | None,
) -> Items:
    """One page of ``what``, narrowed by ``filters`` and ``conditions``."""
    with services.database.read() as connection:
        found = listing.page(
            connection,
            what,
            filters=filters,
            where=conditions(connection),
            limit=limit,
            cursor=cursor,
        )
    return Items(items=found.items, next=found.next)


@router.get("/payloads")
def list_payloads(
    services: Given,
    study: Text = None,
    accession: Text = None,
    job: Text = None,
    association: Text = None,
    state: Text = None,
    called_ae: Text = None,
    calling_ae: Text = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Items:
    """List received payloads; `study` is a Study Instance UID."""

    def conditions(connection: Connection) -> list[listing.Condition]:
        found = listing.of_job_or_study(connection, study=study, accession=accession, job=job)
        if association is not None:
            found.append(listing.of_association(association))
        if since is not None:
            found.append(payloads.c.opened_at >= since.timestamp())
        if until is not None:
            found.append(payloads.c.opened_at < until.timestamp())
        return found

    return page_of(
        services, listing.PAYLOADS, limit, cursor, conditions,
        state=state, called_ae=called_ae, calling_ae=calling_ae,
    )  # fmt: skip


@router.get("/payloads/{payload_id}/timeline")
def payload_timeline(services: Given, payload_id: str) -> Items:
    """Tell everything that happened to a payload, oldest first."""
    return Items(items=describe(services, timeline, "payload", payload_id))


@router.get("/payloads/{payload_id}/instances")
def payload_instances(
    services: Given,
    payload_id: str,
    series: Text = None,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: CountedCursor = None,
) -> Items:
    """List the instances of a payload's newest revision."""
    describe(services, _payload_exists, "payload", payload_id)
    return page_of(
        services,
        listing.INSTANCES,
        limit,
        cursor,
        lambda _connection: [listing.in_payload(payload_id)],
        series=series,
    )


@router.get("/where")
def where_is_my_study(
    services: Given, study: Text = None, accession: Text = None
) -> dict[str, Any]:
    """Where is my study: its payloads with their timelines, or why there are none."""
    if study is None and accession is None:
        raise HTTPException(422, "Give study (a Study Instance UID) or accession.")
    with services.database.read() as connection:
        return where.where_is(connection, study=study, accession=accession)


@router.get("/destinations")
def list_destinations(services: Given) -> Items:
    """List configured destinations with circuit, pause and queue of each."""
    with services.database.read() as connection:
        rows = all_shown(connection.execute(sa.select(circuits)).mappings())
        paused = holds.holds(connection)
        queues = _queues(connection)
    state = {row.pop("destination").lower(): row for row in rows}
    items = [_plain(d) for d in services.ae_config.current.destinations]
    for item in items:
        name = item["name"].lower()
        hold = paused.get(name)
        item["circuit"] = state.get(name)
        item["paused"] = hold and {"since": rfc3339(hold.since), "by": hold.by}
        item["queue"] = {each: queues.get((name, each), 0) for each in _QUEUE}
    return Items(items=items)


def _queues(connection: Connection) -> dict[tuple[str, str], int]:
    """Results that are not delivered, by destination in small letters and state."""
    name = sa.func.lower(results.c.destination)
    query = sa.select(name, results.c.state, sa.func.count()).where(results.c.state.in_(_QUEUE))
    rows = connection.execute(query.group_by(name, results.c.state))
    return {(name or "", state): n for name, state, n in rows}


@router.get("/destinations/{name}")
def describe_destination(services: Given, name: str) -> dict[str, Any]:
    """Describe a destination with its circuit."""
    for item in list_destinations(services).items:
        if item["name"].lower() == name.lower():
            return item
    raise NotFound(f"There is no destination {name[:64]!r}.")


@router.get("/sources")
def list_sources(services: Given) -> Items:
    """List configured sources."""
    return Items(items=[_plain(s) for s in services.ae_config.current.sources])


@router.get("/applications")
def list_applications(services: Given) -> Items:
    """List called AE titles with their rules."""
    return Items(items=[_plain(a) for a in services.ae_config.current.applications])


def _plain(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(mode="json", by_alias=False)


def _payload_exists(connection: Connection, identifier: str) -> str | None:
    query = sa.select(payloads.c.id).where(payloads.c.id == identifier)
    return connection.scalar(query)
