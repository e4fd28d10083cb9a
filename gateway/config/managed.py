"""``ae_config/managed.yaml``: the file of AE titles and peers that a program writes.

People write the other files of the folder; this one is made anew as a whole by each change.  A
change is checked together with all other files before anything is replaced, and replaces the file
in one step: a gateway that follows the folder, or starts after a power cut, reads the old file or
the new one.  Changes at the same time, by any process of the machine, come one after the other.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from gateway.config.applications import AeFile, CheckRule, files, load
from gateway.config.document import Document, read, validate
from gateway.errors import Refused, Transient

FILE = "managed.yaml"
LOCK = ".managed.lock"
PATIENCE_SECONDS = 10.0
"""How long a change waits for another one."""

Kind = Literal["applications", "sources", "destinations"]
KEYS: Mapping[Kind, str] = {
    "applications": "ae-title",
    "sources": "ae-title",
    "destinations": "name",
}
"""What tells the entries of a section apart."""

_HEAD = "# Written by `gateway dicom create|delete`; write your own entries into another file.\n"


class AbsentEntryError(Refused):
    """There is no such entry in any file."""


@dataclass(frozen=True)
class Entry:
    """One entry, as it is written, and where it stands."""

    kind: Kind
    data: Mapping[str, Any]
    file: Path
    line: int | None

    @property
    def place(self) -> str:
        """``file:line``."""
        return str(self.file) if self.line is None else f"{self.file}:{self.line}"

    @property
    def managed(self) -> bool:
        """True when it stands in the file that is written here."""
        return self.file.name == FILE


class ManagedFile:
    """The managed file of one ``ae_config`` folder."""

    def __init__(self, folder: Path, check_rule: CheckRule | None = None) -> None:
        """``check_rule`` is the routing room's check of expressions."""
        self._folder = folder
        self._path = folder / FILE
        self._check_rule = check_rule

    def entries(self, kind: Kind) -> list[Entry]:
        """Every entry of a section in every file; ConfigError when one is bad."""
        load(self._folder, self._check_rule)
        return list(self._entries(kind))

    def create(self, kind: Kind, data: Mapping[str, Any], *, replace: bool = False) -> Path:
        """Add an entry, durably when this returns; the file it stands in.

        ``replace`` lets it take the place of a managed one.  Raises :class:`Refused` for an entry
        that is there, naming its file and line, and ConfigError when the whole configuration would
        be wrong with it.
        """
        with self._locked():
            there = self._find(kind, str(data[KEYS[kind]]))
            if there is not None and not (replace and there.managed):
                hint = "; --replace takes its place" if there.managed else ""
                raise Refused(f"{data[KEYS[kind]]!r} stands already in {there.place}{hint}")
            sections = self._sections()
            if there is not None:
                sections[kind] = [e for e in sections[kind] if not self._same(kind, e, there)]
            sections[kind].append(dict(data))
            self._write(sections)
        return self._path

    def delete(self, kind: Kind, name: str) -> Path:
        """Take an entry out, durably when this returns; the file it stood in.

        Raises :class:`AbsentEntryError`, :class:`Refused` for an entry of another file, naming file
        and line, and ConfigError when the rest would be wrong without it.
        """
        with self._locked():
            there = self._find(kind, name)
            if there is None:
                raise AbsentEntryError(f"no {kind[:-1]} {name!r} stands in {self._folder}")
            if not there.managed:
                raise Refused(
                    f"{name!r} stands in {there.place}, which people write: take it out there"
                )
            sections = self._sections()
            sections[kind] = [e for e in sections[kind] if not self._same(kind, e, there)]
            self._write(sections)
        return self._path

    def _same(self, kind: Kind, data: Mapping[str, Any], entry: Entry) -> bool:
        return identity(kind, data) == identity(kind, entry.data)

    def _find(self, kind: Kind, name: str) -> Entry | None:
        wanted = identity(kind, {KEYS[kind]: name})
        return next((e for e in self._entries(kind) if identity(kind, e.data) == wanted), None)

    def _entries(self, kind: Kind) -> Iterator[Entry]:
        for path in files(self._folder):
            document = _document(path)
            for index, data in enumerate((document.data or {}).get(kind) or []):
                yield Entry(kind, data, path, document.line((kind, index)))

    def _sections(self) -> dict[Kind, list[Any]]:
        data = (_document(self._path).data or {}) if self._path.exists() else {}
        return {kind: list(data.get(kind) or []) for kind in KEYS}

    def _write(self, sections: Mapping[Kind, list[Any]]) -> None:
        """Check the whole configuration as it would be, then replace the file in one step."""
        kept = {kind: entries for kind, entries in sections.items() if entries}
        text = _HEAD + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
        load(self._folder, self._check_rule, {self._path: text})
        # Hidden, so that nobody reads it as configuration.
        temporary = self._folder / f".{FILE}.{os.getpid()}.tmp"
        mode = self._path.stat().st_mode & 0o777 if self._path.exists() else 0o644
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(self._folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time; :class:`Transient` when another one does not end."""
        # Bad files are told before a lock is left in a folder that is none.
        load(self._folder, self._check_rule)
        descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _flock(descriptor, self._folder / LOCK)
            yield
        finally:
            os.close(descriptor)


def identity(kind: Kind, data: Mapping[str, Any]) -> str:
    """What no other entry of the section may have; names of destinations know no case."""
    name = str(data[KEYS[kind]])
    return name.lower() if kind == "destinations" else name


def _document(path: Path) -> Document:
    document = read(path)
    validate(AeFile, document)
    return document


def _flock(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Transient(f"another change holds {path}; try again") from None
            time.sleep(0.02)
        else:
            return


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
