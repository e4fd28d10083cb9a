"""``gateway pause|drain|resume|prioritise …``: what people may do to the queue of jobs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.groups import group
from gateway.cli.options import Identifier, Json

pause = group("Let no job start, of one pipeline or of all.")
drain = group("Let only jobs start that are queued already.")
resume = group("Take back a pause or drain.")
prioritise = group("Give a waiting job another priority.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the pipeline.")]


def _post(ctx: typer.Context, path: str, params: dict[str, str | None]) -> dict[str, Any]:
    from gateway.cli.client import Client

    with Client.of(ctx.obj) as client:
        found: dict[str, Any] = client.act("POST", f"/api/v1/{path}", params)
    return found


def _change(ctx: typer.Context, verb: str, pipeline: str | None, as_json: bool) -> None:
    told(_post(ctx, f"scheduler/{verb}", {"pipeline": pipeline}), as_json)


def told(found: dict[str, Any], as_json: bool) -> None:
    """Print what is held and how much waits and runs."""
    from gateway.cli import show

    if as_json:
        show.as_json(found)
        return
    lines = [f"scheduler {found['mode']}: {found['waiting']} jobs wait, {found['running']} run"]
    lines += [f"pipeline {each['pipeline']} {each['mode']}" for each in found["pipelines"]]
    show.lines(lines)


@pause.command("scheduler")
def pause_scheduler(ctx: typer.Context, as_json: Json = False) -> None:
    """Let no job start, IMMEDIATE ones included; running jobs go on, new ones are queued.

    \b
    Example:
      gateway pause scheduler
    """
    _change(ctx, "pause", None, as_json)


@pause.command("pipeline")
def pause_pipeline(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Let no job of a pipeline start; running ones go on, new ones are queued.

    \b
    Example:
      gateway pause pipeline lung-density
    """
    _change(ctx, "pause", name, as_json)


@drain.command("scheduler")
def drain_scheduler(ctx: typer.Context, as_json: Json = False) -> None:
    """Let only jobs start that are queued already; later ones wait until `gateway resume`.

    \b
    Example:
      gateway drain scheduler
    """
    _change(ctx, "drain", None, as_json)


@drain.command("pipeline")
def drain_pipeline(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Let only jobs of a pipeline start that are queued already.

    \b
    Example:
      gateway drain pipeline lung-density
    """
    _change(ctx, "drain", name, as_json)


@resume.command("scheduler")
def resume_scheduler(ctx: typer.Context, as_json: Json = False) -> None:
    """Let jobs start again; a pipeline that was paused by its name stays paused.

    \b
    Example:
      gateway resume scheduler
    """
    _change(ctx, "resume", None, as_json)


@resume.command("pipeline")
def resume_pipeline(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Let jobs of a pipeline start again.

    \b
    Example:
      gateway resume pipeline lung-density
    """
    _change(ctx, "resume", name, as_json)


@prioritise.command("job")
def prioritise_job(
    ctx: typer.Context,
    identifier: Identifier,
    priority: Annotated[str, typer.Argument(help="lower, normal, higher or immediate.")],
    as_json: Json = False,
) -> None:
    """Give a waiting job another priority; its time in the queue stays.

    \b
    Example:
      gateway prioritise job JOB immediate
    """
    from urllib.parse import quote

    from gateway.cli import show

    path = f"jobs/{quote(identifier, safe='')}/prioritise"
    found = _post(ctx, path, {"priority": priority.lower()})
    if as_json:
        show.as_json(found)
    else:
        show.lines([f"the job waits with priority {priority.lower()}"])
