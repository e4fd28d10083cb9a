"""The model repository on disk, in Triton's layout.

::

    <models>/<name>/config.pbtxt
    <models>/<name>/<version>/…

A model is built in ``.uploads/`` and renamed into its place, so an inference server sees a whole
one or none.  What a kill left half done is put right at the next start.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import shutil
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.errors import Transient
from gateway.payloads.space import Space
from gateway.platform.errors import invalid, limit
from gateway.platform.names import Parts, parts

UPLOADS = ".uploads"
BLOCK = 1024 * 1024
MOST_FILES = 10_000
"""Most files of one model."""
MOST_BYTES = 256 * 10**9
"""Most bytes of one model, unpacked."""

PY_TORCH = 3
SINGLE: Mapping[int, str] = {1: "model.graphdef", 2: "model.plan", PY_TORCH: "model.pt"}
"""By type, what Triton calls a model that is one file."""

_FAULTY = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KINDS = (
    (".plan", 2), (".graphdef", 1), (".savedmodel", 1), (".pt", 3),
)  # fmt: skip


def model_name(given: str) -> str:
    """A name that is fit for a folder; :class:`PlatformError` for any other."""
    if not _NAME.fullmatch(given):
        raise invalid(
            f"{given[:64]!r} is no model name: 1 to 128 letters, digits, '.', '_', '-', "
            "the first a letter or digit"
        )
    return given


@dataclass(frozen=True)
class Upload:
    """What arrived: the file, its bytes and SHA-256."""

    path: Path
    size: int
    digest: str


class Receiving:
    """An upload on its way in."""

    def __init__(self, folder: Path, space: Space) -> None:
        self.folder = folder
        self._space = space
        self._file: IO[bytes] = (folder / "upload").open("xb")
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append ``data``; :class:`Transient` when the disk has no room."""
        _check_room(self._space)
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def end(self) -> Upload:
        """All of it arrived."""
        self._file.close()
        return Upload(self.folder / "upload", self._size, self._digest.hexdigest())

    def close(self) -> None:
        """Close, whatever arrived."""
        self._file.close()


class ModelFiles:
    """The folder of models; every method from any thread, changes one at a time."""

    def __init__(self, root: Path, space: Space) -> None:
        self._root = root
        self._space = space

    def recover(self) -> None:
        """Put back what a replacement had moved aside, remove what was not finished."""
        uploads = self._root / UPLOADS
        if not uploads.exists():
            return
        for old in uploads.glob("*/old/*"):
            if not self.folder(old.name).exists():
                old.rename(self.folder(old.name))
        shutil.rmtree(uploads)

    def folder(self, name: str) -> Path:
        """Where the model lies, whether it exists or not."""
        return self._root / name

    def names(self) -> list[str]:
        """Every model on disk: a folder with a numbered folder in it."""
        if not self._root.is_dir():
            return []
        return sorted(
            path.name
            for path in self._root.iterdir()
            if _NAME.fullmatch(path.name) and path.is_dir() and _versions(path)
        )

    @contextmanager
    def receive(self) -> Iterator[Receiving]:
        """A new upload; everything of it that was not put into place goes afterwards."""
        folder = self._root / UPLOADS / uuid.uuid4().hex
        folder.mkdir(parents=True)
        receiving = Receiving(folder, self._space)
        try:
            yield receiving
        finally:
            receiving.close()
            shutil.rmtree(folder)

    def build(self, upload: Upload, kind: int) -> str | None:
        """Lay ``upload`` out durably as ``tree`` beside it; the name of its file if it is only one.

        Raises :class:`PlatformError` for an archive that is faulty or holds no numbered version.
        """
        tree = upload.path.parent / "tree"
        tree.mkdir()
        file = self._lay_out(upload, kind, tree)
        for inner, _, files in os.walk(tree):
            for each in files:
                _sync(Path(inner, each))
            _sync(Path(inner))
        return file

    def _lay_out(self, upload: Upload, kind: int, tree: Path) -> str | None:
        zipped = _begins(upload.path, b"PK") and zipfile.is_zipfile(upload.path)
        if not zipped and not tarfile.is_tarfile(upload.path):
            return _single(upload, kind, tree)
        self._unpack(_zipped(upload.path) if zipped else _tarred(upload.path), tree)
        if _versions(tree):
            return None
        if zipped and kind == PY_TORCH:
            # TorchScript files are zip archives themselves.
            shutil.rmtree(tree)
            tree.mkdir()
            return _single(upload, kind, tree)
        raise invalid("the archive holds no model in Triton's layout: no folder '1', '2', …")

    def put(self, upload: Upload, name: str) -> None:
        """Rename what :meth:`build` made to its place, the one there before moved aside."""
        tree, place = upload.path.parent / "tree", self.folder(name)
        if place.exists():
            (upload.path.parent / "old").mkdir()
            place.rename(upload.path.parent / "old" / name)
        tree.rename(place)
        _sync(self._root)

    def delete(self, name: str) -> None:
        """Delete a model; nothing when it is not there."""
        grave = self._root / UPLOADS / uuid.uuid4().hex
        grave.mkdir(parents=True)
        try:
            if self.folder(name).exists():
                self.folder(name).rename(grave / "gone")
                _sync(self._root)
        finally:
            shutil.rmtree(grave)

    def kind(self, name: str) -> int:
        """The type of a model found on disk, by the names of its files; 0 = not known."""
        for path in self.folder(name).glob("*/*"):
            for ending, kind in _KINDS:
                if path.name.endswith(ending):
                    return kind
        return 0

    def measured(self, name: str) -> tuple[int, str]:
        """Bytes and SHA-256 of the model as :meth:`archive` gives it."""
        digest, size = hashlib.sha256(), 0
        for block in self.archive(name):
            digest.update(block)
            size += len(block)
        return size, digest.hexdigest()

    def archive(self, name: str) -> Iterator[bytes]:
        """The model as a tar archive, the same bytes for the same files."""
        root = self.folder(name)
        for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
            info = tarfile.TarInfo(str(Path(name, path.relative_to(root))))
            info.size = path.stat().st_size
            yield info.tobuf(tarfile.PAX_FORMAT)
            yield from blocks(path)
            yield b"\0" * (-info.size % tarfile.BLOCKSIZE)
        yield b"\0" * (2 * tarfile.BLOCKSIZE)

    def _unpack(self, members: Iterator[tuple[Parts, IO[bytes]]], tree: Path) -> None:
        """Write every member, counting what it really holds: a header may lie."""
        size = 0
        for number, (place, source) in enumerate(members, 1):
            if number > MOST_FILES:
                raise limit(f"a model has at most {MOST_FILES} files")
            target = tree.joinpath(*place)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for block in _contents(source):
                    size += len(block)
                    if size > MOST_BYTES:
                        raise limit(f"a model has at most {MOST_BYTES} bytes")
                    _check_room(self._space)
                    file.write(block)
        _unwrap(tree)


def blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file in pieces."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _contents(source: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a member; what its packing does not hold is the archive's fault."""
    while True:
        try:
            block = source.read(BLOCK)
        except _FAULTY as error:
            raise invalid(f"the archive is faulty: {error}") from error
        if not block:
            return
        yield block


def _zipped(path: Path) -> Iterator[tuple[Parts, IO[bytes]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as source:
                        yield parts(info.filename), source
    except (*_FAULTY, RuntimeError, NotImplementedError) as error:
        raise invalid(f"the zip archive is faulty: {error}") from error


def _tarred(path: Path) -> Iterator[tuple[Parts, IO[bytes]]]:
    try:
        with tarfile.open(path) as archive:
            for info in archive:
                if info.isdir():
                    continue
                source = archive.extractfile(info) if info.isreg() else None
                if source is None:
                    raise invalid(f"{info.name[:64]!r} in the archive is no regular file")
                with source:
                    yield parts(info.name), source
    except _FAULTY as error:
        raise invalid(f"the tar archive is faulty: {error}") from error


def _unwrap(tree: Path) -> None:
    """Let an archive of ``<name>/…`` be as one of what stands in it."""
    inside = list(tree.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and not inside[0].name.isdigit():
        wrapped = tree.with_name("wrapped")
        tree.rename(wrapped)
        (wrapped / inside[0].name).rename(tree)


def _single(upload: Upload, kind: int, tree: Path) -> str:
    file = SINGLE.get(kind)
    if file is None:
        raise invalid(
            "a model of no known type must come as a zip or tar archive in Triton's layout"
        )
    (tree / "1").mkdir()
    upload.path.rename(tree / "1" / file)
    return file


def _versions(folder: Path) -> bool:
    return any(path.name.isdigit() and path.is_dir() for path in folder.iterdir())


def _begins(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _check_room(space: Space) -> None:
    full = space.full()
    if full is not None:
        raise Transient(f"no room for models: {full}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
