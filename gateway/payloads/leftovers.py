"""Folders of deleted payloads: removed, and looked for again after a kill in between."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.database.engine import Database
from gateway.database.schema import jobs, payloads, reusable_payloads
from gateway.payloads.folders import Folders

log = logging.getLogger(__name__)

_AT_ONCE = 500
_GRAVE = ".leftover-"
_RECEIVED_GONE = payloads.c.state == "DELETED"


def remove_folders(folders: Folders, payload_ids: Iterable[str], job_ids: Iterable[str]) -> None:
    """Remove payloads' folders and the logs of jobs; what is not there is fine."""
    for payload_id in payload_ids:
        shutil.rmtree(folders.payloads / payload_id, ignore_errors=True)
    for job_id in job_ids:
        shutil.rmtree(folders.logs / job_id, ignore_errors=True)


def remove_leftovers(database: Database, folders: Folders, before: float) -> int:
    """Remove folders whose record says that they were deleted; returns how many.

    A payload that a person deleted leaves its job's logs: they go when the job stopped by
    ``before``.
    """
    gone = sa.or_(jobs.c.payload_deleted_at.is_not(None), _RECEIVED_GONE)
    old = sa.and_(jobs.c.payload_deleted_at.is_not(None), jobs.c.stopped_at <= before)
    c = reusable_payloads.c
    reusable = sa.select(c.id).where(c.deleted_at.is_not(None))
    found = (
        _bury(database, folders.payloads, jobs.c.payload_id, _of_jobs(jobs.c.payload_id, gone))
        + _bury(database, folders.payloads, c.id, reusable)
        + _bury(database, folders.logs, jobs.c.id, _of_jobs(jobs.c.id, sa.or_(old, _RECEIVED_GONE)))
    )
    for folder in (folders.payloads, folders.logs):
        for grave in folder.glob(f"{_GRAVE}*"):
            shutil.rmtree(grave, ignore_errors=True)
    if found:
        log.info("removed what deleted payloads had left", extra={"folders": found})
    return found


def _of_jobs(column: sa.Column[str], gone: sa.ColumnElement[bool]) -> sa.Select[Any]:
    source = jobs.outerjoin(payloads, payloads.c.id == jobs.c.received_payload_id)
    # A job that is rerun just now waits for us or we for it: its new folders must not be taken.
    return sa.select(column).select_from(source).where(gone).with_for_update(of=jobs)


def _bury(database: Database, folder: Path, column: sa.Column[str], deleted: sa.Select[Any]) -> int:
    """Rename the folders that ``deleted`` selects out of the way; returns how many."""
    count = 0
    for names in _blocks(folder):
        with database.begin() as connection:
            query = deleted.where(column.in_(names))
            for name in connection.execute(query).scalars().all():
                (folder / name).rename(folder / f"{_GRAVE}{name}")
                count += 1
    return count


def _blocks(folder: Path) -> Iterator[list[str]]:
    """Identifiers that are names of folders, some at a time; other names are not ours."""
    found = [path.name for path in folder.iterdir() if re.fullmatch(r"[0-9a-f]{32}", path.name)]
    names = iter(found)
    while block := list(islice(names, _AT_ONCE)):
        yield block
