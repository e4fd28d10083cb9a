"""Pipelines by name and version, in the table ``pipelines``.

A definition whose text is that of the newest version is that version; any other text is one more.
Versions stay readable after removal, for the jobs that ran them.  Every function takes the
caller's connection, so a registration commits with whatever else its transaction does.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.config.document import MAX_BYTES, ConfigError, Fault
from gateway.database.schema import new_id, pipelines
from gateway.errors import Refused
from gateway.pipelines.model import Definition
from gateway.pipelines.parse import parse, resolve

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
    """SHA-256 of the text, hexadecimal."""
    text: str
    file: str
    definition: Definition
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: float = 0.0
    removed_at: float | None = None

    def resolve(self, arguments: Mapping[str, str], job_id: str) -> Definition:
        """The definition that one job runs; :class:`ConfigError` if an argument is no parameter."""
        return resolve(self.text, self.file, arguments, job_id)


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
    pipeline_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
    at: float | None = None,
) -> Pipeline:
    """Register ``text`` under the name it gives itself; :class:`ConfigError` if it is faulty.

    ``pipeline_id`` forces the identifier of a new version.  Returns the newest version unchanged
    when its text is the same.
    """
    definition = _parsed(text, file)
    digest = hashlib.sha256(text.encode()).hexdigest()
    newest = latest(connection, definition.name)
    if newest is not None and newest.digest == digest and pipeline_id in (None, newest.id):
        return newest
    if pipeline_id is not None and _row(connection, pipeline_id) is not None:
        raise PipelineError(f"the pipeline id {pipeline_id} is taken")
    # The name keeps the spelling of its first version: names are case-insensitive.
    name, version = _next(connection, definition.name)
    row = {
        "id": pipeline_id or new_id(),
        "name": name,
        "version": version,
        "digest": digest,
        "definition": text,
        "file": file,
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


def load_folder(connection: Connection, folder: Path) -> Loaded:
    """Register every ``*.yaml`` of ``folder``; a bad file is logged and the others go on.

    Two files with one pipeline name are a fault of the second.
    """
    registered: list[Pipeline] = []
    faults: list[Fault] = []
    names: dict[str, Path] = {}
    for path in _files(folder):
        try:
            registered.append(_load(connection, path, names))
        except ConfigError as error:
            faults += error.faults
            log.error(  # noqa: TRY400 - the faults say it all, no trace wanted
                "pipeline definition refused",
                extra={"file": path.name, "faults": [str(f) for f in error.faults]},
            )
    return Loaded(tuple(registered), tuple(faults))


def _load(connection: Connection, path: Path, names: dict[str, Path]) -> Pipeline:
    text = _text(path)
    name = _parsed(text, str(path)).name.lower()
    if name in names:
        message = f"the pipeline {name!r} stands in {names[name].name} already"
        raise ConfigError([Fault(str(path), None, "name", message)])
    names[name] = path
    return register(connection, text, str(path))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and not p.name.startswith(".")
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        return raw.decode()
    except OSError as error:
        message = error.strerror or str(error)
        raise ConfigError([Fault(str(path), None, "", message)]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Fault(str(path), None, "", f"is not UTF-8: {error.reason}")]) from error


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
    return Pipeline(
        id=row.id,
        name=row.name,
        version=row.version,
        digest=row.digest,
        text=row.definition,
        file=row.file,
        definition=_parsed(row.definition, row.file),
        metadata=row.metadata,
        created_at=row.created_at,
        removed_at=row.removed_at,
    )


@functools.lru_cache(maxsize=256)
def _parsed(text: str, file: str) -> Definition:
    """Parse once: definitions are frozen, and each job reads its pipeline again."""
    return parse(text, file)
