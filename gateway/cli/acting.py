"""``gateway cancel|rerun|retry|release|reroute|delete …``: what people may do to records."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.groups import group
from gateway.cli.options import Identifier, Json

cancel = group("Cancel a job.")
rerun = group("Run a stopped job again.")
retry = group("Try something again now.")
release = group("Release a held payload.")
reroute = group("Evaluate the rules again.")
delete = group("Delete the files of a payload.")


def _act(ctx: typer.Context, path: str, said: str, as_json: bool, *, method: str = "POST") -> None:
    from gateway.cli import show
    from gateway.cli.client import Client

    with Client.of(ctx.obj) as client:
        found = client.act(method, f"/api/v1/{path}")
    if as_json:
        show.as_json(found)
        return
    state = " ".join(str(found[name]) for name in ("state", "status") if found.get(name))
    show.lines([f"{said}{': now ' + state if state else ''}"])


def _path(kind: str, identifier: str, action: str = "") -> str:
    from urllib.parse import quote

    return f"{kind}/{quote(identifier, safe='')}" + (f"/{action}" if action else "")


@cancel.command("job")
def cancel_job(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Cancel a job: a waiting one at once, a running one as soon as its processes ended."""
    _act(ctx, _path("jobs", identifier, "cancel"), "cancelling asked for", as_json)


@rerun.command("job")
def rerun_job(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Queue another attempt of a stopped job; what it registered before is discarded."""
    _act(ctx, _path("jobs", identifier, "rerun"), "queued again", as_json)


@retry.command("result")
def retry_result(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Deliver a failed or waiting result now; files already accepted are not sent again."""
    _act(ctx, _path("results", identifier, "retry"), "delivery is tried again", as_json)


@retry.command("quarantine")
def retry_quarantine(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Try a quarantined data set again."""
    _act(ctx, _path("quarantine", identifier, "retry"), "the data set is tried again", as_json)


@retry.command("payload")
def retry_payload(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Try every quarantined data set of a payload again."""
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
    """Release a payload in CONFLICT, after you made sure whose images they are."""
    _act(ctx, _path("payloads", identifier, "release"), "released", as_json)


@reroute.command("payload")
def reroute_payload(ctx: typer.Context, identifier: Identifier, as_json: Json = False) -> None:
    """Evaluate the present rules for a payload's newest revision."""
    _act(ctx, _path("payloads", identifier, "reroute"), "the rules are evaluated again", as_json)


@delete.command("payload")
def delete_payload(
    ctx: typer.Context,
    identifier: Identifier,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a payload's files; its record stays."""
    if not yes:
        typer.confirm(f"Delete the files of payload {identifier}?", abort=True, err=True)
    _act(ctx, _path("payloads", identifier), "deleted", as_json, method="DELETE")
