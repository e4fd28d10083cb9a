"""``/api/v1``: lists and descriptions of every record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from gateway.config.model import Settings
from gateway.database.schema import circuits, payloads, pipelines, quarantine
from gateway.web import details, listing, where
from gateway.web.listing import Listing
from gateway.web.problems import NotFound
from gateway.web.records import all_shown
from gateway.web.services import Given, Services
from gateway.web.timeline import timeline

Limit = Annotated[int, Query(ge=1, le=listing.MAX_LIMIT, description="items on a page")]
_BEFORE = "`next` of the page before"
Cursor = Annotated[str | None, Query(pattern=listing.CURSOR, description=_BEFORE)]
CountedCursor = Annotated[str | None, Query(pattern=listing.COUNTED_CURSOR, description=_BEFORE)]
NumberCursor = Annotated[str | None, Query(pattern=listing.NUMBER_CURSOR, description=_BEFORE)]
Text = Annotated[str | None, Query(min_length=1, max_length=255)]

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


def _page(
    services: Services,
    what: Listing,
    limit: int,
    cursor: str | None,
    conditions: Callable[[Connection], list[listing.Condition]] = lambda _connection: [],
    **filters: str | None,
) -> Items:
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
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Items:
    """List received payloads; `study` is a Study Instance UID."""

    def conditions(connection: Connection) -> list[listing.Condition]:
        found = listing.of_job_or_study(connection, study=study, accession=accession, job=job)
        return [*found, listing.of_association(association)] if association else found

    return _page(
        services, listing.PAYLOADS, limit, cursor, conditions,
        state=state, called_ae=called_ae, calling_ae=calling_ae,
    )  # fmt: skip


@router.get("/payloads/{payload_id}")
def describe_payload(services: Given, payload_id: str) -> dict[str, Any]:
    """Describe a payload: revisions, series, associations, decisions, jobs."""
    found: dict[str, Any] = describe(services, details.payload, "payload", payload_id)
    return found


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
    return _page(
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


@router.get("/jobs")
def list_jobs(
    services: Given,
    state: Text = None,
    status: Text = None,
    payload: Text = None,
    called_ae: Text = None,
    rule: Text = None,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Items:
    """List jobs; `payload` is a received payload's id."""
    return _page(
        services, listing.JOBS, limit, cursor,
        state=state, status=status, payload=payload, called_ae=called_ae, rule=rule,
    )  # fmt: skip


@router.get("/jobs/{job_id}")
def describe_job(services: Given, job_id: str) -> dict[str, Any]:
    """Describe a job: operators with times and last log lines, results, why it started."""
    found: dict[str, Any] = describe(services, details.job, "job", job_id)
    return found


@router.get("/results")
def list_results(
    services: Given,
    state: Text = None,
    destination: Text = None,
    job: Text = None,
    agent: Text = None,
    commitment: Text = None,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Items:
    """List results of jobs and how far their delivery is."""
    return _page(
        services, listing.RESULTS, limit, cursor,
        state=state, destination=destination, job=job, agent=agent, commitment=commitment,
    )  # fmt: skip


@router.get("/results/{result_id}")
def describe_result(services: Given, result_id: str) -> dict[str, Any]:
    """Describe a result with the state of each file and its storage commitment transactions."""
    found: dict[str, Any] = describe(services, details.result, "result", result_id)
    return found


@router.get("/commitment-requests")
def list_commitment_requests(
    services: Given,
    state: Text = None,
    called_ae: Text = None,
    calling_ae: Text = None,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Items:
    """List what modalities asked to be committed, and what they were told."""
    return _page(
        services, listing.COMMITMENT_REQUESTS, limit, cursor,
        state=state, called_ae=called_ae, calling_ae=calling_ae,
    )  # fmt: skip


@router.get("/associations")
def list_associations(
    services: Given,
    state: Text = None,
    called_ae: Text = None,
    calling_ae: Text = None,
    host: Text = None,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Items:
    """List associations, rejected ones with their reasons included."""
    return _page(
        services, listing.ASSOCIATIONS, limit, cursor,
        state=state, called_ae=called_ae, calling_ae=calling_ae, host=host,
    )  # fmt: skip


@router.get("/associations/{association_id}")
def describe_association(services: Given, association_id: str) -> dict[str, Any]:
    """Describe an association with the payloads it fed."""
    found: dict[str, Any] = describe(services, details.association, "association", association_id)
    return found


@router.get("/events")
def list_events(
    services: Given,
    kind: Text = None,
    correlation: Text = None,
    association: Text = None,
    payload: Text = None,
    job: Text = None,
    result: Text = None,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: NumberCursor = None,
) -> Items:
    """List events, newest first."""
    return _page(
        services, listing.EVENTS, limit, cursor, kind=kind, correlation=correlation,
        association=association, payload=payload, job=job, result=result,
    )  # fmt: skip


@router.get("/events/{event_id}")
def describe_event(services: Given, event_id: str) -> dict[str, Any]:
    """Describe one event."""
    found: dict[str, Any] = describe(services, details.event, "event", event_id)
    return found


@router.get("/decisions")
def list_decisions(
    services: Given,
    payload: Text = None,
    job: Text = None,
    outcome: Text = None,
    rule: Text = None,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: CountedCursor = None,
) -> Items:
    """List what the rules decided, with what was evaluated."""
    return _page(
        services, listing.DECISIONS, limit, cursor,
        payload=payload, job=job, outcome=outcome, rule=rule,
    )  # fmt: skip


@router.get("/quarantine")
def list_quarantine(
    services: Given,
    called_ae: Text = None,
    calling_ae: Text = None,
    resolved: Annotated[bool, Query(description="those retried or deleted, too")] = False,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Items:
    """List data sets that could not be used, with the reason."""
    unresolved = [] if resolved else [quarantine.c.resolved_at.is_(None)]
    return _page(
        services, listing.QUARANTINE, limit, cursor, lambda _connection: list(unresolved),
        called_ae=called_ae, calling_ae=calling_ae,
    )  # fmt: skip


@router.get("/quarantine/{quarantine_id}")
def describe_quarantined(services: Given, quarantine_id: str) -> dict[str, Any]:
    """Describe one unusable data set."""
    found: dict[str, Any] = describe(
        services, details.quarantined, "quarantined data set", quarantine_id
    )
    return found


@router.get("/pipelines")
def list_pipelines(
    services: Given,
    name: Text = None,
    removed: Annotated[bool, Query(description="removed versions, too")] = False,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Items:
    """List registered pipelines, every version."""
    present = [] if removed else [pipelines.c.removed_at.is_(None)]
    return _page(
        services, listing.PIPELINES, limit, cursor, lambda _connection: list(present), name=name
    )


@router.get("/pipelines/{pipeline}")
def describe_pipeline(services: Given, pipeline: str) -> dict[str, Any]:
    """Describe a pipeline by id, or its newest version by name, with its definition."""
    found: dict[str, Any] = describe(services, details.pipeline, "pipeline", pipeline)
    return found


@router.get("/destinations")
def list_destinations(services: Given) -> Items:
    """List configured destinations with the circuit of each."""
    with services.database.read() as connection:
        rows = all_shown(connection.execute(sa.select(circuits)).mappings())
    state = {row.pop("destination").lower(): row for row in rows}
    items = [_plain(d) for d in services.ae_config.current.destinations]
    for item in items:
        item["circuit"] = state.get(item["name"].lower())
    return Items(items=items)


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
