"""``gateway compile`` and ``gateway graph``: definitions checked, written anew and drawn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from gateway.cli.options import Config, Json

if TYPE_CHECKING:
    from gateway.cli.address import Given
    from gateway.pipelines.model import Definition


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("compile")(compile_definition)
    app.command("graph")(graph)


def compile_definition(
    file: Annotated[
        Path, typer.Option("--pipeline", "-p", help="Definition, a file.", dir_okay=False)
    ],
    resolve_imports: Annotated[
        bool, typer.Option("--resolve-imports", help="Put imported operators in place.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it [default: nowhere].")
    ] = None,
    config_file: Config = None,
) -> None:
    """Check a definition, and write it anew; exit 2 with one line per fault.

    \b
    Examples:
      gateway compile -p pipeline.yaml
      gateway compile -p pipeline.yaml --resolve-imports -o whole.yaml
    """
    from gateway.config import settings
    from gateway.pipelines.compiling import compiled
    from gateway.pipelines.folder import read

    written = read(file)
    text = compiled(
        written.text,
        written.file,
        written.files,
        resolve_imports=resolve_imports,
        host_volumes=settings.load(config_file).host_volumes,
    )
    if output is not None:
        _write(output, text)
    elif resolve_imports:
        sys.stdout.write(text)


def graph(
    ctx: typer.Context,
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="Definition, a file; or a registered name.")
    ],
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Draw it into this file instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show in which order the operators of a pipeline run, and what waits for what.

    \b
    Examples:
      gateway graph -p pipeline.yaml
      gateway graph -p lung-density --svg lung-density.svg
    """
    from gateway.cli import show
    from gateway.pipelines.drawing import svg as drawn
    from gateway.pipelines.graph import levels, lines

    definition = _definition(ctx.obj, pipeline)
    if svg is not None:
        _write(svg, drawn(definition))
    elif as_json:
        steps = {name: i for i, level in enumerate(levels(definition), 1) for name in level}
        show.as_json(
            [
                {"operator": o.name, "step": steps[o.name], "after": list(o.upstream)}
                for o in definition.operators
            ]
        )
    else:
        show.lines(lines(definition))


def _definition(given: Given, pipeline: str) -> Definition:
    """The definition of a file or, where there is none, of a running gateway's pipeline."""
    from gateway.cli.client import Client
    from gateway.pipelines.folder import read
    from gateway.pipelines.parse import parse

    path = Path(pipeline)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        written = read(path)
        return parse(written.text, written.file, written.files)
    with Client.of(given) as client:
        found = client.get(f"/api/v1/pipelines/{quote(pipeline, safe='')}")
    return parse(found["definition"], found["file"], found["files"])


def _write(path: Path, text: str) -> None:
    from gateway.cli.errors import FAILURE, CliError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}", FAILURE) from error
