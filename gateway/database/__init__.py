"""Records: one schema on SQLite (default) and PostgreSQL, and the transactions over it."""

from __future__ import annotations
