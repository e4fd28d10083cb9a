"""Bringing a database to the schema of this release, by Alembic.

A new database is created straight from :mod:`gateway.database.schema` and stamped; an older one
runs the numbered files in ``migrations/versions/``.  A test proves that both ways end alike.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.database.engine import Database, DatabaseError, is_empty
from gateway.database.schema import metadata

_LOCK = 0x67617465776179
"""The advisory lock of our migrations: "gateway" in ASCII."""


def upgrade(database: Database) -> None:
    """Create or migrate ``database``; refuse one from a later release.

    Processes that open it at the same time do so one after the other.
    """
    config = configuration()
    script = ScriptDirectory.from_config(config)
    with database.begin() as connection:
        if not database.is_sqlite:
            # Two that find it empty would both create it; SQLite lets one write at a time anyway.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        context = MigrationContext.configure(connection)
        current = context.get_current_revision()
        if current is None and is_empty(connection):
            metadata.create_all(connection)
            context.stamp(script, "head")
            return
        if current == script.get_current_head():
            return
        if current is not None and current not in {s.revision for s in script.walk_revisions()}:
            raise DatabaseError(
                f"{database.url.render_as_string()}: schema {current} is from a later release; "
                f"this one knows up to {script.get_current_head()}"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def configuration() -> Config:
    """Alembic's configuration, pointing at the files beside this module."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "newline")
    return config
