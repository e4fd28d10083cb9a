"""``gateway create …``: pipelines, payloads and jobs, as Clara's command line makes them.

The first line that each prints is ``<WHAT>_ID:<identifier>``: scripts split it at the colon.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.groups import group
from gateway.cli.options import Json, Metadata, Variables, one, pairs

if TYPE_CHECKING:
    from gateway.cli.remote import Platform

app = group("Create a pipeline, a payload or a job.")

Files = Annotated[
    list[Path] | None,
    typer.Option("--file", "-f", help="Upload this file or folder; may be repeated."),
]


class Priority(StrEnum):
    """How soon a job runs; Clara's words."""

    LOWER = "lower"
    NORMAL = "normal"
    HIGHER = "higher"
    IMMEDIATE = "immediate"


@app.command("pipeline")
def pipeline(
    ctx: typer.Context,
    definition: Annotated[
        Path | None, typer.Argument(dir_okay=False, help="Definition, a file.")
    ] = None,
    option: Annotated[
        Path | None,
        typer.Option("--pipeline", "-p", dir_okay=False, help="The same, as Clara's scripts say."),
    ] = None,
    identifier: Annotated[
        str | None, typer.Option("--id", help="Identifier it is to have [default: a fresh one].")
    ] = None,
    metadata: Metadata = None,
    as_json: Json = False,
) -> None:
    """Register a pipeline with what it imports; exit 2 with one line per fault.

    A definition that is registered already gives the identifier it has. Jobs keep the definition
    they were created with.

    \b
    Examples:
      gateway create pipeline lung-density.yaml
      gateway create pipelines -p lung-density.yaml --metadata site=north
    """
    from gateway.cli.remote import Platform
    from gateway.pipelines.folder import read
    from gateway.platform.wire import pipelines_pb2 as pb
    from gateway.platform.wire.common_pb2 import Identifier

    path = one("definition", definition, option)
    written = read(path)
    texts = {path.name: written.text} | {
        Path(name).relative_to(path.parent).as_posix(): text for name, text in written.files.items()
    }
    requests = [
        pb.PipelinesCreateRequest(
            definition=pb.PipelineDefinitionFile(path=name, content=text),
            pipeline_id=Identifier(value=identifier or ""),
            metadata=pairs(metadata),
        )
        for name, text in texts.items()
    ]
    with Platform(ctx.obj.resolve()) as platform:
        answer = platform.call("Pipelines.Create", *requests)
    _tell({"pipeline_id": answer.pipeline_id.value}, as_json)


@app.command("payload")
def payload(
    ctx: typer.Context,
    files: Files = None,
    metadata: Metadata = None,
    as_json: Json = False,
) -> None:
    """Create a reusable payload: the input of any number of jobs, kept until it is deleted.

    \b
    Examples:
      gateway create payload -f study/ --metadata site=north
      gateway create job -p lung-density --payload PAYLOAD --start
    """
    from gateway.cli.remote import Platform
    from gateway.platform.wire import payloads_pb2 as pb

    given = pairs(metadata)
    with Platform(ctx.obj.resolve()) as platform:
        answer = platform.call("Payloads.Create", pb.PayloadsCreateRequest(metadata=given))
        made = answer.payload_id.value
        _tell({"payload_id": made} | _uploaded(platform, made, files), as_json)


@app.command("job")
def job(
    ctx: typer.Context,
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="Pipeline: its identifier, or its name.")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", "-n", help="Name of the job; never a patient's [default: pipeline and time]."
        ),
    ] = None,
    files: Files = None,
    payloads: Annotated[
        list[str] | None,
        typer.Option("--payload", help="Reusable payload to take as input; may be repeated."),
    ] = None,
    priority: Annotated[
        Priority, typer.Option("--priority", help="How soon it runs.")
    ] = Priority.NORMAL,
    metadata: Metadata = None,
    start: Annotated[bool, typer.Option("--start", help="Start it at once.")] = False,
    variables: Variables = None,
    as_json: Json = False,
) -> None:
    """Create a job with a payload of its own; it waits for `gateway start job`.

    Files given with -f go below the payload's /input, a folder without its own name.

    \b
    Examples:
      gateway create job -n trial -p lung-density -f study/
      gateway create job -p lung-density --payload PAYLOAD --priority higher --start
    """
    from gateway.cli.pipelines import identified
    from gateway.cli.remote import Platform
    from gateway.cli.starting import started
    from gateway.platform.wire import jobs_pb2 as pb
    from gateway.platform.wire.common_pb2 import Identifier

    given, values = pairs(metadata), pairs(variables)
    with Platform(ctx.obj.resolve()) as platform:
        request = pb.JobsCreateRequest(
            pipeline_id=Identifier(value=identified(platform, pipeline)),
            name=name or "",
            priority=f"JOB_PRIORITY_{priority.upper()}",
            input_payloads=[Identifier(value=each) for each in payloads or []],
            metadata=given,
        )
        answer = platform.call("Jobs.Create", request)
        made = {"job_id": answer.job_id.value, "payload_id": answer.payload_id.value}
        made |= _uploaded(platform, made["payload_id"], files)
        if start:
            made |= started(platform, made["job_id"], values)
    _tell(made, as_json)


def _uploaded(platform: Platform, payload_id: str, files: list[Path] | None) -> dict[str, Any]:
    """Upload what was given; the payload is told first, in case it breaks off."""
    from gateway.cli.errors import CliError
    from gateway.cli.moving import send

    if not files:
        return {}
    try:
        return send(platform, payload_id, files)
    except CliError as error:
        raise CliError(
            f"payload {payload_id} was made, but not filled: {error}", error.code
        ) from error


def _tell(made: dict[str, Any], as_json: bool) -> None:
    from gateway.cli import show

    if as_json:
        show.as_json(made)
    else:
        show.lines(f"{name.upper()}:{value}" for name, value in made.items())
