"""Delivering into a folder: each file whole or not at all, flushed to disk before it counts.

DICOM files go to ``<study>/<series>/<sop>.dcm``, others to ``<job id>/<path below operators/>``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pydicom
from pydicom.errors import InvalidDicomError

from gateway.config.applications import Destination
from gateway.delivery.agent import Answer, Answered, Item, LinkError, Verdict
from gateway.events import faults
from gateway.payloads.folders import sync_folder
from gateway.results.files import UnsafeFile, opened

_PARTIAL = ".partial"
_BLOCK = 1 << 20


class FolderAgent:
    """Copies results into the folder of a destination."""

    def deliver(
        self,
        destination: Destination,
        items: Sequence[Item],
        answered: Answered,
        stopped: Callable[[], bool],
    ) -> bool:
        """Copy ``items``; see :class:`gateway.delivery.agent.Agent`.

        A file that is there already with the same bytes counts as delivered; one with other bytes
        is never overwritten.
        """
        root = destination.folder
        if root is None:
            raise ValueError(f"{destination.name} is no folder")
        if not root.is_dir():
            # Never made here: an empty mount point would swallow the files unseen.
            raise LinkError(f"the folder {root} is not there: create or mount it")
        reached = False
        for item in items:
            if stopped():
                break
            answer = _deliver(root, item)
            reached = reached or answer.verdict is not Verdict.HOPELESS
            answered(item, answer)
        return reached


def _deliver(root: Path, item: Item) -> Answer:
    try:
        with opened(item.folder, PurePosixPath(item.path)) as source:
            if os.fstat(source.fileno()).st_size != item.size:
                return Answer(Verdict.HOPELESS, comment="the file changed after registration")
            target = root / _name(item, source)
            source.seek(0)
            return _place(source, root, target, item)
    except UnsafeFile:
        return Answer(Verdict.HOPELESS, comment="the file is gone or unsafe")
    except OSError as error:
        raise LinkError(
            f"{root} cannot be written: {error.strerror or type(error).__name__}"
        ) from (error)


def _name(item: Item, source: BinaryIO) -> PurePosixPath:
    """The file's place below the folder; UIDs hold digits and dots only, so they are safe."""
    if item.sop_instance_uid is None:
        path = PurePosixPath(item.path)
        inner = path.relative_to("operators") if path.parts[0] == "operators" else path
        return PurePosixPath(item.job_id) / inner
    return PurePosixPath(*_study_and_series(source), f"{item.sop_instance_uid}.dcm")


def _study_and_series(source: BinaryIO) -> tuple[str, str]:
    try:
        dataset = pydicom.dcmread(
            source,
            stop_before_pixels=True,
            specific_tags=["StudyInstanceUID", "SeriesInstanceUID"],
        )
    except InvalidDicomError:
        return "unknown", "unknown"
    return _safe(dataset.get("StudyInstanceUID")), _safe(dataset.get("SeriesInstanceUID"))


def _safe(uid: object) -> str:
    kept = "".join(c for c in str(uid or "") if c in "0123456789.")[:64].strip(".")
    return kept or "unknown"


def _place(source: BinaryIO, root: Path, target: Path, item: Item) -> Answer:
    """Copy ``source`` to ``target`` by way of a temporary name in the same folder."""
    if target.exists():
        if not _same(source, target):
            return Answer(Verdict.PERMANENT, comment="other data lies there under the same name")
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{item.file_id}{_PARTIAL}")
        with partial.open("wb") as copy:
            shutil.copyfileobj(source, copy, _BLOCK)
            copy.flush()
            os.fsync(copy.fileno())
        partial.replace(target)
    # Also when it was there: whoever put it there may have died before flushing the names.
    for folder in (target.parent, *target.parent.parents):
        sync_folder(folder)
        if folder == root:
            break
    faults.point("delivery.folder-written")
    return Answer(Verdict.SENT)


def _same(source: BinaryIO, target: Path) -> bool:
    with target.open("rb") as other:
        while True:
            block = source.read(_BLOCK)
            if block != other.read(_BLOCK):
                return False
            if not block:
                return True
