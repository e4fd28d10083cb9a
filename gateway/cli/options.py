"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Print at most so many.")]
State = Annotated[str | None, typer.Option("--state", help="Only those in this state.")]
CalledAe = Annotated[str | None, typer.Option("--called", help="Only those sent to this AE title.")]
CallingAe = Annotated[
    str | None, typer.Option("--calling", help="Only those sent by this AE title.")
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file [default: ./gateway.yaml if it exists]."),
]
Identifier = Annotated[str, typer.Argument(help="Its identifier, as a list shows it.")]
