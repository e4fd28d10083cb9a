"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

Value = TypeVar("Value")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Print at most so many.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file [default: ./gateway.yaml if it exists]."),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="HOST:PORT",
        help="Platform API of the gateway [default: GATEWAY_HOST, else `host` in "
        "~/.config/gateway/config.yaml, else 127.0.0.1:50051].",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="REST of the gateway [default: GATEWAY_URL, else `url` in "
        "~/.config/gateway/config.yaml, else port 8080 where --host is].",
    ),
]
HostAgain = Annotated[
    str | None, typer.Option("--host", metavar="HOST:PORT", help="As `gateway --host`.")
]
UrlAgain = Annotated[str | None, typer.Option("--url", metavar="URL", help="As `gateway --url`.")]
Metadata = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="KEY=VALUE", help="Keep this with it; may be repeated."),
]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--variable", metavar="NAME=VALUE", help="A parameter of the pipeline; may be repeated."
    ),
]
Identifier = Annotated[str, typer.Argument(help="Its identifier, as a list shows it.")]
OptionalIdentifier = Annotated[
    str | None, typer.Argument(metavar="IDENTIFIER", help="Its identifier, as a list shows it.")
]
JobOption = Annotated[
    str | None, typer.Option("--job", "-j", metavar="ID", help="The same, as Clara's scripts say.")
]
PipelineOption = Annotated[
    str | None,
    typer.Option("--pipeline", "-p", metavar="ID", help="The same, as Clara's scripts say."),
]


def one(what: str, *given: Value | None) -> Value:
    """The one value among ``given``; :class:`CliError` (usage) for none or several."""
    from gateway.cli.errors import USAGE, CliError

    found = [value for value in given if value is not None]
    if len(found) != 1:
        raise CliError(f"give one {what}", USAGE)
    return found[0]


def pairs(texts: list[str] | None) -> dict[str, str]:
    """``KEY=VALUE`` as a mapping; :class:`CliError` (usage) for anything else."""
    from gateway.cli.errors import USAGE, CliError

    found: dict[str, str] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CliError(f"{text!r} is not KEY=VALUE", USAGE)
        if key in found:
            raise CliError(f"{key!r} is given twice", USAGE)
        found[key] = value
    return found
