"""Alembic's entry point; :mod:`gateway.database.migrate` hands in the connection."""

from __future__ import annotations

from alembic import context

from gateway.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
