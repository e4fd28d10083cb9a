"""``gateway list …``: payloads, jobs, results and everything else the gateway keeps record of."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.groups import group
from gateway.cli.options import CalledAe, CallingAe, Json, Limit, State

app = group("List records, newest first. Singular and plural are the same.")

_DEFAULT = 50
Payload = Annotated[str | None, typer.Option("--payload", help="Only those of this payload.")]
Job = Annotated[str | None, typer.Option("--job", help="Only those of this job.")]


def _list(
    ctx: typer.Context, what: str, columns: str, as_json: bool, limit: int, **params: Any
) -> None:
    from gateway.cli import show
    from gateway.cli.client import Client

    with Client.of(ctx.obj) as client:
        items = client.items(f"/api/v1/{what}", params, limit)
    if as_json:
        show.as_json(items)
    elif items:
        show.table(items, columns.split())
        if len(items) == limit:
            show.notes([f"the newest {limit}; more with --limit"])
    else:
        show.notes([f"no {what}"])


@app.command("payloads")
def payloads(
    ctx: typer.Context,
    study: Annotated[
        str | None, typer.Option("--study", help="Tell the whole story of this Study Instance UID.")
    ] = None,
    accession: Annotated[
        str | None,
        typer.Option("--accession", help="Tell the whole story of this accession number."),
    ] = None,
    state: State = None,
    called: CalledAe = None,
    calling: CallingAe = None,
    job: Job = None,
    limit: Limit = _DEFAULT,
    as_json: Json = False,
) -> None:
    """List received payloads; with --study or --accession: where is my study?

    That prints everything that happened to it, from the association to the delivery. When nothing
    of it is known, it says what was rejected, quarantined or ignored lately, and exits with 3.
    """
    if study is not None or accession is not None:
        from gateway.cli.where import tell

        tell(ctx.obj, study, accession, as_json)
        return
    columns = "id state called_ae calling_ae instances revision study_instance_uid opened_at reason"
    _list(
        ctx, "payloads", columns, as_json, limit,
        state=state, called_ae=called, calling_ae=calling, job=job,
    )  # fmt: skip


@app.command("jobs")
def jobs(
    ctx: typer.Context,
    state: State = None,
    status: Annotated[str | None, typer.Option("--status", help="Such as FAULTED.")] = None,
    payload: Payload = None,
    called: CalledAe = None,
    limit: Limit = _DEFAULT,
    as_json: Json = False,
) -> None:
    """List jobs."""
    columns = "id name state status priority attempt created_at started_at stopped_at reason"
    _list(
        ctx, "jobs", columns, as_json, limit,
        state=state, status=status, payload=payload, called_ae=called,
    )  # fmt: skip


@app.command("results")
def results(
    ctx: typer.Context,
    state: State = None,
    destination: Annotated[str | None, typer.Option("--destination", help="Only to there.")] = None,
    job: Job = None,
    commitment: Annotated[
        str | None, typer.Option("--commitment", help="Such as asked or failed.")
    ] = None,
    limit: Limit = _DEFAULT,
    as_json: Json = False,
) -> None:
    """List results and how far their delivery is."""
    columns = "id job_id destination agent state commitment retries created_at delivered_at next_at"
    _list(
        ctx, "results", columns + " reason commitment_reason", as_json, limit,
        state=state, destination=destination, job=job, commitment=commitment,
    )  # fmt: skip


@app.command("commitments")
def commitments(
    ctx: typer.Context,
    state: State = None,
    called: CalledAe = None,
    calling: CallingAe = None,
    limit: Limit = _DEFAULT,
    as_json: Json = False,
) -> None:
    """List what modalities asked to be committed (for ours: `list results --commitment asked`)."""
    columns = "id state calling_ae called_ae committed failed attempts received_at next_at reason"
    _list(
        ctx, "commitment-requests", columns, as_json, limit,
        state=state, called_ae=called, calling_ae=calling,
    )  # fmt: skip


@app.command("associations")
def associations(
    ctx: typer.Context,
    state: State = None,
    called: CalledAe = None,
    calling: CallingAe = None,
    limit: Limit = _DEFAULT,
    as_json: Json = False,
) -> None:
    """List DICOM associations, rejected ones with the reason."""
    columns = "id state calling_ae host called_ae instances ignored refused opened_at reason"
    _list(
        ctx, "associations", columns, as_json, limit,
        state=state, called_ae=called, calling_ae=calling,
    )  # fmt: skip


@app.command("events")
def events(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Option("--kind", help="Such as job/stopped.")] = None,
    payload: Payload = None,
    job: Job = None,
    limit: Limit = _DEFAULT,
    as_json: Json = False,
) -> None:
    """List events."""
    columns = "time kind payload_id job_id result_id data"
    _list(ctx, "events", columns, as_json, limit, kind=kind, payload=payload, job=job)


@app.command("decisions")
def decisions(
    ctx: typer.Context,
    payload: Payload = None,
    job: Job = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help="Such as ERROR.")] = None,
    limit: Limit = _DEFAULT,
    as_json: Json = False,
) -> None:
    """List what the rules decided."""
    columns = "decided_at payload_id revision rule outcome job_id elapsed_ms error"
    _list(ctx, "decisions", columns, as_json, limit, payload=payload, job=job, outcome=outcome)


@app.command("quarantine")
def quarantine(
    ctx: typer.Context,
    called: CalledAe = None,
    calling: CallingAe = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Those resolved, too.")] = False,
    limit: Limit = _DEFAULT,
    as_json: Json = False,
) -> None:
    """List data sets that could not be used."""
    columns = "id calling_ae host called_ae size received_at reason"
    _list(
        ctx, "quarantine", columns, as_json, limit,
        called_ae=called, calling_ae=calling, resolved=resolved,
    )  # fmt: skip


@app.command("pipelines")
def pipelines(ctx: typer.Context, limit: Limit = _DEFAULT, as_json: Json = False) -> None:
    """List registered pipelines."""
    _list(ctx, "pipelines", "id name version file created_at", as_json, limit)


@app.command("destinations")
def destinations(ctx: typer.Context, as_json: Json = False) -> None:
    """List destinations with the circuit of each."""
    columns = "name ae_title host port folder calling_ae_title tls commitment circuit"
    _list(ctx, "destinations", columns, as_json, _DEFAULT)


@app.command("sources")
def sources(ctx: typer.Context, as_json: Json = False) -> None:
    """List peers that may call."""
    _list(ctx, "sources", "ae_title hosts port", as_json, _DEFAULT)


@app.command("applications")
def applications(ctx: typer.Context, as_json: Json = False) -> None:
    """List called AE titles."""
    columns = "ae_title group_by duplicates late_instances otherwise"
    _list(ctx, "applications", columns, as_json, _DEFAULT)
