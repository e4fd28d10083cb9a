"""The files of payloads on disk: listed, read, received, removed, linked.

Every folder on the way is opened by its descriptor and no symbolic link is followed: an operator
may have left one, and a name must not lead out of the payload.  Files are never written in place:
they arrive whole in ``uploads/`` and are renamed, read-only, to where they belong, so that a hard
link to one never changes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import Transient
from gateway.payloads.folders import sync_folder
from gateway.payloads.space import Space
from gateway.platform.errors import Code, PlatformError, invalid, limit, not_found
from gateway.platform.names import MOST_PARTS, Parts, shown

UPLOADS = "uploads"
"""Folder below data-dir for what is on its way in; emptied at start."""
LOOK_BYTES = 64 * 1024 * 1024
"""How much is received between two looks at the disk's free space."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class File:
    """One file of a payload: its name, bytes, and permission bits."""

    parts: Parts
    size: int
    mode: int


@dataclass(frozen=True)
class Opened:
    """A file that is being read; close :attr:`descriptor`."""

    descriptor: int
    file: File


class Incoming:
    """A file on its way in; write it, then :meth:`Tree.place` it, or leave it to be removed."""

    def __init__(self, path: Path, space: Space) -> None:
        self.path = path
        self.size = 0
        self._space = space
        self._next_look = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Append ``data``; :class:`Transient` when the disk has no room."""
        if self.size >= self._next_look:
            full = self._space.full()
            if full is not None:
                raise Transient(f"no room for uploads: {full}")
            self._next_look = self.size + LOOK_BYTES
        done = os.write(self._descriptor, data)
        while done < len(data):
            done += os.write(self._descriptor, data[done:])
        self.size += done

    def finish(self, mode: int) -> None:
        """Make the bytes durable; ``mode`` may add the right to execute."""
        os.fchmod(self._descriptor, 0o444 | mode & 0o111)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close, and remove what was not placed."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)


class Tree:
    """The payload folders of one data-dir; every method from any thread.

    Callers hold the payload's lock around what changes it.
    """

    def __init__(self, data_dir: Path, space: Space) -> None:
        self._root = data_dir / "payloads"
        self._uploads = data_dir / UPLOADS
        self._space = space

    def recover(self) -> None:
        """Empty ``uploads/``: what lies there was never answered."""
        if self._uploads.exists():
            shutil.rmtree(self._uploads)
        self._uploads.mkdir(mode=0o700)
        for grave in self._root.glob(".deleted-*"):
            shutil.rmtree(grave)

    def folder(self, payload_id: str) -> Path:
        """Where the payload lies, whether it exists or not."""
        return self._root / payload_id

    def files(self, payload_id: str) -> Iterator[File]:
        """Every regular file, folder by folder in order of names; none for a missing payload."""
        try:
            folder = os.open(self.folder(payload_id), _FOLDER)
        except FileNotFoundError:
            return
        yield from _walk(folder, ())

    def open(self, payload_id: str, parts: Parts) -> Opened:
        """Open the file ``parts`` names: exactly, or the only one that differs in case.

        Raises :class:`PlatformError` when there is none, or several and none exactly so.
        """
        found = self.find(payload_id, parts)
        with self._enter(payload_id, found[:-1]) as folder:
            try:
                descriptor = os.open(found[-1], _FILE, dir_fd=folder)
            except OSError as error:
                raise _missing(parts) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise _missing(parts)
        return Opened(descriptor, File(found, status.st_size, status.st_mode & 0o777))

    def find(self, payload_id: str, parts: Parts) -> Parts:
        """The name of the one file that ``parts`` stands for, as :meth:`open`."""
        folder = self.folder(payload_id)
        if _is_file(folder, parts):
            return parts
        found = list(_alike(folder, (), parts))
        if not found:
            raise _missing(parts)
        if len(found) > 1:
            raise PlatformError(
                Code.EXISTS,
                f"{shown(parts)} stands for {len(found)} files that differ in case; "
                "write it exactly as one of them",
            )
        return found[0]

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """A new file on its way in; gone afterwards unless it was placed."""
        incoming = Incoming(self._uploads / uuid.uuid4().hex, self._space)
        try:
            yield incoming
        finally:
            incoming.close()

    def place(self, incoming: Incoming, payload_id: str, parts: Parts) -> None:
        """Rename a finished file to its name, replacing one there; durable when it returns."""
        with self._enter(payload_id, parts[:-1], make=True) as folder:
            try:
                os.rename(incoming.path, parts[-1], dst_dir_fd=folder)
            except IsADirectoryError as error:
                raise PlatformError(Code.EXISTS, f"{shown(parts)} is a folder") from error
            os.fsync(folder)

    def remove(self, payload_id: str, parts: Parts) -> None:
        """Remove the file ``parts`` stands for and the folders it leaves empty."""
        found = self.find(payload_id, parts)
        with self._enter(payload_id, found[:-1]) as folder:
            os.unlink(found[-1], dir_fd=folder)
            os.fsync(folder)
        for depth in range(len(found) - 1, 1, -1):
            with contextlib.suppress(OSError), self._enter(payload_id, found[: depth - 1]) as above:
                os.rmdir(found[depth - 1], dir_fd=above)

    def make(self, payload_id: str) -> None:
        """Make the empty folder of a new payload; durable when it returns."""
        self.folder(payload_id).mkdir(mode=0o700)
        sync_folder(self._root)

    @contextmanager
    def joined(self, sources: Sequence[str]) -> Iterator[Path]:
        """A folder with ``input/``: hard links to every file of ``sources``, in their order.

        Rename it to where it belongs; afterwards it is gone.  A name that two sources have is an
        error.
        """
        folder = self._uploads / uuid.uuid4().hex
        try:
            (folder / "input").mkdir(parents=True, mode=0o700)
            for source in sources:
                self._link(source, folder / "input")
            for inner, _, _ in os.walk(folder):
                sync_folder(Path(inner))
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder)

    def settle(self, folder: Path, payload_id: str) -> None:
        """Rename what :meth:`joined` made to the payload's place; durable when it returns."""
        folder.rename(self.folder(payload_id))
        sync_folder(self._root)

    def delete(self, payload_id: str) -> None:
        """Delete the payload with everything in it; nothing when it is not there."""
        folder = self.folder(payload_id)
        grave = self._root / f".deleted-{payload_id}"
        if folder.exists() and not grave.exists():
            # Gone from its place at once: a half-deleted payload must not look like a whole one.
            folder.rename(grave)
            sync_folder(self._root)
        for remains in (grave, folder):
            if remains.exists():
                shutil.rmtree(remains)

    def _link(self, source: str, target: Path) -> None:
        for file in self.files(source):
            place = target.joinpath(*file.parts)
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(self.folder(source).joinpath(*file.parts), place, follow_symlinks=False)
            except (FileExistsError, NotADirectoryError) as error:
                raise PlatformError(
                    Code.EXISTS,
                    f"{shown(file.parts)} of payload {source} is in another input payload too",
                ) from error

    @contextmanager
    def _enter(self, payload_id: str, parts: Parts, *, make: bool = False) -> Iterator[int]:
        """The descriptor of a folder in the payload; ``make`` makes what is missing, durably."""
        if make:
            # A job's payload has none until its first file comes.
            with contextlib.suppress(FileExistsError):
                self.make(payload_id)
        try:
            descriptor = os.open(self.folder(payload_id), _FOLDER)
        except FileNotFoundError as error:
            raise not_found(f"payload {payload_id} has no files") from error
        try:
            for number, part in enumerate(parts):
                try:
                    inner = _into(descriptor, part, make=make)
                except (NotADirectoryError, FileExistsError) as error:
                    raise invalid(f"{shown(parts[: number + 1])} is a file, no folder") from error
                except OSError as error:
                    raise _missing(parts) from error
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def _into(folder: int, part: str, *, make: bool) -> int:
    """Open the folder ``part`` in ``folder``."""
    try:
        return os.open(part, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    os.mkdir(part, 0o700, dir_fd=folder)
    os.fsync(folder)
    return os.open(part, _FOLDER, dir_fd=folder)


def _walk(folder: int, above: Parts) -> Iterator[File]:
    """Every regular file below the open ``folder``, which is closed; what vanishes is left out."""
    try:
        if len(above) >= MOST_PARTS:
            raise limit(f"the payload has folders more than {MOST_PARTS} deep")
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if entry.is_dir(follow_symlinks=False):
                    inner = os.open(entry.name, _FOLDER, dir_fd=folder)
                    yield from _walk(inner, (*above, entry.name))
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield File((*above, entry.name), status.st_size, status.st_mode & 0o777)
    finally:
        os.close(folder)


def _is_file(folder: Path, parts: Parts) -> bool:
    """True when ``parts`` is a regular file, reached without a symbolic link."""
    path = folder
    for part in parts[:-1]:
        path = path / part
        if path.is_symlink() or not path.is_dir():
            return False
    path = path / parts[-1]
    return not path.is_symlink() and path.is_file()


def _alike(folder: Path, above: Parts, rest: Parts) -> Iterator[Parts]:
    """Names of files that equal ``rest`` but for case."""
    wanted = rest[0].casefold()
    try:
        with os.scandir(folder) as entries:
            alike = [entry for entry in entries if entry.name.casefold() == wanted]
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in alike:
        if len(rest) == 1 and entry.is_file(follow_symlinks=False):
            yield (*above, entry.name)
        elif len(rest) > 1 and entry.is_dir(follow_symlinks=False):
            yield from _alike(Path(entry.path), (*above, entry.name), rest[1:])


def _missing(parts: Parts) -> PlatformError:
    return not_found(f"there is no file {shown(parts)} in the payload")
