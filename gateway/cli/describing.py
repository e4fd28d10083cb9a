"""``gateway describe …`` and ``gateway logs …``: one record with everything around it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.groups import group
from gateway.cli.options import (
    Identifier,
    JobOption,
    Json,
    OptionalIdentifier,
    PipelineOption,
    one,
)

app = group("Describe one record.")


def _get(ctx: typer.Context, path: str) -> Any:
    from gateway.cli.client import Client

    with Client.of(ctx.obj) as client:
        return client.get(path)


def _quoted(identifier: str) -> str:
    from urllib.parse import quote

    return quote(identifier, safe="")


@app.command("payload")
def payload(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Describe a payload: a received one with its whole timeline, another one with its files.

    \b
    Examples:
      gateway describe payload PAYLOAD
      gateway describe payload PAYLOAD --json
    """
    from gateway.cli import show
    from gateway.cli.errors import NOT_FOUND, CliError, second_place

    path = f"/api/v1/payloads/{_quoted(identifier)}"
    try:
        found = _get(ctx, path)
    except CliError as error:
        if error.code != NOT_FOUND:
            raise
        with second_place(error):
            _files(ctx, identifier, as_json)
        return
    found["timeline"] = _get(ctx, path + "/timeline")["items"]
    if as_json:
        show.as_json(found)
        return
    show.fields(
        found,
        (
            "id",
            "state",
            "reason",
            "called_ae",
            "calling_ae",
            "host",
            "group_by",
            "revision",
            "instances",
            "bytes",
            "study_instance_uid",
            "opened_at",
            "completed_at",
            "routed_at",
            "finished_at",
            "deleted_at",
            "correlation_id",
        ),
    )
    _section("series", found["series"], "series_instance_uid modality instances")
    _section("decisions", found["decisions"], "rule revision outcome job_id error")
    _section("jobs", found["jobs"], "id name state status revision reason")
    _section("quarantine", found["quarantine"], "id reason received_at resolution")
    _section("timeline", found["timeline"], "time text")


def _files(ctx: typer.Context, identifier: str, as_json: bool) -> None:
    """Describe a reusable payload, or a job's."""
    from gateway.cli import show, transfers
    from gateway.cli.remote import Platform

    with Platform(ctx.obj.resolve()) as platform:
        found = transfers.details(platform, identifier)
    if as_json:
        show.as_json(found)
        return
    show.fields(found, ("id", "type", "job_id", "metadata"))
    _section("files", found["files"], "name size mode")


@app.command("job")
def job(
    ctx: typer.Context,
    identifier: OptionalIdentifier = None,
    option: JobOption = None,
    as_json: Json = False,
) -> None:
    """Describe a job: why it started, how each operator went, what came of it.

    \b
    Examples:
      gateway describe job JOB
      gateway describe job -j JOB --json
    """
    from gateway.cli import show

    found = _get(ctx, f"/api/v1/jobs/{_quoted(one('job', identifier, option))}")
    if as_json:
        show.as_json(found)
        return
    pipeline = found["pipeline"]
    found["pipeline"] = f"{pipeline['name']} version {pipeline['version']}"
    show.fields(
        found,
        (
            "id",
            "name",
            "state",
            "status",
            "reason",
            "exit_code",
            "attempt",
            "priority",
            "pipeline",
            "why",
            "created_at",
            "started_at",
            "stopped_at",
            "cpu",
            "memory_mb",
            "gpus",
            "labels",
            "timeout_seconds",
            "variables",
            "destinations",
            "received_payload_id",
            "payload_id",
            "correlation_id",
        ),
    )
    _how_it_went(found)


@app.command("result")
def result(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Describe a result with the state of each file.

    \b
    Example:
      gateway describe result RESULT
    """
    from gateway.cli import show

    found = _get(ctx, f"/api/v1/results/{_quoted(identifier)}")
    if as_json:
        show.as_json(found)
        return
    show.fields(
        found,
        (
            "id",
            "state",
            "reason",
            "destination",
            "agent",
            "job_id",
            "retries",
            "created_at",
            "delivered_at",
            "next_at",
            "commitment",
            "commitment_reason",
            "commitment_tries",
            "commitment_at",
            "committed_at",
            "correlation_id",
        ),
    )
    columns = "path sop_instance_uid sop_class_uid size state status comment attempts sent_at"
    _section("files", found["files"], columns + " committed_at commitment_failure")
    columns = "transaction_uid state created_at asked_at reported_at reason"
    _section("storage commitment", found["commitments"], columns)


@app.command("association")
def association(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Describe an association with the payloads it fed.

    \b
    Example:
      gateway describe association ASSOCIATION
    """
    from gateway.cli import show

    found = _get(ctx, f"/api/v1/associations/{_quoted(identifier)}")
    if as_json:
        show.as_json(found)
        return
    show.fields(found, [name for name in found if name != "payloads"])
    _section("payloads", found["payloads"], "id state called_ae instances study_instance_uid")


@app.command("pipeline")
def pipeline(
    ctx: typer.Context,
    identifier: Annotated[
        str | None,
        typer.Argument(metavar="IDENTIFIER", help="Identifier or name (newest version)."),
    ] = None,
    option: PipelineOption = None,
    as_json: Json = False,
) -> None:
    """Print a pipeline's definition.

    \b
    Examples:
      gateway describe pipeline lung-density
      gateway describe pipelines -p PIPELINE --json
    """
    from gateway.cli import show

    found = _get(ctx, f"/api/v1/pipelines/{_quoted(one('pipeline', identifier, option))}")
    if as_json:
        show.as_json(found)
        return
    show.fields(found, ("id", "name", "version", "digest", "file", "created_at", "removed_at"))
    show.heading("definition")
    show.lines(found["definition"].splitlines())


def _plain(ctx: typer.Context, kind: str, identifier: str, as_json: bool) -> None:
    from gateway.cli import show

    found = _get(ctx, f"/api/v1/{kind}/{_quoted(identifier)}")
    if as_json:
        show.as_json(found)
    else:
        show.fields(found, list(found))


@app.command("quarantine")
def quarantine(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Describe a data set that could not be used.

    \b
    Example:
      gateway describe quarantine QUARANTINE
    """
    _plain(ctx, "quarantine", identifier, as_json)


@app.command("event")
def event(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Describe an event.

    \b
    Example:
      gateway describe event EVENT --json
    """
    _plain(ctx, "events", identifier, as_json)


@app.command("destination")
def destination(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name.")],
    as_json: Json = False,
) -> None:
    """Describe a destination and whether it is being tried.

    \b
    Example:
      gateway describe destination PACS
    """
    _plain(ctx, "destinations", name, as_json)


def _section(title: str, rows: list[dict[str, Any]], columns: str) -> None:
    from gateway.cli import show

    if rows:
        show.heading(title)
        show.table(rows, columns.split())


def _how_it_went(found: dict[str, Any]) -> None:
    """Print what a job notes, its decision, operators with their last lines, and results."""
    from gateway.cli import show

    if found["notes"]:
        show.heading("notes")
        show.lines(found["notes"])
    if found["decision"]:
        show.heading("decision")
        show.fields(
            found["decision"], ("rule", "outcome", "expressions", "values", "selected", "error")
        )
    columns = "attempt name status started_at stopped_at seconds exit_code reason"
    _section("operators", found["operators"], columns)
    for operator in found["operators"]:
        if operator["tail"]:
            show.heading(f"last lines of {operator['name']}, attempt {operator['attempt']}")
            show.lines(operator["tail"].splitlines())
    _section("results", found["results"], "id destination agent state retries reason")
