"""The schema the gateway began with.

While the first release is not out, this migration is the schema itself; later ones are explicit.
"""

from __future__ import annotations

from alembic import op

from gateway.database.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    metadata.create_all(op.get_bind())
