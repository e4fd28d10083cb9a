"""Pipelines as callers of the platform API know them: by an id that an update keeps.

Each version is a row of its own; the rows of one lineage answer to the id of the first.  Two
definitions of one name that were created apart stay apart: a caller's id never starts to mean
what somebody else registered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import pipelines
from gateway.errors import Refused
from gateway.pipelines import registry
from gateway.pipelines.registry import Pipeline, PipelineError


def newest(connection: Connection, lineage: str) -> Pipeline:
    """The newest version of ``lineage`` in use; :class:`PipelineError` if there is none."""
    row_id = connection.execute(
        sa.select(pipelines.c.id)
        .where(pipelines.c.lineage == lineage, pipelines.c.removed_at.is_(None))
        .order_by(pipelines.c.version.desc())
        .limit(1)
    ).scalar()
    if row_id is None:
        raise PipelineError(f"there is no pipeline with the id {lineage}")
    return registry.get(connection, row_id)


def taken(connection: Connection, identifier: str) -> bool:
    """True when a pipeline, removed or not, has or had that id."""
    query = sa.select(pipelines.c.id).where(
        sa.or_(pipelines.c.lineage == identifier, pipelines.c.id == identifier)
    )
    return connection.execute(query.limit(1)).first() is not None


def update(
    connection: Connection,
    lineage: str,
    text: str,
    file: str,
    *,
    files: Mapping[str, str] | None = None,
    host_volumes: Sequence[str] = (),
) -> Pipeline:
    """Make ``text`` the newest version of ``lineage``; its metadata stay.

    ``files`` and ``host_volumes`` are those of :func:`~gateway.pipelines.registry.register`.
    Jobs keep the version they began with.  Raises :class:`PipelineError` when there is no such
    pipeline, :class:`Refused` when ``text`` has another name.
    """
    present = newest(connection, lineage)
    given = dict(files or {})
    name = registry.parsed(text, file, tuple(sorted(given.items()))).name
    if name.lower() != present.name.lower():
        raise Refused(f"the definition is called {name!r}, the pipeline {present.name!r}")
    if registry.digest_of(text, file, given) == present.digest:
        return present
    return registry.register(
        connection,
        text,
        file,
        files=given,
        host_volumes=host_volumes,
        lineage=lineage,
        metadata=present.metadata,
        again=True,
    )


def remove(connection: Connection, lineage: str) -> None:
    """Take every version of ``lineage`` out of use; jobs that run one go on."""
    newest(connection, lineage)
    connection.execute(
        sa.update(pipelines)
        .where(pipelines.c.lineage == lineage, pipelines.c.removed_at.is_(None))
        .values(removed_at=time.time())
    )


def listing(connection: Connection) -> list[Pipeline]:
    """The newest version of every lineage in use, by name, newest first."""
    found: dict[str, Pipeline] = {}
    for pipeline in registry.listing(connection, every_version=True):
        if pipeline.removed_at is None:
            found.setdefault(pipeline.lineage, pipeline)
    return list(found.values())
