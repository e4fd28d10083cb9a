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
from typing import Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import instances, payload_instances
from gateway.errors import Permanent, Transient
from gateway.jobs.claim import SupersededError, claimed
from gateway.jobs.names import safe_name
from gateway.jobs.transitions import Job
from gateway.payloads.folders import sync_folder

PARTIAL = "input.partial"
_MOST_OPEN = 64
_GONE = "an instance of the job's input is no longer in the spool"
# Another device, too many links to one file, or a file system without links.
_COPY_INSTEAD = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP})


class InputMissing(Permanent):
    """What the job was to work on is not there."""


@dataclass(frozen=True)
class InputFile:
    """One instance: where it lies, relative to data-dir, and where the job sees it."""

    source: str
    folder: str
    """Relative to ``dcm``."""
    name: str


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
        is selected, :class:`Transient` when the disk fails or a later attempt has begun.
        """
        folder = self.folder(job.payload_id)
        by_hand = job.received_payload_id is None
        if by_hand and (folder / "input").is_dir():
            return folder
        files = [] if by_hand else selected_files(connection, job)
        try:
            with claimed(folder, job.attempt):
                self._build(folder, files)
        except SupersededError:
            raise
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
        with _Links(self._data_dir, partial / "dcm") as links:
            for file in files:
                links.add(file)
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
    files: dict[tuple[str, str], InputFile] = {}
    folders: dict[tuple[str, str, str], str] = {}
    for row in rows:
        if row.series_instance_uid not in selected:
            continue
        levels = (row.patient_id, row.study_instance_uid, row.series_instance_uid)
        folder = folders.get(levels)
        if folder is None:
            folder = folders[levels] = "/".join(safe_name(level) for level in levels)
        name = safe_name(row.sop_instance_uid)
        if (folder, name) in files:
            name = f"{name}-{row.id}"
        files[folder, name] = InputFile(row.path, folder, f"{name}.dcm")
    if not files:
        raise InputMissing(f"no instance of the series selected for job {job.id} is there")
    return list(files.values())


class _Links:
    """Links instances into folders below one root, each folder opened once."""

    def __init__(self, data_dir: Path, root: Path) -> None:
        self._data_dir = f"{data_dir}/"
        self._root = root
        self._folders: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, file: InputFile) -> None:
        """Link one instance, read-only."""
        folder = self._folders.get(file.folder)
        if folder is None:
            folder = self._folders[file.folder] = self._open(self._root / file.folder)
        source = self._data_dir + file.source
        try:
            os.link(source, file.name, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError as error:
            raise InputMissing(
                "an instance of the job's input is no longer in the spool"
            ) from error
        except OSError as error:
            if error.errno not in _COPY_INSTEAD:
                raise
            _copy(Path(source), self._root / file.folder / file.name)
        mode = stat.S_IMODE(os.stat(file.name, dir_fd=folder).st_mode)
        if mode & 0o222:
            os.chmod(file.name, mode & ~0o222, dir_fd=folder)

    def _close(self) -> None:
        for descriptor in self._folders.values():
            os.close(descriptor)
        self._folders.clear()

    def _open(self, path: Path) -> int:
        path.mkdir(parents=True, exist_ok=True)
        if len(self._folders) >= _MOST_OPEN:
            self._close()
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
