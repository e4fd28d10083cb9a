"""What a dead process left in ``data-dir``, put in order before anything starts."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa

from gateway.database.engine import Database
from gateway.database.schema import instances, quarantine
from gateway.payloads.folders import Folders, sync_folder

log = logging.getLogger(__name__)


def recover(database: Database, folders: Folders) -> tuple[int, int]:
    """Remove half-received instances and set aside files no record knows.

    Returns how many of each.  A half-received instance was never acknowledged, its sender has it
    still.  An unknown file is kept in ``orphans/``: if the database was lost rather than the
    answer, a person still has every byte.  A file whose instance was deleted or dropped is
    removed: its unlink did not happen before the kill.
    """
    partial = 0
    for path in folders.incoming.glob("*.part"):
        path.unlink()
        partial += 1
    orphans = 0
    states = _states(database)
    for path in [*folders.spool.glob("*/*/*.dcm"), *folders.quarantine.glob("*.dcm")]:
        state = states.get(str(path.relative_to(folders.root)))
        if state == "DELETED":
            path.unlink()
        elif state is None:
            path.rename(folders.orphans / path.name)
            orphans += 1
    sync_folder(folders.orphans)
    if partial or orphans:
        log.warning(
            "put in order after an unclean end", extra={"partial": partial, "orphans": orphans}
        )
    return partial, orphans


def _states(database: Database) -> dict[str, str]:
    """Relative path → state of every file a record knows."""
    with database.read() as connection:
        states = {
            row.path: row.state
            for row in connection.execute(sa.select(instances.c.path, instances.c.state))
        }
        for row in connection.execute(sa.select(quarantine.c.path, quarantine.c.resolution)):
            states[row.path] = "DELETED" if row.resolution else "STORED"
    return states


def remove_file(root: Path, relative: str) -> None:
    """Unlink one file of a deleted record; gone already is fine."""
    (root / relative).unlink(missing_ok=True)
