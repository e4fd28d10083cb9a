"""``gateway start job``: let a job run, and wait for its end if asked to."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.groups import group
from gateway.cli.options import JobOption, Json, OptionalIdentifier, Variables, one, pairs
from gateway.cli.platform import start_platform

if TYPE_CHECKING:
    from gateway.cli.remote import Platform

app = group("Start a job, or the gateway itself.")

app.command("platform", connected=False)(start_platform)

LOOK_SECONDS = 0.5


@app.command("job")
def job(
    ctx: typer.Context,
    identifier: OptionalIdentifier = None,
    option: JobOption = None,
    variables: Variables = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it stopped; exit 1 unless it is HEALTHY.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start a job: it runs as soon as it fits, and its payload is read-only from now on.

    \b
    Examples:
      gateway start job JOB
      gateway start job -j JOB --variable THRESHOLD=0.5 --wait
    """
    from gateway.cli import show
    from gateway.cli.errors import FAILURE
    from gateway.cli.remote import Platform

    job_id = one("job", identifier, option)
    values = pairs(variables)
    with Platform(ctx.obj.resolve()) as platform:
        now = started(platform, job_id, values)
        while wait and now["state"] != "STOPPED":
            time.sleep(LOOK_SECONDS)
            now = _now(platform, job_id)
    if as_json:
        show.as_json({"job_id": job_id} | now)
    else:
        show.lines([f"started: now {now['state']} {now['status']}"])
    if wait and now["status"] != "HEALTHY":
        sys.exit(FAILURE)


def started(platform: Platform, job_id: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Start it; its state and status then."""
    from gateway.platform.wire import jobs_pb2 as pb
    from gateway.platform.wire.common_pb2 import Identifier

    request = pb.JobsStartRequest(
        job_id=Identifier(value=job_id),
        Variables=[
            pb.JobsStartRequest.NamedValue(name=name, value=value)
            for name, value in variables.items()
        ],
    )
    answer = platform.call("Jobs.Start", request)
    return words(answer.state, answer.status)


def _now(platform: Platform, job_id: str) -> dict[str, Any]:
    from gateway.platform.wire import jobs_pb2 as pb
    from gateway.platform.wire.common_pb2 import Identifier

    request = pb.JobsStatusRequest(job_id=Identifier(value=job_id))
    answer = platform.call("Jobs.Status", request)
    return words(answer.state, answer.status)


def words(state: Any, status: Any) -> dict[str, Any]:
    """A job's state and status, as every listing spells them."""
    from gateway.platform.wire import jobs_pb2 as pb

    return {
        "state": pb.JobState.Name(state).removeprefix("JOB_STATE_"),
        "status": pb.JobStatus.Name(status).removeprefix("JOB_STATUS_"),
    }
