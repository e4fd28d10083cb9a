"""``gateway query`` and ``gateway retrieve``: asking a PACS what it has, and for it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.dicom import Calling, peer_of
from gateway.cli.errors import FAILURE, UNREACHABLE, USAGE, CliError
from gateway.cli.options import Json

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from gateway.dicom.query import Asking, Matches, Stopper
    from gateway.dicom.retrieve import Retrieval

To = Annotated[str, typer.Option("--to", help="Whom to ask: AE@host:port.")]
LevelName = Annotated[
    str, typer.Option("--level", help="patient, study, series or image.", case_sensitive=False)
]
RootName = Annotated[str, typer.Option("--root", help="Information model: study or patient.")]
Keys = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE…",
        help="Keys by keyword or (gggg,eeee); wildcards, ranges and lists as DICOM has them. "
        "KEY alone asks for its value.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("query")(query)
    app.command("retrieve")(retrieve)


def query(
    to: To,
    keys: Keys = None,
    level: LevelName = "study",
    root: RootName = "study",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Take at most so many.")] = 1000,
    calling: Calling = "GATEWAY",
    as_json: Json = False,
) -> None:
    """Ask a peer what it has (C-FIND); Ctrl-C cancels and shows what came.

    \b
    Examples:
      gateway query --to ORTHANC@127.0.0.1:4242 StudyDate=20260101- Modality=CT
      gateway query --to ORTHANC@127.0.0.1:4242 --level series StudyInstanceUID=1.2.3 --json
    """
    from gateway.cli import show
    from gateway.dicom.query import Matches, find, identifier

    with _faults():
        request = identifier(_level(level), _keys(keys))
    outcome = Matches()
    with _stopping() as stopper, _faults():
        found = list(
            find(_asking(to, calling, root), request, limit=limit, stopper=stopper, outcome=outcome)
        )
    rows = [_row(match) for match in found]
    if as_json:
        show.as_json(rows)
    else:
        show.table(rows, _columns(_level(level), request, rows))
    show.notes(_remarks(outcome, limit))


def retrieve(
    to: To,
    keys: Keys = None,
    level: LevelName = "study",
    root: RootName = "study",
    move_to: Annotated[
        str | None, typer.Option("--move-to", help="Let it send to this AE title (C-MOVE).")
    ] = None,
    get: Annotated[bool, typer.Option("--get", help="Take over this association (C-GET).")] = False,
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Folder for --get.")] = Path(),
    calling: Calling = "GATEWAY",
    as_json: Json = False,
) -> None:
    """Have a peer send instances elsewhere, or to here; exit 0 only if all of them came.

    \b
    Example:
      gateway retrieve --to ORTHANC@127.0.0.1:4242 StudyInstanceUID=1.2.3 --get --out study
    """
    from gateway.cli import show
    from gateway.dicom.folder_spool import FolderSpool
    from gateway.dicom.query import identifier
    from gateway.dicom.retrieve import get as c_get
    from gateway.dicom.retrieve import move as c_move

    if (move_to is None) is not get:
        raise CliError("give either --move-to AE or --get", USAGE)
    with _faults():
        request = identifier(_level(level), _keys(keys), returned=False)
    asking = _asking(to, calling, root)
    with _stopping() as stopper, _faults():
        if move_to is not None:
            result = c_move(asking, request, move_to, stopper=stopper, progress=_progress)
        else:
            result = c_get(asking, request, FolderSpool(out), stopper=stopper, progress=_progress)
    _end_progress()
    body = _body(result, get=get)
    if as_json:
        show.as_json(body)
    else:
        show.fields(body, list(body))
    if not result.complete:
        raise CliError(_why_not(result), FAILURE)
    if result.completed + result.warning == 0:
        raise CliError("nothing matches", FAILURE)


def _asking(to: str, calling: str, root: str) -> Asking:
    from gateway.dicom.query import Asking, Root

    try:
        return Asking(peer_of(to, calling), Root(root.lower()))
    except ValueError as error:
        raise CliError(f"{root!r} is no information model: study or patient", USAGE) from error


def _level(name: str) -> Any:
    from gateway.dicom.query import Level

    try:
        return Level(name.upper())
    except ValueError as error:
        raise CliError(f"{name!r} is no level: patient, study, series or image", USAGE) from error


def _keys(texts: list[str] | None) -> dict[str, str]:
    pairs = (text.partition("=") for text in texts or [])
    return {name: value for name, _, value in pairs}


@contextmanager
def _stopping() -> Iterator[Stopper]:
    """The first Ctrl-C asks the peer to stop, the second ends the program."""
    from gateway.dicom.query import Stopper

    stopper = Stopper()
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return

    def interrupted(_number: int, _frame: object) -> None:
        if stopper.stopped:
            raise KeyboardInterrupt
        stopper.stop()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stopper
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _faults() -> Iterator[None]:
    from gateway.dicom.errors import Unreachable
    from gateway.errors import Refused

    try:
        yield
    except Unreachable as error:
        raise CliError(str(error), UNREACHABLE) from error
    except Refused as error:
        raise CliError(str(error), USAGE) from error


def _row(match: Dataset) -> dict[str, Any]:
    """A match as keyword to text, each text as the match's own character set has it."""
    import warnings

    row: dict[str, Any] = {}
    with warnings.catch_warnings():
        # A peer's odd value is shown as it is.
        warnings.simplefilter("ignore")
        for element in match:
            name = element.keyword or f"{element.tag.group:04X}{element.tag.element:04X}"
            if element.VR == "SQ" or name in ("SpecificCharacterSet", "QueryRetrieveLevel"):
                continue
            row[name] = _text(element.value)
    return row


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str | bytes | int | float):
        return str(value)
    many = isinstance(value, list) or type(value).__name__ == "MultiValue"
    return "\\".join(str(each) for each in value) if many else str(value)


def _columns(level: Any, request: Dataset, rows: list[dict[str, Any]]) -> list[str]:
    """What was asked for, the usual first, if anything came back in it."""
    from gateway.dicom.query import RETURNED

    asked = (element.keyword for element in request if element.keyword)
    names = dict.fromkeys([*RETURNED[level], *asked])
    return [name for name in names if any(row.get(name) for row in rows)]


def _remarks(outcome: Matches, limit: int) -> list[str]:
    remarks = [*outcome.warnings, f"{outcome.count} matches"]
    if outcome.limited:
        remarks.append(f"there are more than --limit {limit}: the peer was told to stop")
    elif outcome.cancelled:
        remarks.append("cancelled: there may be more")
    return remarks


def _progress(result: Retrieval) -> None:
    if sys.stderr.isatty():
        left = "?" if result.remaining is None else result.remaining
        sys.stderr.write(f"\r{result.completed + result.warning} done, {left} to come ")
        sys.stderr.flush()


def _end_progress() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\n")


def _body(result: Retrieval, *, get: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "completed": result.completed,
        "warnings": result.warning,
        "failed": result.failed,
        "remaining": result.remaining or 0,
        "cancelled": result.cancelled,
        "failed_sop_instance_uids": result.failed_uids,
        "remarks": result.warnings,
    }
    if get:
        body |= {"arrived": result.arrived, "not_kept": result.refused}
    return body


def _why_not(result: Retrieval) -> str:
    if result.cancelled:
        return "cancelled before everything came"
    if result.refused:
        return f"{result.refused} instances could not be written"
    return f"{result.failed} instances were not sent"
