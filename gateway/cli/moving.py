"""``gateway upload|download payload``: files into and out of a payload."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.groups import group
from gateway.cli.options import Json

if TYPE_CHECKING:
    from gateway.cli.remote import Platform

upload = group("Upload files into a payload.")
download = group("Download files of a payload.")

PayloadId = Annotated[
    str, typer.Argument(metavar="PAYLOAD", help="Identifier of the payload, or of a job's.")
]


@upload.command("payload")
def upload_payload(
    ctx: typer.Context,
    payload: PayloadId,
    paths: Annotated[
        list[Path], typer.Argument(help="Files and folders; a folder without its own name.")
    ],
    to: Annotated[str, typer.Option("--to", help="Folder of the payload they go to.")] = "",
    as_json: Json = False,
) -> None:
    """Upload files; exit 0 only if the gateway has every one of them on its disk.

    Files of a job's payload go below its /input, until the job is started. A file of the same name
    is replaced. After a break the same command sends all of them again.

    \b
    Examples:
      gateway upload payload PAYLOAD study/
      gateway upload payload PAYLOAD weights.bin --to models
    """
    from gateway.cli import show
    from gateway.cli.remote import Platform

    with Platform(ctx.obj.resolve()) as platform:
        sent = send(platform, payload, paths, to)
    if as_json:
        show.as_json({"payload_id": payload} | sent)
    else:
        show.lines([f"{sent['files']} files, {sent['bytes']} bytes uploaded"])


@download.command("payload")
def download_payload(
    ctx: typer.Context,
    payload: PayloadId,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Files, folders or patterns [default: all]."),
    ] = None,
    to: Annotated[Path, typer.Option("--to", "-o", help="Folder they go to.")] = Path(),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Json = False,
) -> None:
    """Download files; exit 0 only if every one of them arrived whole.

    Each appears under its name, below the folder, when it is whole. Without --overwrite nothing is
    fetched when one of them is there already. Exit 3 when no file fits.

    \b
    Examples:
      gateway download payload PAYLOAD --to results
      gateway download payload PAYLOAD '/operators/*.dcm' --to results
    """
    from gateway.cli import show, transfers
    from gateway.cli.remote import Platform

    with Platform(ctx.obj.resolve()) as platform:
        there = transfers.details(platform, payload)
        files = transfers.chosen(there["files"], names or [])
        if names and not files:
            raise transfers.nothing_fits(payload)
        with show.progress() as bar:
            task = bar.add_task("downloading", total=_size(files))
            transfers.download(
                platform, payload, files, to, lambda n: bar.advance(task, n), overwrite=overwrite
            )
    if as_json:
        show.as_json(files)
    else:
        show.lines([f"{len(files)} files, {_size(files)} bytes downloaded to {to}"])


def send(platform: Platform, payload: str, paths: Iterable[Path], to: str = "") -> dict[str, Any]:
    """Upload ``paths`` with a bar; how many files and bytes that were."""
    from gateway.cli import show, transfers

    files = transfers.found_below(paths, to)
    size = sum(file.size for file in files)
    with show.progress() as bar:
        task = bar.add_task("uploading", total=size)
        transfers.upload(platform, payload, files, lambda n: bar.advance(task, n))
    return {"files": len(files), "bytes": size}


def _size(files: Iterable[dict[str, Any]]) -> int:
    return sum(int(file["size"]) for file in files)
