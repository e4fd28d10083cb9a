"""``gateway send`` and ``gateway echo``: calling a DICOM peer from the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.errors import FAILURE, UNREACHABLE, USAGE, CliError
from gateway.cli.options import Config, Json

if TYPE_CHECKING:
    from gateway.config.tls import TlsSettings
    from gateway.dicom.peer import Peer
    from gateway.dicom.send import Summary

_PEER = re.compile(
    r"(?P<ae>[^@\\]{1,16})@(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:@\[\]]+)):(?P<port>\d{1,5})"
)
_SHOWN = 10

Calling = Annotated[str, typer.Option("--calling", help="AE title to call with.")]
Tls = Annotated[
    bool, typer.Option("--tls", help="Call over TLS, with dicom.tls of the settings file.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("send")(send)
    app.command("echo")(echo)


def peer_of(text: str, calling: str, tls: TlsSettings | None = None) -> Peer:
    """Read ``AE@host:port`` (an IPv6 address in brackets)."""
    from gateway.dicom.peer import Peer

    match = _PEER.fullmatch(text)
    if match is None or not 1 <= int(match["port"]) <= 65535 or not 1 <= len(calling) <= 16:
        raise CliError(f"{text!r} is not AE@host:port, such as LUNG_CT@127.0.0.1:11112", USAGE)
    return Peer(match["ae"], match["six"] or match["host"], int(match["port"]), calling, tls)


def tls_of(config: Path | None, *, wanted: bool) -> TlsSettings | None:
    """How to call over TLS, or None; raises ConfigError for bad settings."""
    from gateway.config import settings

    return settings.load(config).dicom.tls if wanted else None


def send(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files and folders.")],
    to: Annotated[str, typer.Option("--to", help="Where to: AE@host:port.")],
    calling: Calling = "GATEWAY",
    associations: Annotated[
        int, typer.Option("--associations", min=1, max=64, help="Send over so many at once.")
    ] = 1,
    tls: Tls = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Send DICOM files by C-STORE; exit 0 only if the peer has every instance.

    \b
    Examples:
      gateway send study/ --to LUNG_CT@127.0.0.1:11112
      gateway send study/ --to LUNG_CT@10.1.0.5:11112 --calling CT1 --associations 4
    """
    from gateway.cli import show
    from gateway.dicom.send import send as send_files

    peer = peer_of(to, calling, tls_of(config, wanted=tls))
    with show.progress() as bar:
        task = bar.add_task("sending", total=None)
        summary = send_files(
            paths,
            peer,
            lambda p: bar.update(task, total=p.total_bytes, completed=p.done_bytes),
            associations=associations,
        )
    body = _body(summary)
    if as_json:
        show.as_json(body)
    else:
        _tell(peer, body)
    if not summary.complete:
        raise CliError(_why_not(summary), UNREACHABLE if _nothing_arrived(summary) else FAILURE)


def echo(
    to: Annotated[str, typer.Argument(metavar="AE@HOST:PORT", help="Whom to call.")],
    calling: Calling = "GATEWAY",
    tls: Tls = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Ask a peer for its verification (C-ECHO).

    \b
    Example:
      gateway echo ORTHANC@127.0.0.1:4242
    """
    from gateway.cli import show
    from gateway.dicom.errors import Unreachable
    from gateway.dicom.scu import echo as call

    peer = peer_of(to, calling, tls_of(config, wanted=tls))
    try:
        seconds = call(peer)
    except Unreachable as error:
        raise CliError(str(error), UNREACHABLE) from error
    if as_json:
        show.as_json({"peer": str(peer), "milliseconds": round(1000 * seconds, 2)})
    else:
        show.lines([f"{peer} answers in {1000 * seconds:.1f} ms"])


def _body(summary: Summary) -> dict[str, Any]:
    rate = summary.bytes / summary.seconds if summary.seconds else 0.0
    return {
        "instances": summary.total,
        "success": summary.success,
        "warnings": len(summary.warnings),
        "failures": [
            {
                "path": str(sent.path),
                "sop_instance_uid": sent.sop_instance_uid,
                "status": None if sent.status is None else f"{sent.status:04X}",
                "comment": sent.comment,
            }
            for sent in summary.failures
        ],
        "skipped": len(summary.skipped),
        "unsent": len(summary.unsent),
        "errors": [str(error) for error in summary.errors],
        "bytes": summary.bytes,
        "seconds": round(summary.seconds, 3),
        "megabytes_per_second": round(rate / 1e6, 1),
    }


def _tell(peer: Peer, body: dict[str, Any]) -> None:
    from gateway.cli import show

    stored = body["success"] + body["warnings"]
    speed = f"{body['seconds']:.1f} s, {body['megabytes_per_second']} MB/s"
    show.lines([f"{stored} of {body['instances']} instances arrived at {peer} in {speed}"])
    if body["skipped"]:
        show.notes([f"{body['skipped']} files hold no DICOM instance and were skipped"])
    show.notes(
        f"{f['path']}: {f['status'] or 'not sent'} {f['comment']}"
        for f in body["failures"][:_SHOWN]
    )


def _why_not(summary: Summary) -> str:
    if summary.total == 0:
        return "there is no DICOM instance among these files"
    reasons = [str(error) for error in summary.errors]
    if summary.failures:
        reasons.append(f"{len(summary.failures)} instances were refused")
    return "\n".join(reasons)


def _nothing_arrived(summary: Summary) -> bool:
    from gateway.dicom.errors import Unreachable

    return bool(summary.errors) and all(isinstance(e, Unreachable) for e in summary.errors)
