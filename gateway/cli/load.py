"""``gateway load jobs|studies``: the load generator, with the options of Clara's ``cpload``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.dicom import Calling, Tls, peer_of, tls_of
from gateway.cli.errors import FAILURE, USAGE, CliError
from gateway.cli.groups import group
from gateway.cli.options import Config, Json

if TYPE_CHECKING:
    from gateway.load.plan import Plan
    from gateway.load.report import Report
    from gateway.load.run import Generator

app = group("Generate load: jobs through the platform API, or studies by C-STORE.")

Count = Annotated[
    int | None,
    typer.Option("-n", "--count", min=1, help="So many [default: 1 without --duration]."),
]
Duration = Annotated[
    float | None,
    typer.Option("--duration", min=0.001, help="Begin nothing new after so many seconds."),
]
Rate = Annotated[
    float | None, typer.Option("--rate", min=0.0001, help="Begin so many a second, come what may.")
]
Delay = Annotated[
    float | None,
    typer.Option("-w", "--delay", min=0, help="Seconds from one beginning to the next."),
]
Sequence = Annotated[
    bool, typer.Option("-s", "--sequence", help="Take the inputs in turn, not at random.")
]
Seed = Annotated[
    int, typer.Option("--seed", help="The same seed draws the same inputs and priorities.")
]
Workers = Annotated[
    int, typer.Option("--workers", min=1, max=256, help="So many at the same time.")
]


@app.command("generate", hidden=True)
@app.command("jobs")
def jobs(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The jobs are called cpload-NAME-1, -2, …")],
    pipeline: Annotated[str, typer.Argument(help="Identifier or name of the pipeline.")],
    data: Annotated[
        list[str] | None,
        typer.Argument(help="A file, or a folder each entry of which is one job's input."),
    ] = None,
    recurse: Annotated[
        bool, typer.Option("-r", "--recurse", help="Folders in the folder are inputs, too.")
    ] = False,
    target: Annotated[
        str | None, typer.Option("-t", "--target", help="The gateway, HOST:PORT, as --host.")
    ] = None,
    priority: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--priority",
            help="low, normal, high or immediate; several are drawn, `low=3` three times as often.",
        ),
    ] = None,
    count: Count = None,
    duration: Duration = None,
    rate: Rate = None,
    delay: Delay = None,
    sequence: Sequence = False,
    seed: Seed = 0,
    workers: Workers = 8,
    wait: Annotated[
        float | None,
        typer.Option("--wait", min=0, help="Wait so many seconds for the jobs to end."),
    ] = None,
    stats: Annotated[  # noqa: ARG001 - of cpload; the statistics are always told
        bool, typer.Option("--stats", help="Nothing more: the figures are told in any case.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create, fill and start jobs; exit 0 only if none failed.

    \b
    Examples:
      gateway load jobs trial lung-density study/ --count 100 --rate 5
      gateway load jobs trial lung-density --duration 60 -p low=3 -p immediate --wait 120
    """
    from gateway.cli.remote import Platform
    from gateway.load.jobs import PRIORITIES, JobGenerator, pipeline_id, sources

    inputs = sources(_data_path(data), recurse=recurse)
    drawn = _priorities(priority or ["normal"], PRIORITIES)
    plan = _plan(count, duration, rate, delay, sources=len(inputs), sequence=sequence, seed=seed,
                 priorities=drawn)  # fmt: skip
    given = ctx.obj.with_options(target, None) if target else ctx.obj
    with Platform(given.resolve()) as caller:
        found = pipeline_id(caller, pipeline)
        numbered = plan.count != 1
        generator = JobGenerator(caller, name, found, inputs, numbered=numbered)
        report = _run(plan, generator, workers, "generating jobs")
        body = report.body()
        if wait is not None:
            body |= _ended(generator, wait, report)
    _tell("jobs", body | {"seed": seed, "wanted_rate": _wanted(plan)}, as_json=as_json)


@app.command("studies", connected=False)
def studies(
    to: Annotated[str, typer.Argument(metavar="AE@HOST:PORT", help="Whom to send to.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, help="DICOM files and folders to make studies of."),
    ] = None,
    calling: Calling = "GATEWAY",
    instances: Annotated[
        int, typer.Option("--instances", min=1, max=10_000, help="Without PATHS: CT slices each.")
    ] = 20,
    matrix: Annotated[
        int, typer.Option("--matrix", min=1, max=4096, help="Without PATHS: rows and columns.")
    ] = 512,
    count: Count = None,
    duration: Duration = None,
    rate: Rate = None,
    delay: Delay = None,
    sequence: Sequence = False,
    seed: Seed = 0,
    workers: Workers = 4,
    tls: Tls = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Send new studies, one association each; exit 0 only if every instance was stored.

    UIDs, patient and accession number are made for each study.  Other descriptions and pixels of
    PATHS stay as they are: this is no de-identification.

    \b
    Example:
      gateway load studies LUNG_CT@127.0.0.1:11112 --count 20 --rate 2
    """
    from gateway.load.studies import Slices, StudyGenerator, synthetic, templates

    peer = peer_of(to, calling, tls_of(config, wanted=tls))
    with tempfile.TemporaryDirectory(prefix="gateway-load-") as name:
        folder = Path(name)
        form = Slices(instances, matrix, matrix)
        found = templates(paths) if paths else [synthetic(folder / "synthetic", form, seed)]
        plan = _plan(count, duration, rate, delay, sources=len(found), sequence=sequence, seed=seed)
        generator = StudyGenerator(peer, found, folder)
        body = _run(plan, generator, workers, "sending studies").body()
    # A C-STORE has no priority of ours.
    body.pop("priorities")
    _tell("studies", body | {"seed": seed, "wanted_rate": _wanted(plan)}, as_json=as_json)


def _data_path(data: list[str] | None) -> Path | None:
    # cpload is called with `-- PATH --stats`: what follows the dashes is no option any more.
    paths = [one for one in data or [] if one != "--stats"]
    if len(paths) > 1:
        raise CliError(f"one file or folder is the input of jobs, not {len(paths)}", USAGE)
    return Path(paths[0]) if paths else None


def _plan(
    count: int | None,
    duration: float | None,
    rate: float | None,
    delay: float | None,
    **more: Any,
) -> Plan:
    from gateway.load.plan import BadPlan, Plan

    if rate is not None and delay is not None:
        raise CliError("--rate and --delay say the same thing: give one of them", USAGE)
    interval = 1 / rate if rate is not None else delay or 0.0
    if count is None and duration is None:
        count = 1
    try:
        return Plan(count=count, duration=duration, interval=interval, **more)
    except BadPlan as error:
        raise CliError(str(error), USAGE) from error


def _priorities(given: list[str], known: Mapping[str, int]) -> dict[str, float]:
    drawn = {}
    for text in given:
        word, _, weight = text.partition("=")
        try:
            drawn[word.lower()] = float(weight or 1)
        except ValueError as error:
            raise CliError(f"{text!r} is no priority, such as low or low=3", USAGE) from error
        if word.lower() not in known:
            raise CliError(f"{word!r} is none of {', '.join(known)}", USAGE)
    return drawn


def _wanted(plan: Plan) -> float | None:
    return round(1 / plan.interval, 3) if plan.interval else None


def _run(plan: Plan, generator: Generator, workers: int, what: str) -> Report:
    from gateway.load.run import run

    with _bar(what, plan.count) as advance:
        return run(plan, generator, workers, lambda report: advance(report.done, report.failures))


def _ended(generator: Any, seconds: float, report: Report) -> dict[str, Any]:
    """How the jobs ended; whatever is not HEALTHY counts as a failure."""
    from gateway.load.report import spread

    begun = report.done - report.failures
    with _bar("waiting for jobs", begun) as advance:
        ends, took = generator.wait(seconds, lambda done: advance(done, 0))
    failures = report.failures + sum(n for end, n in ends.items() if end != "HEALTHY")
    latencies = report.body()["latency_ms"] | {"start_to_end": spread(took)}
    return {"failures": failures, "ended": dict(ends), "latency_ms": latencies}


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, silent when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=total)

        def advance(done: int, failures: int) -> None:
            text = f"{what} ({failures} failed)" if failures else what
            bar.update(task, completed=done, description=text)

        yield advance


def _tell(kind: str, body: dict[str, Any], *, as_json: bool) -> None:
    from gateway.cli import show

    if as_json:
        show.as_json(body)
    else:
        wanted = body["wanted_rate"]
        aim = f" of {wanted} wanted" if wanted else ""
        speed = f"{body['rate_per_second']} a second{aim}, {body['megabytes_per_second']} MB/s"
        counts = f"{body['generated']} {kind}, {body['failures']} failures"
        show.lines([f"{counts}, {body['seconds']} s: {speed}"])
        rows = [{"milliseconds": step, **times} for step, times in body["latency_ms"].items()]
        show.table(rows, ["milliseconds", "count", "mean", "p50", "p90", "p95", "p99", "max"])
        for name in ("priorities", "ended"):
            if body.get(name):
                found = ", ".join(f"{word} {n}" for word, n in body[name].items())
                show.lines([f"{name}: {found}"])
    show.notes(f"{fault['count']}x {fault['reason']}" for fault in body["errors"])
    if body["failures"] or not body["generated"]:
        raise CliError(f"{body['failures']} of {body['generated']} {kind} failed", FAILURE)
