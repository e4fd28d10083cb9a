"""Pipelines by name and version, in the table ``pipelines``.

A version is the definition's text with those of the files it imports.  One that is equal to the
newest version is that version; any other is one more.
Versions stay readable after removal, for the jobs that ran them.  Every function takes the
caller's connection, so a registration commits with whatever else its transaction does.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import posixpath
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.config.document import ConfigError, Fault
from gateway.database.schema import new_id, pipelines
from gateway.errors import Refused
from gateway.pipelines.folder import Written, definitions
from gateway.pipelines.model import Definition
from gateway.pipelines.parse import parse, resolve
from gateway.pipelines.sources import plain

log = logging.getLogger(__name__)


class PipelineError(Refused):
    """A pipeline that is not there, or an identifier that is taken."""


@dataclass(frozen=True)
class Pipeline:
    """One registered version; ``definition`` has its parameters at their defaults."""

    id: str
    name: str
    version: int
    digest: str
    """SHA-256 of the text and of the imported files, hexadecimal."""
    text: str
    file: str
    definition: Definition
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts of the files that came with it, by their names."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: float = 0.0
    removed_at: float | None = None
    lineage: str = ""
    """The id that callers know it by: that of its first version; an update keeps it."""

    def resolve(self, arguments: Mapping[str, str], job_id: str) -> Definition:
        """The definition that one job runs; :class:`ConfigError` if an argument is no parameter."""
        return resolve(self.text, self.file, arguments, job_id, files=self.files)

    @property
    def templated(self) -> bool:
        """True when a job's values or its id may change the definition."""
        return any("${{" in text for text in (self.text, *self.files.values()))


@dataclass(frozen=True)
class Loaded:
    """What a folder of definitions gave."""

    pipelines: tuple[Pipeline, ...]
    faults: tuple[Fault, ...]


def register(
    connection: Connection,
    text: str,
    file: str,
    *,
    files: Mapping[str, str] | None = None,
    host_volumes: Sequence[str] = (),
    pipeline_id: str | None = None,
    lineage: str | None = None,
    metadata: Mapping[str, str] | None = None,
    at: float | None = None,
    again: bool = False,
) -> Pipeline:
    """Register ``text`` under the name it gives itself; :class:`ConfigError` if it is faulty.

    ``files`` are the texts of what it imports, by names relative to ``file`` or of its kind;
    ``host_volumes`` the folders of the machine that it may ask for.  ``pipeline_id`` forces the
    identifier of a new version; ``lineage`` makes it a version of what callers know by that id.
    Returns the newest version unchanged when its texts are the same, unless ``again`` asks for
    one more.
    """
    given = dict(files or {})
    definition = parse(text, file, given, host_volumes=host_volumes)
    digest = digest_of(text, file, given)
    newest = latest(connection, definition.name)
    same = newest is not None and newest.digest == digest and pipeline_id in (None, newest.id)
    if newest is not None and same and not again:
        return newest
    if pipeline_id is not None and _row(connection, pipeline_id) is not None:
        raise PipelineError(f"the pipeline id {pipeline_id} is taken")
    # The name keeps the spelling of its first version: names are case-insensitive.
    name, version = _next(connection, definition.name)
    row_id = pipeline_id or new_id()
    row = {
        "id": row_id,
        "lineage": lineage or row_id,
        "name": name,
        "version": version,
        "digest": digest,
        "definition": text,
        "file": file,
        "files": given or None,
        "metadata": dict(metadata or {}),
        "created_at": time.time() if at is None else at,
        "removed_at": None,
    }
    connection.execute(sa.insert(pipelines).values(row))
    return get(connection, str(row["id"]))


def remove(connection: Connection, pipeline_id: str, at: float | None = None) -> None:
    """Take a version out of use; jobs that run it go on.  Idempotent."""
    get(connection, pipeline_id)
    connection.execute(
        sa.update(pipelines)
        .where(pipelines.c.id == pipeline_id, pipelines.c.removed_at.is_(None))
        .values(removed_at=time.time() if at is None else at)
    )


def latest(connection: Connection, name: str) -> Pipeline | None:
    """The newest version of ``name`` that is not removed, or None."""
    row = connection.execute(
        sa.select(pipelines)
        .where(_named(name), pipelines.c.removed_at.is_(None))
        .order_by(pipelines.c.version.desc())
        .limit(1)
    ).first()
    return None if row is None else _pipeline(row)


def get(connection: Connection, pipeline_id: str) -> Pipeline:
    """The version with that identifier, removed or not; :class:`PipelineError` if none is."""
    row = _row(connection, pipeline_id)
    if row is None:
        raise PipelineError(f"there is no pipeline with the id {pipeline_id[:64]!r}")
    return _pipeline(row)


def listing(connection: Connection, *, every_version: bool = False) -> list[Pipeline]:
    """Pipelines by name: the newest version of each, or every version, removed ones last."""
    rows = connection.execute(
        sa.select(pipelines).order_by(
            pipelines.c.removed_at.is_not(None), pipelines.c.name, pipelines.c.version.desc()
        )
    )
    found = [_pipeline(row) for row in rows]
    if every_version:
        return found
    newest: dict[str, Pipeline] = {}
    for pipeline in found:
        if pipeline.removed_at is None:
            newest.setdefault(pipeline.name.lower(), pipeline)
    return list(newest.values())


def load_folder(
    connection: Connection, folder: Path, *, host_volumes: Sequence[str] = ()
) -> Loaded:
    """Register every ``*.yaml`` of ``folder``; a bad file is logged and the others go on.

    A file that another one imports is no definition.  Two files with one pipeline name are a fault
    of the second.
    """
    registered: list[Pipeline] = []
    names: dict[str, str] = {}
    found, unreadable = definitions(folder)
    faults = list(unreadable)
    for written in found:
        try:
            registered.append(_load(connection, written, names, host_volumes))
        except ConfigError as error:
            faults += error.faults
    faults.sort(key=lambda f: f.file)
    for file, group in itertools.groupby(faults, key=lambda f: f.file):
        log.error(
            "pipeline definition refused",
            extra={"file": Path(file).name, "faults": [str(f) for f in group]},
        )
    return Loaded(tuple(registered), tuple(faults))


def _load(
    connection: Connection, written: Written, names: dict[str, str], host_volumes: Sequence[str]
) -> Pipeline:
    parsed = parse(written.text, written.file, written.files, host_volumes=host_volumes)
    name = parsed.name.lower()
    if name in names:
        message = f"the pipeline {name!r} stands in {names[name]} already"
        raise ConfigError([Fault(written.file, None, "name", message)])
    names[name] = Path(written.file).name
    return register(
        connection, written.text, written.file, files=written.files, host_volumes=host_volumes
    )


def digest_of(text: str, file: str, files: Mapping[str, str]) -> str:
    """SHA-256 of a version, wherever its folder lies; without files, that of the text alone."""
    made = hashlib.sha256(text.encode())
    folder = posixpath.dirname(plain(file))
    for name, content in sorted(files.items()):
        short = plain(name).removeprefix(f"{folder}/") if folder else plain(name)
        for part in (short, content):
            data = part.encode()
            made.update(b"\0%d\0" % len(data))
            made.update(data)
    return made.hexdigest()


def _named(name: str) -> sa.ColumnElement[bool]:
    return sa.func.lower(pipelines.c.name) == name.lower()


def _next(connection: Connection, name: str) -> tuple[str, int]:
    """Spelling and number of the next version, counted over removed ones too."""
    row = connection.execute(
        sa.select(pipelines.c.name, pipelines.c.version)
        .where(_named(name))
        .order_by(pipelines.c.version.desc())
        .limit(1)
    ).first()
    return (name, 1) if row is None else (row.name, row.version + 1)


def _row(connection: Connection, pipeline_id: str) -> Row[Any] | None:
    query = sa.select(pipelines).where(pipelines.c.id == pipeline_id)
    return connection.execute(query).first()


def _pipeline(row: Row[Any]) -> Pipeline:
    files: dict[str, str] = row.files or {}
    return Pipeline(
        id=row.id,
        name=row.name,
        version=row.version,
        digest=row.digest,
        text=row.definition,
        file=row.file,
        definition=parsed(row.definition, row.file, tuple(sorted(files.items()))),
        files=files,
        metadata=row.metadata,
        created_at=row.created_at,
        removed_at=row.removed_at,
        lineage=row.lineage,
    )


@functools.lru_cache(maxsize=256)
def parsed(text: str, file: str, files: tuple[tuple[str, str], ...] = ()) -> Definition:
    """Parse once: definitions are frozen, and each job reads its pipeline again.

    ``files`` are names and texts of what it imports.  What the administrator no longer allows can
    still be read; the engine refuses to run it.
    """
    return parse(text, file, dict(files))
