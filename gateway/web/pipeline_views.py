"""``/api/v1/pipelines…``: versions, their difference, graphs, and definitions to check or keep."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection

from gateway.config.document import ConfigError
from gateway.database.schema import jobs, pipelines
from gateway.jobs import controls
from gateway.pipelines import editor_schema, registry
from gateway.pipelines.parse import parse
from gateway.web import details, graphs
from gateway.web.api import Items, describe
from gateway.web.problems import NotFound, problem
from gateway.web.records import all_shown, shown
from gateway.web.services import Given
from gateway.web.signing import Body

MOST_VERSIONS = 1000
"""Most versions of one pipeline that are listed."""
_CONTEXT = 3
"""Lines that did not change around one that did."""
_FILE = "definition"
"""What a definition from the editor is called in faults; its name becomes its file's."""

router = APIRouter(prefix="/api/v1", tags=["pipelines"])

Version = Annotated[int, Query(ge=1, le=1 << 31)]


class DefinitionText(Body):
    """A definition as somebody writes it."""

    definition: Annotated[str, Field(max_length=1024 * 1024)]


class DefinitionFault(BaseModel):
    """One thing wrong in a definition."""

    line: int | None
    """From 1."""
    key: str
    message: str


class Checked(BaseModel):
    """What the parser says of a definition."""

    valid: bool
    name: str | None = None
    errors: list[DefinitionFault] = []
    graph: dict[str, Any] | None = None
    """Nodes and edges, as of a registered one."""


@router.get("/pipeline-cards")
def pipeline_cards(services: Given) -> Items:
    """Tell of every pipeline its newest version, what waits and runs, and its last run."""
    with services.database.read() as connection:
        held = controls.holds(connection)
        waits = _counts(connection)
        cards = [_card(connection, each, waits, held) for each in _newest(connection)]
    return Items(items=cards)


@router.get("/pipelines/{pipeline}/versions")
def pipeline_versions(services: Given, pipeline: str) -> Items:
    """List the versions of a pipeline, newest first, with how many jobs each has had."""
    with services.database.read() as connection:
        name = _name(connection, pipeline)
        counted = (
            sa.select(jobs.c.pipeline_id, sa.func.count().label("n"))
            .group_by(jobs.c.pipeline_id)
            .subquery()
        )
        p = pipelines.c
        query = (
            sa.select(
                p.id, p.version, p.digest, p.file, p.created_at, p.removed_at,
                sa.func.coalesce(counted.c.n, 0).label("jobs"),
            )
            .outerjoin(counted, counted.c.pipeline_id == p.id)
            .where(sa.func.lower(p.name) == name.lower())
            .order_by(p.version.desc())
            .limit(MOST_VERSIONS)
        )  # fmt: skip
        return Items(items=all_shown(connection.execute(query).mappings()))


@router.get("/pipelines/{pipeline}/diff")
def pipeline_difference(
    services: Given, pipeline: str, before: Version, after: Version
) -> dict[str, Any]:
    """Tell the difference between two versions, line by line."""
    with services.database.read() as connection:
        name = _name(connection, pipeline)
        texts = [_text(connection, name, version) for version in (before, after)]
    old, new = (text.splitlines() for text in texts)
    return {"name": name, "before": before, "after": after, "lines": list(_lines(old, new))}


@router.get("/pipelines/{pipeline}/graph")
def pipeline_graph(services: Given, pipeline: str) -> dict[str, Any]:
    """Give the graph of a pipeline by id, or of its newest version by name."""
    found = describe(services, details.pipeline, "pipeline", pipeline)
    with services.database.read() as connection:
        version = registry.get(connection, found["id"])
    made = graphs.of_definition(version.definition)
    return {"name": version.name, "version": version.version, **made}


@router.get("/schemas/pipeline")
def pipeline_schema() -> dict[str, Any]:
    """Give the JSON Schema of definitions, for editors."""
    return editor_schema.schema()


@router.post("/pipelines/validate")
def validate_pipeline(services: Given, given: DefinitionText) -> Checked:
    """Check a definition; nothing is kept."""
    try:
        found = parse(given.definition, _FILE, host_volumes=services.host_volumes)
    except ConfigError as error:
        return Checked(valid=False, errors=_faults(error))
    return Checked(valid=True, name=found.name, graph=graphs.of_definition(found))


@router.post("/pipelines", status_code=201, response_model=None)
def create_pipeline(services: Given, given: DefinitionText) -> dict[str, Any] | JSONResponse:
    """Register a definition: a new pipeline, or a new version of the one of its name."""
    try:
        name = parse(given.definition, _FILE, host_volumes=services.host_volumes).name
        with services.database.begin() as connection:
            made = registry.register(
                connection, given.definition, f"{name}.yaml", host_volumes=services.host_volumes
            )
    except ConfigError as error:
        faults = [fault.model_dump() for fault in _faults(error)]
        refused: JSONResponse = problem(422, "The definition has faults.", errors=_told(faults))
        return refused
    found: dict[str, Any] = describe(services, details.pipeline, "pipeline", made.id)
    return found


@router.delete("/pipelines/{pipeline}", status_code=204)
def remove_pipeline(services: Given, pipeline: str) -> Response:
    """Take one version, by its id, out of use; jobs that run it go on."""
    with services.database.begin() as connection:
        known = sa.select(pipelines.c.id).where(pipelines.c.id == pipeline)
        if connection.scalar(known) is None:
            raise NotFound(f"There is no pipeline with the id {pipeline[:64]!r}.")
        registry.remove(connection, pipeline)
    return Response(status_code=204)


def _faults(error: ConfigError) -> list[DefinitionFault]:
    return [DefinitionFault(line=f.line, key=f.key, message=f.message) for f in error.faults]


def _told(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with what every problem document has."""
    return [{"at": fault["key"], "detail": fault["message"], **fault} for fault in faults]


def _name(connection: Connection, pipeline: str) -> str:
    found = details.pipeline(connection, pipeline)
    if found is None:
        raise NotFound(f"There is no pipeline {pipeline[:64]!r}.")
    return str(found["name"])


def _text(connection: Connection, name: str, version: int) -> str:
    p = pipelines.c
    query = sa.select(p.definition).where(
        sa.func.lower(p.name) == name.lower(), p.version == version
    )
    text: str | None = connection.scalar(query)
    if text is None:
        raise NotFound(f"Pipeline {name!r} has no version {version}.")
    return text


def _lines(old: list[str], new: list[str]) -> Iterator[dict[str, Any]]:
    kinds = {" ": "same", "-": "removed", "+": "added"}
    compared = difflib.unified_diff(old, new, n=_CONTEXT, lineterm="")
    for number, line in enumerate(compared):
        if line.startswith("@@"):
            yield {"kind": "skip", "text": line}
        elif number > 1:  # the first two name the files
            yield {"kind": kinds[line[:1]], "text": line[1:]}


def _counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Waiting and running jobs by pipeline, in small letters."""
    name = sa.func.lower(pipelines.c.name)
    query = (
        sa.select(name, jobs.c.state, sa.func.count())
        .join(pipelines, pipelines.c.id == jobs.c.pipeline_id)
        .where(jobs.c.state.in_(("PENDING", "RUNNING")))
        .group_by(name, jobs.c.state)
    )
    found: dict[str, dict[str, int]] = {}
    for pipeline, state, n in connection.execute(query):
        found.setdefault(pipeline, {})[state] = n
    return found


def _newest(connection: Connection) -> list[sa.Row[Any]]:
    """The newest version of every pipeline that is in use, by name."""
    p = pipelines.c
    name = sa.func.lower(p.name)
    in_use = p.removed_at.is_(None)
    last = sa.select(name.label("name"), sa.func.max(p.version).label("version"))
    newest = last.where(in_use).group_by(name).subquery()
    both = sa.and_(newest.c.name == name, newest.c.version == p.version)
    query = sa.select(p.id, p.name, p.version).join(newest, both).where(in_use).order_by(name)
    return list(connection.execute(query))


def _card(
    connection: Connection,
    row: sa.Row[Any],
    waits: dict[str, dict[str, int]],
    held: controls.Holds,
) -> dict[str, Any]:
    name = row.name.lower()
    hold = held.get(name) or held.get(controls.EVERYTHING)
    return {
        "id": row.id,
        "name": row.name,
        "version": row.version,
        **_about(connection, row.id),
        "waiting": waits.get(name, {}).get("PENDING", 0),
        "running": waits.get(name, {}).get("RUNNING", 0),
        "held": None if hold is None else hold.mode.value,
        "last_run": _last_run(connection, row.name),
    }


def _about(connection: Connection, pipeline_id: str) -> dict[str, Any]:
    try:
        definition = registry.get(connection, pipeline_id).definition
    except ConfigError:
        # Registered by a release that read it: one such must not hide the others.
        return {"description": "", "operators": []}
    return {
        "description": definition.description,
        "operators": [operator.name for operator in definition.operators],
    }


def _last_run(connection: Connection, name: str) -> dict[str, Any] | None:
    versions = sa.select(pipelines.c.id).where(sa.func.lower(pipelines.c.name) == name.lower())
    newest = []
    # The newest job of each version, by the index that begins with the version.
    for pipeline_id in connection.execute(versions).scalars():
        query = sa.select(
            jobs.c.id,
            jobs.c.state,
            jobs.c.status,
            jobs.c.created_at,
            jobs.c.started_at,
            jobs.c.stopped_at,
        ).where(jobs.c.pipeline_id == pipeline_id)
        query = query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(1)  # fmt: skip
        row = connection.execute(query).mappings().first()
        if row is not None:
            newest.append(row)
    if not newest:
        return None
    found = shown(max(newest, key=lambda row: (row["created_at"], row["id"])))
    return {"job_id": found.pop("id"), **found}
