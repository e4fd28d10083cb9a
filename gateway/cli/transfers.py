"""Files of payloads on their way up and down."""

from __future__ import annotations

import fnmatch
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.cli.errors import FAILURE, NOT_FOUND, USAGE, CliError
from gateway.cli.remote import Platform
from gateway.platform.wire import payloads_pb2 as pb
from gateway.platform.wire.common_pb2 import Identifier

CHUNK = 1024 * 1024
"""Bytes of a file in one message."""
AT_ONCE = 4
"""Files that travel at once: each waits for the gateway's disk at its end."""

Moved = Callable[[int], None]
"""Told how many more bytes have moved; from any thread."""


@dataclass(frozen=True)
class Local:
    """A file to be sent and the name it gets in the payload."""

    path: Path
    name: str
    size: int


def found_below(paths: Iterable[Path], folder: str = "") -> list[Local]:
    """Every regular file of ``paths``; a folder gives what is below it, without its own name.

    ``folder`` goes in front of each name.  :class:`CliError` (usage) for a path that is not there,
    two files of one name, or a name that is no UTF-8.
    """
    prefix = folder.strip("/")
    files: dict[str, Local] = {}
    for path, relative in _walk(paths):
        name = f"{prefix}/{relative}" if prefix else relative
        if not _is_text(name):
            raise CliError(f"the name of {path!r} is no UTF-8", USAGE)
        if name in files:
            raise CliError(f"{files[name].path} and {path} would both be {name}", USAGE)
        files[name] = Local(path, name, path.stat().st_size)
    return list(files.values())


def _walk(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for given in paths:
        if given.is_file():
            yield given, given.name
        elif given.is_dir():
            for folder, folders, names in os.walk(given):
                folders.sort()
                for name in sorted(names):
                    path = Path(folder, name)
                    if path.is_file():
                        yield path, path.relative_to(given).as_posix()
        else:
            raise CliError(f"{given} is neither a file nor a folder", USAGE)


def upload(platform: Platform, payload: str, files: Sequence[Local], moved: Moved) -> None:
    """Send ``files``; what is answered is whole and durable.  Stops at the first fault."""
    _all_at_once(lambda file: _upload(platform, payload, file, moved), files)


def _upload(platform: Platform, payload: str, file: Local, moved: Moved) -> None:
    try:
        with file.path.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            platform.send("Payloads.Upload", _messages(payload, file, opened, mode, moved))
    except OSError as error:
        raise CliError(f"{file.path}: {error.strerror}", FAILURE) from error


def _messages(
    payload: str, file: Local, opened: Any, mode: int, moved: Moved
) -> Iterator[pb.PayloadsUploadRequest]:
    """At least one message, so that an empty file arrives as well."""
    details = pb.PayloadFileDetails(name=file.name, size=file.size, mode=mode)
    first = True
    while (data := opened.read(CHUNK)) or first:
        yield pb.PayloadsUploadRequest(
            payload_id=Identifier(value=payload), details=details, data=data
        )
        moved(len(data))
        first = False


def details(platform: Platform, payload: str) -> dict[str, Any]:
    """A payload of a job, or made by hand: its kind, job, metadata and files."""
    found: dict[str, Any] = {}
    files = []
    request = pb.PayloadsDetailsRequest(payload_id=Identifier(value=payload))
    for answer in platform.stream("Payloads.Details", request):
        if not found:
            found = {
                "id": answer.payload_id.value,
                "type": pb.PayloadType.Name(answer.type).removeprefix("PAYLOAD_TYPE_"),
                "job_id": answer.job_id.value or None,
                "metadata": dict(answer.metadata),
            }
        if answer.HasField("file"):
            file = answer.file
            files.append({"name": file.name, "size": file.size, "mode": f"{file.mode:04o}"})
    return {**found, "files": files}


def chosen(files: Iterable[dict[str, Any]], patterns: Sequence[str]) -> list[dict[str, Any]]:
    """The files whose name fits one of ``patterns``; all of them without any.

    A pattern is a name, a folder, or has ``*``, ``?`` and ``[…]``, which also reach over slashes.
    """
    wanted = ["/" + pattern.strip("/") for pattern in patterns]

    def fits(name: str) -> bool:
        return not wanted or any(
            name.startswith(pattern.rstrip("/") + "/") or fnmatch.fnmatchcase(name, pattern)
            for pattern in wanted
        )

    return [file for file in files if fits(file["name"])]


def download(
    platform: Platform,
    payload: str,
    files: Sequence[dict[str, Any]],
    to: Path,
    moved: Moved,
    *,
    overwrite: bool = False,
) -> None:
    """Fetch ``files`` below the folder ``to``; each appears under its name when it is whole."""
    places = {file["name"]: _place(to, file["name"]) for file in files}
    if not overwrite:
        there = next((place for place in places.values() if os.path.lexists(place)), None)
        if there is not None:
            raise CliError(f"{there} is there already; --overwrite replaces it", FAILURE)
    _all_at_once(
        lambda file: _download(platform, payload, file["name"], places[file["name"]], to, moved),
        files,
    )


def _place(to: Path, name: str) -> Path:
    """Where a file goes; :class:`CliError` for a name that would lead out of ``to``."""
    parts = PurePosixPath(name).relative_to("/").parts if name.startswith("/") else ()
    if not parts or ".." in parts or "\0" in name:
        raise CliError(f"the gateway named a file {name!r}, which is no name", FAILURE)
    return to.joinpath(*parts)


def _download(
    platform: Platform, payload: str, name: str, place: Path, to: Path, moved: Moved
) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # A link that lies in the folder must not take the file elsewhere.
        if not place.parent.resolve().is_relative_to(to.resolve()):
            raise CliError(f"{place.parent} leads out of {to}", FAILURE)
        _fetch(platform, payload, name, place, moved)
    except OSError as error:
        raise CliError(f"{place}: {error.strerror}", FAILURE) from error


def _fetch(platform: Platform, payload: str, name: str, place: Path, moved: Moved) -> None:
    request = pb.PayloadsDownloadRequest(payload_id=Identifier(value=payload), name=name)
    temporary = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        size = expected = 0
        with temporary.open("xb") as file:
            for answer in platform.stream("Payloads.Download", request):
                file.write(answer.data)
                size += len(answer.data)
                expected = answer.details.size
                moved(len(answer.data))
        if size != expected:
            raise CliError(f"{name}: {size} bytes arrived of {expected}", FAILURE)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _all_at_once(work: Callable[[Any], None], files: Iterable[Any]) -> None:
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        try:
            for _ in pool.map(work, files):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def nothing_fits(payload: str) -> CliError:
    """What a download says that found no file."""
    return CliError(f"payload {payload} has no such file", NOT_FOUND)
