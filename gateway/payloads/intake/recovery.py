"""What a dead gateway left in the logs, brought into files and index before anything starts."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import sqlalchemy as sa

from gateway.database.engine import Database
from gateway.database.schema import instances, quarantine
from gateway.errors import Refused
from gateway.payloads.folders import Folders, sync_folder
from gateway.payloads.intake.applier import Applier
from gateway.payloads.intake.lock import lock_writer

log = logging.getLogger(__name__)

CLEAN = "clean"
"""File that says up to which record every file is known to be durable."""
_OLD_WRITER_SECONDS = 20.0


def bring_in(database: Database, folders: Folders, applier: Applier, receivers: int) -> None:
    """Attach every log, apply what was not, make files again that a power cut took.

    Refused when a receiver of another gateway still writes.
    """
    found = {int(p.name) for p in folders.log.iterdir() if p.name.isdigit() and p.is_dir()}
    for receiver in sorted(found | set(range(receivers))):
        folder = applier.attach(receiver)
        _await_writer(folder)
        before = applier.position(receiver)
        applied = applier.drain(receiver) - before
        mended = 0
        if not _was_clean(folder, before):
            mended = applier.mend(receiver, lambda path: _is_stored(database, path))
        (folder / CLEAN).unlink(missing_ok=True)
        sync_folder(folder)
        if applied or mended:
            log.warning(
                "brought in what an unclean end left in the log",
                extra={"receiver": receiver, "records": applied, "files": mended},
            )


def leave_clean(folders: Folders, applier: Applier, receivers: int) -> None:
    """Say that everything applied is durable, after :meth:`Applier.close` said so."""
    for receiver in range(receivers):
        folder = folders.log / str(receiver)
        (folder / CLEAN).write_text(f"{applier.position(receiver)}\n")
        sync_folder(folder)


def _await_writer(folder: Path) -> None:
    """Wait for a writer that outlives its gateway by a moment."""
    deadline = time.monotonic() + _OLD_WRITER_SECONDS
    while True:
        try:
            os.close(lock_writer(folder))
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Refused(f"another process still writes the log in {folder}") from None
            time.sleep(0.02)
        else:
            return


def _was_clean(folder: Path, position: int) -> bool:
    try:
        return int((folder / CLEAN).read_text()) == position
    except (FileNotFoundError, ValueError):
        return False


def _is_stored(database: Database, path: str) -> bool:
    """Whether the index still has the file at ``path``."""
    kept = sa.select(sa.literal(1)).where(instances.c.path == path, instances.c.state != "DELETED")
    aside = sa.select(sa.literal(1)).where(
        quarantine.c.path == path, quarantine.c.resolution.is_(None)
    )
    with database.read() as connection:
        return (
            connection.execute(kept).first() is not None
            or connection.execute(aside).first() is not None
        )
