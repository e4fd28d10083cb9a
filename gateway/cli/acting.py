"""``gateway cancel|rerun|retry|release|reroute|delete …``: what people may do to records."""

from __future__ import annotations

from typing import Annotated

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

cancel = group("Cancel a job.")
rerun = group("Run a stopped job again.")
retry = group("Try something again now.")
release = group("Release a held payload.")
reroute = group("Evaluate the rules again.")
delete = group("Delete the files of a payload, or take a pipeline out of use.")


def _act(
    ctx: typer.Context,
    path: str,
    said: str,
    as_json: bool,
    *,
    method: str = "POST",
    params: dict[str, str | None] | None = None,
) -> None:
    from gateway.cli import show
    from gateway.cli.client import Client

    with Client.of(ctx.obj) as client:
        found = client.act(method, f"/api/v1/{path}", params)
    if as_json:
        show.as_json(found)
        return
    state = " ".join(str(found[name]) for name in ("state", "status") if found.get(name))
    show.lines([f"{said}{': now ' + state if state else ''}"])


def _path(kind: str, identifier: str, action: str = "") -> str:
    from urllib.parse import quote

    return f"{kind}/{quote(identifier, safe='')}" + (f"/{action}" if action else "")


@cancel.command("job")
def cancel_job(
    ctx: typer.Context,
    identifier: OptionalIdentifier = None,
    option: JobOption = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Kept with the job; no patient data.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Cancel a job: a waiting one at once, a running one as soon as its processes ended.

    \b
    Examples:
      gateway cancel job JOB
      gateway cancel job -j JOB --reason "wrong protocol"
    """
    job_id = one("job", identifier, option)
    if reason is None:
        _act(ctx, _path("jobs", job_id, "cancel"), "cancelling asked for", as_json)
        return
    from gateway.cli import show
    from gateway.cli.remote import Platform
    from gateway.cli.starting import words
    from gateway.platform.wire import jobs_pb2 as pb
    from gateway.platform.wire.common_pb2 import Identifier

    with Platform(ctx.obj.resolve()) as platform:
        request = pb.JobsCancelRequest(job_id=Identifier(value=job_id), reason=reason)
        answer = platform.call("Jobs.Cancel", request)
    now = words(answer.job_state, answer.job_status)
    if as_json:
        show.as_json({"job_id": job_id} | now)
    else:
        show.lines([f"cancelling asked for: now {now['state']} {now['status']}"])


@rerun.command("job")
def rerun_job(
    ctx: typer.Context,
    identifier: Identifier,
    operator: Annotated[
        str | None,
        typer.Option("--from", metavar="OPERATOR", help="Begin here, on what the others left."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Queue another attempt of a stopped job; what it registered before is discarded.

    \b
    Examples:
      gateway rerun job JOB
      gateway rerun job JOB --from segment
    """
    _act(
        ctx,
        _path("jobs", identifier, "rerun"),
        "queued again",
        as_json,
        params={"operator": operator},
    )


@retry.command("result")
def retry_result(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Deliver a failed or waiting result now; files already accepted are not sent again.

    \b
    Example:
      gateway retry result RESULT
    """
    _act(ctx, _path("results", identifier, "retry"), "delivery is tried again", as_json)


@retry.command("quarantine")
def retry_quarantine(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Try a quarantined data set again.

    \b
    Example:
      gateway retry quarantine QUARANTINE
    """
    _act(ctx, _path("quarantine", identifier, "retry"), "the data set is tried again", as_json)


@retry.command("payload")
def retry_payload(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Try every quarantined data set of a payload again.

    \b
    Example:
      gateway retry payload PAYLOAD
    """
    from gateway.cli import show
    from gateway.cli.client import Client
    from gateway.cli.errors import NOT_FOUND, CliError

    with Client.of(ctx.obj) as client:
        found = client.get(f"/api/v1/{_path('payloads', identifier)}")
        waiting = [row["id"] for row in found["quarantine"] if row["resolved_at"] is None]
        if not waiting:
            raise CliError(f"payload {identifier} has nothing in quarantine", NOT_FOUND)
        done = [client.act("POST", f"/api/v1/{_path('quarantine', w, 'retry')}") for w in waiting]
    if as_json:
        show.as_json(done)
    else:
        show.lines([f"{len(done)} data sets are tried again"])


@release.command("payload")
def release_payload(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Release a payload in CONFLICT, after you made sure whose images they are.

    \b
    Example:
      gateway release payload PAYLOAD
    """
    _act(ctx, _path("payloads", identifier, "release"), "released", as_json)


@reroute.command("payload")
def reroute_payload(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Evaluate the present rules for a payload's newest revision.

    \b
    Example:
      gateway reroute payload PAYLOAD
    """
    _act(ctx, _path("payloads", identifier, "reroute"), "the rules are evaluated again", as_json)


@delete.command("payload")
def delete_payload(
    ctx: typer.Context,
    identifier: Identifier,
    file: Annotated[
        str | None,
        typer.Option("--file", help="Only this file, of a job's payload or a reusable one."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a payload's files; its record stays.

    Of a received payload only when no job, result or commitment is open; of a job's payload when
    the job has stopped and its results have left.

    \b
    Examples:
      gateway delete payload PAYLOAD --yes
      gateway delete payload PAYLOAD --file input/notes.txt
    """
    from gateway.cli import show
    from gateway.cli.errors import NOT_FOUND, CliError, second_place

    if not yes:
        what = f"the file {file!r}" if file else "the files"
        typer.confirm(f"Delete {what} of payload {identifier}?", abort=True, err=True)
    if file is None:
        try:
            _act(ctx, _path("payloads", identifier), "deleted", as_json, method="DELETE")
        except CliError as error:
            if error.code != NOT_FOUND:
                raise
            with second_place(error):
                _delete_remote(ctx, identifier, None)
        else:
            return
    else:
        _delete_remote(ctx, identifier, file)
    if as_json:
        show.as_json({"id": identifier, "file": file, "state": "DELETED"})
    else:
        show.lines(["deleted"])


@delete.command("pipeline")
def remove_pipeline(
    ctx: typer.Context,
    identifier: OptionalIdentifier = None,
    option: PipelineOption = None,
    as_json: Json = False,
) -> None:
    """Take a pipeline, given by identifier or name, out of use; its jobs go on.

    A definition in the gateway's own folder of pipelines is registered again when it starts.

    \b
    Examples:
      gateway remove pipeline lung-density
      gateway remove pipelines -p PIPELINE
    """
    from gateway.cli import show
    from gateway.cli.pipelines import identified
    from gateway.cli.remote import Platform
    from gateway.platform.wire import pipelines_pb2 as pb
    from gateway.platform.wire.common_pb2 import Identifier

    with Platform(ctx.obj.resolve()) as platform:
        pipeline_id = identified(platform, one("pipeline", identifier, option))
        request = pb.PipelinesRemoveRequest(pipeline_id=Identifier(value=pipeline_id))
        platform.call("Pipelines.Remove", request)
    if as_json:
        show.as_json({"pipeline_id": pipeline_id})
    else:
        show.lines(["removed"])


def _delete_remote(ctx: typer.Context, identifier: str, file: str | None) -> None:
    """Delete a reusable payload or a job's, or one file of it."""
    from gateway.cli.remote import Platform
    from gateway.platform.wire import payloads_pb2 as pb
    from gateway.platform.wire.common_pb2 import Identifier as Id

    payload_id = Id(value=identifier)
    with Platform(ctx.obj.resolve()) as platform:
        if file is None:
            platform.call("Payloads.Delete", pb.PayloadsDeleteRequest(payload_id=payload_id))
        else:
            request = pb.PayloadsRemoveRequest(payload_id=payload_id, name=file)
            platform.call("Payloads.Remove", request)
