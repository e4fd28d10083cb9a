"""``/api/v1``: the lists that only filter, and descriptions by identifier, made from two tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection

from gateway.database.schema import (
    associations,
    jobs,
    pipelines,
    quarantine,
    reusable_payloads,
)
from gateway.web import details, listing
from gateway.web.api import Items, Limit, Since, Text, Until, describe, page_of
from gateway.web.listing import Condition, Listing
from gateway.web.services import Given

Priority = Literal["lower", "normal", "higher", "immediate"]

router = APIRouter(prefix="/api/v1", tags=["records"])


@dataclass(frozen=True)
class _Unless:
    """A parameter without which records that meet no condition are left out."""

    name: str
    help: str
    condition: Condition


@dataclass(frozen=True)
class _Narrow:
    """A parameter that is more than the value of a column."""

    name: str
    annotation: Any
    condition: Callable[[Any], Condition]


@dataclass(frozen=True)
class _List:
    """One list: its path, its records, and the parameters it takes, in order."""

    path: str
    help: str
    listing: Listing
    filters: str
    unless: _Unless | None = None
    narrow: tuple[_Narrow, ...] = ()


@dataclass(frozen=True)
class _Description:
    """One description: its path, the name of the identifier in it, and what is read."""

    path: str
    parameter: str
    kind: str
    help: str
    read: Callable[[Connection, str], Any]


def _between(column: sa.Column[Any]) -> tuple[_Narrow, _Narrow]:
    """Parameters `since` and `until` on a column of times."""
    return (
        _Narrow("since", Since, lambda at: column >= at.timestamp()),
        _Narrow("until", Until, lambda at: column < at.timestamp()),
    )


_LISTS = (
    _List(
        "jobs",
        "List jobs; `payload` is a received payload's id.",
        listing.JOBS,
        "state status payload called_ae rule",
        narrow=(
            _Narrow("priority", Priority | None, listing.of_priority),
            _Narrow("pipeline", Text, listing.of_pipeline),
            *_between(jobs.c.created_at),
        ),
    ),
    _List(
        "results",
        "List results of jobs and how far their delivery is.",
        listing.RESULTS,
        "state destination job agent commitment",
    ),
    _List(
        "commitment-requests",
        "List what modalities asked to be committed, and what they were told.",
        listing.COMMITMENT_REQUESTS,
        "state called_ae calling_ae",
    ),
    _List(
        "associations",
        "List associations, rejected ones with their reasons included.",
        listing.ASSOCIATIONS,
        "state called_ae calling_ae host",
        narrow=_between(associations.c.opened_at),
    ),
    _List(
        "services",
        "List long-lived services that operators call: what each holds, and how it is.",
        listing.SERVICES,
        "state identity node",
    ),
    _List(
        "events",
        "List events, newest first.",
        listing.EVENTS,
        "kind correlation association payload job result",
    ),
    _List(
        "decisions",
        "List what the rules decided, with what was evaluated.",
        listing.DECISIONS,
        "payload job outcome rule",
    ),
    _List(
        "quarantine",
        "List data sets that could not be used, with the reason.",
        listing.QUARANTINE,
        "called_ae calling_ae",
        _Unless("resolved", "those retried or deleted, too", quarantine.c.resolved_at.is_(None)),
    ),
    _List(
        "pipelines",
        "List registered pipelines, every version.",
        listing.PIPELINES,
        "name",
        _Unless("removed", "removed versions, too", pipelines.c.removed_at.is_(None)),
    ),
    _List(
        "reusable-payloads",
        "List payloads made by hand to be the input of jobs.",
        listing.REUSABLE_PAYLOADS,
        "",
        _Unless("deleted", "deleted ones, too", reusable_payloads.c.deleted_at.is_(None)),
    ),
)

_DESCRIPTIONS = (
    _Description(
        "payloads",
        "payload_id",
        "payload",
        "Describe a payload: revisions, series, associations, decisions, jobs.",
        details.payload,
    ),
    _Description(
        "jobs",
        "job_id",
        "job",
        "Describe a job: operators with times and last log lines, results, why it started.",
        details.job,
    ),
    _Description(
        "results",
        "result_id",
        "result",
        "Describe a result with the state of each file and its storage commitment transactions.",
        details.result,
    ),
    _Description(
        "associations",
        "association_id",
        "association",
        "Describe an association with the payloads it fed.",
        details.association,
    ),
    _Description(
        "services",
        "service_id",
        "service",
        "Describe a long-lived service.",
        details.service,
    ),
    _Description("events", "event_id", "event", "Describe one event.", details.event),
    _Description(
        "quarantine",
        "quarantine_id",
        "quarantined data set",
        "Describe one unusable data set.",
        details.quarantined,
    ),
    _Description(
        "pipelines",
        "pipeline",
        "pipeline",
        "Describe a pipeline by id, or its newest version by name, with its definition.",
        details.pipeline,
    ),
)


def _route(
    path: str,
    name: str,
    text: str,
    answer: Callable[..., Any],
    parameters: Mapping[str, tuple[Any, Any]],
    gives: Any,
) -> None:
    """Add a route whose ``parameters`` are annotation and default of each."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    answer.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("services", keyword, annotation=Given),
            *(
                inspect.Parameter(each, keyword, annotation=kind, default=default)
                for each, (kind, default) in parameters.items()
            ),
        ],
        return_annotation=gives,
    )
    router.add_api_route(path, answer, methods=["GET"], name=name, description=text)


def _add_list(what: _List) -> None:
    unless = what.unless

    def answer(services: Given, limit: int, cursor: str | None, **given: Any) -> Items:
        every = unless is None or given.pop(unless.name)
        conditions = [] if unless is None or every else [unless.condition]
        for each in what.narrow:
            wanted = given.pop(each.name)
            if wanted is not None:
                conditions.append(each.condition(wanted))
        return page_of(
            services, what.listing, limit, cursor, lambda _connection: conditions, **given
        )

    parameters: dict[str, tuple[Any, Any]] = dict.fromkeys(what.filters.split(), (Text, None))
    parameters |= {each.name: (each.annotation, None) for each in what.narrow}
    if unless is not None:
        flag = Annotated[bool, Query(description=unless.help)]
        parameters[unless.name] = (flag, False)
    before = Query(pattern=what.listing.cursor, description="`next` of the page before")
    parameters["limit"] = (Limit, listing.DEFAULT_LIMIT)
    parameters["cursor"] = (Annotated[str | None, before], None)
    name = "list_" + what.path.replace("-", "_")
    _route(f"/{what.path}", name, what.help, answer, parameters, Items)


def _add_description(what: _Description) -> None:
    def answer(services: Given, **given: str) -> dict[str, Any]:
        found: dict[str, Any] = describe(services, what.read, what.kind, given[what.parameter])
        return found

    name = "describe_" + {"quarantine": "quarantined"}.get(what.path, what.path.removesuffix("s"))
    parameters = {what.parameter: (str, inspect.Parameter.empty)}
    path = f"/{what.path}/{{{what.parameter}}}"
    _route(path, name, what.help, answer, parameters, dict[str, Any])


for _each in _LISTS:
    _add_list(_each)
for _one in _DESCRIPTIONS:
    _add_description(_one)
