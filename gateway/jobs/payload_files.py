"""The input folder of a job: read-only hard links to the instances it was made for.

::

    <data-dir>/payloads/<payload id>/input/dcm/<patient>/<study>/<series>/<sop>.dcm

The folder is built beside its place and renamed into it, so it is either whole or not there.  It
is built again for each attempt: a file system that a power cut left with half of it is no worry.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import instances, payload_instances
from gateway.errors import Permanent, Transient
from gateway.jobs.names import safe_name
from gateway.jobs.transitions import Job
from gateway.payloads.folders import sync_folder

PARTIAL = "input.partial"
# Another device, too many links to one file, or a file system without links.
_COPY_INSTEAD = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP})


class InputMissing(Permanent):
    """What the job was to work on is not there."""


@dataclass(frozen=True)
class InputFile:
    """One instance: where it lies and where the job sees it, relative to data-dir and ``dcm``."""

    source: str
    place: Path


class PayloadFiles:
    """The folders of job payloads below one data-dir; every method from any thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._root = data_dir / "payloads"

    def folder(self, payload_id: str) -> Path:
        """Where the job payload lies, whether it exists or not."""
        if not re.fullmatch(r"[0-9a-f]{32}", payload_id):
            raise ValueError(f"{payload_id!r} is no payload id: 32 hex digits")
        return self._root / payload_id

    def materialise(self, connection: Connection, job: Job) -> Path:
        """Make ``input/`` of the job's payload and return the payload's folder.

        A second call gives the same.  A job without a received payload keeps what was uploaded,
        or gets an empty ``input/``.  Raises :class:`InputMissing` when an instance is gone or none
        is selected, :class:`Transient` when the disk fails.
        """
        folder = self.folder(job.payload_id)
        by_hand = job.received_payload_id is None
        if by_hand and (folder / "input").is_dir():
            return folder
        files = [] if by_hand else selected_files(connection, job)
        try:
            self._build(folder, files)
        except OSError as error:
            raise Transient(f"the input of job {job.id} cannot be laid out: {error}") from error
        return folder

    def remove(self, payload_id: str) -> None:
        """Delete the job payload with everything in it; nothing when it is not there."""
        folder = self.folder(payload_id)
        # Gone from its place at once: a half-deleted payload must never look like a whole one.
        grave = self._root / f".deleted-{payload_id}"
        if folder.exists() and not grave.exists():
            folder.rename(grave)
            sync_folder(self._root)
        for remains in (grave, folder):
            if remains.exists():
                shutil.rmtree(remains)

    def _build(self, folder: Path, files: Iterable[InputFile]) -> None:
        partial, whole = folder / PARTIAL, folder / "input"
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        made = {partial}
        for file in files:
            target = partial / "dcm" / file.place
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            _link(self._data_dir / file.source, target)
        if whole.exists():
            shutil.rmtree(whole)
        partial.rename(whole)
        # The folders within are flushed by whoever needs them for good: one flush each would
        # cost more than all the rest of a job's start.
        for each in (folder, self._root):
            sync_folder(each)


def selected_files(connection: Connection, job: Job) -> list[InputFile]:
    """The instances of the job's revision that lie in its selected series.

    Raises :class:`InputMissing` when there is none.
    """
    rows = connection.execute(
        sa.select(
            instances.c.id,
            instances.c.path,
            instances.c.patient_id,
            instances.c.study_instance_uid,
            instances.c.series_instance_uid,
            instances.c.sop_instance_uid,
        )
        .join(payload_instances, payload_instances.c.instance_id == instances.c.id)
        .where(
            payload_instances.c.payload_id == job.received_payload_id,
            payload_instances.c.revision <= job.revision,
            sa.or_(
                payload_instances.c.removed.is_(None),
                payload_instances.c.removed > job.revision,
            ),
        )
        .order_by(instances.c.id)
    )
    selected = set(job.selected)
    files: dict[Path, InputFile] = {}
    for row in rows:
        if row.series_instance_uid not in selected:
            continue
        series = Path(
            safe_name(row.patient_id),
            safe_name(row.study_instance_uid),
            safe_name(row.series_instance_uid),
        )
        name = safe_name(row.sop_instance_uid)
        place = series / f"{name}.dcm"
        if place in files:
            place = series / f"{name}-{row.id}.dcm"
        files[place] = InputFile(row.path, place)
    if not files:
        raise InputMissing(f"no instance of the series selected for job {job.id} is there")
    return list(files.values())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError as error:
        raise InputMissing("an instance of the job's input is no longer in the spool") from error
    except OSError as error:
        if error.errno not in _COPY_INSTEAD:
            raise
        _copy(source, target)
    mode = stat.S_IMODE(target.stat().st_mode)
    if mode & 0o222:
        target.chmod(mode & ~0o222)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
