"""Printing for people (tables) and for programs (``--json``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 20_000
"""Width when the output is no terminal: a record stays on one line, for grep and awk."""

if TYPE_CHECKING:
    from rich.progress import Progress

_COLOURS = {
    "HEALTHY": "green", "DELIVERED": "green", "COMMITTED": "green", "ROUTED": "green",
    "COMPLETED": "green", "SENT": "green", "MATCHED": "green", "ok": "green",
    "FAULTED": "red", "FAILED": "red", "CONFLICT": "red", "QUARANTINED": "red", "ERROR": "red",
    "REJECTED": "red", "ABORTED": "red", "TERMINATED": "red", "EVICTED": "red", "problem": "red",
    "WAITING": "yellow", "UNMATCHED": "yellow", "CANCELED": "yellow", "WARNING": "yellow",
    "OPEN": "yellow",
}  # fmt: skip

Columns = Sequence[str]


def console() -> Console:
    """A console on the present standard output."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def _print(made: Table) -> None:
    out = console()
    if out.is_terminal:
        out.print(made)
        return
    with out.capture() as captured:
        out.print(made)
    sys.stdout.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())


def as_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def table(rows: Iterable[Mapping[str, Any]], columns: Columns, *, title: str = "") -> None:
    """Print rows, one a line, with the columns that are named (snake_case keys)."""
    made = Table(box=None, pad_edge=False, title=title or None, title_justify="left")
    for name in columns:
        made.add_column(name.replace("_", " ").upper(), no_wrap=name in {"id", "time"})
    for row in rows:
        made.add_row(*(cell(row.get(name), name) for name in columns))
    _print(made)


def fields(record: Mapping[str, Any], names: Columns) -> None:
    """Print ``name  value`` lines of the fields that are there and not empty."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name in names:
        value = record.get(name)
        if value not in (None, "", [], {}):
            made.add_row(name.replace("_", " "), cell(value, name))
    _print(made)


def heading(text: str) -> None:
    """Print a heading with a blank line before it."""
    out = console()
    out.print()
    out.print(Text(clean(text), style="bold underline"))


def lines(texts: Iterable[str], *, indent: int = 0) -> None:
    """Print plain lines."""
    out = console()
    for text in texts:
        out.print(Text(" " * indent + clean(text)))


def notes(texts: Iterable[str]) -> None:
    """Print remarks to standard error."""
    for text in texts:
        sys.stderr.write(clean(text) + "\n")


def cell(value: Any, name: str = "") -> Text:
    """Spell one value; never as markup, never with control characters."""
    if value is None:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return Text(clean(", ".join(value)))
    if isinstance(value, dict | list):
        return Text(clean(json.dumps(value, ensure_ascii=False)))
    text = clean(str(value))
    if name.endswith("_at") or name == "time":
        text = text.replace("T", " ").removesuffix("Z")
    return Text(text, style=_COLOURS.get(text, ""))


def clean(text: str) -> str:
    """Show control characters as escapes: a peer's words must not drive the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def progress() -> Progress:
    """A bar of bytes on standard error, silent when that is no terminal."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=bar,
        disable=not bar.is_terminal,
        transient=True,
    )
