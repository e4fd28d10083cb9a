"""mercure's processing modules, run unchanged.

A module reads one flat folder, files ``<series>#<sop>.dcm`` beside ``task.json`` with its settings,
and writes DICOM files and, if it likes, ``result.json`` to another.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from gateway.executors.access import open_to_group
from gateway.executors.container.layouts.base import Staged, inputs, outputs
from gateway.executors.container.layouts.package import paths
from gateway.executors.sandbox import Bind
from gateway.jobs.executor import JobRun
from gateway.pipelines import layout
from gateway.pipelines.model import Operator

SETTINGS = "MERCURE_SETTINGS"
"""Variable of a definition: a JSON object laid over the module's settings."""
TASK, RESULT = "task.json", "result.json"

_TAGS = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SeriesDescription", "PatientName",
    "PatientID", "AccessionNumber",
)  # fmt: skip
_UID = frozenset("0123456789.")
_MOST_RESULT = 64 << 10
"""Longest text of ``result.json`` that is looked at."""


@dataclass(frozen=True)
class ModuleLayout:
    """The folders of one module: all inputs as one flat folder, and its first output."""

    image: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def stage(self, job: JobRun, operator: Operator) -> Staged:
        """Link the inputs under mercure's names and write ``task.json``."""
        folder = _staging(job, operator)
        _clear(folder)
        folder.mkdir(parents=True)
        images = [_link(source, folder) for source in _files(job, operator)]
        found = [ds for ds in images if ds is not None]
        (folder / TASK).write_text(json.dumps(self._task(job, operator, found), indent=1))
        open_to_group(folder)
        reads, writes = inputs(job, operator), outputs(job, operator)
        place = reads[0].path if reads else "/tmp/data"  # noqa: S108 - mercure's own
        return Staged(
            binds=(Bind(folder, place), *writes),
            environ={
                "MERCURE_IN_DIR": place,
                "MERCURE_OUT_DIR": writes[0].path,
                **paths(place, writes[0].path),
            },
            notes=() if found else ("there is no DICOM file among its inputs",),
            after=lambda: _finish(folder, writes[0].source),
        )

    def _task(
        self, job: JobRun, operator: Operator, images: list[pydicom.Dataset]
    ) -> dict[str, Any]:
        settings = {**self.settings, **_object(operator.variables.get(SETTINGS, "{}"))}
        first = images[0] if images else pydicom.Dataset()
        series = {str(ds.SeriesInstanceUID): str(ds.get("SeriesDescription", "")) for ds in images}
        whole = len(series) != 1
        uid = first.get("StudyInstanceUID", "") if whole else next(iter(series))
        info = {
            "action": "process", "uid": str(uid), "uid_type": "study" if whole else "series",
            "triggered_rules": "", "applied_rule": "", "sender_address": "",
            "patient_name": str(first.get("PatientName", "")),
            "mrn": str(first.get("PatientID", "")), "acc": str(first.get("AccessionNumber", "")),
            "mercure_version": "", "mercure_appliance": "gateway", "mercure_server": "gateway",
        }  # fmt: skip
        study = {
            "study_uid": str(first.get("StudyInstanceUID", "")),
            "complete_trigger": None, "complete_required_series": "",
            "creation_time": "", "last_receive_time": "",
            "received_series": list(series.values()), "received_series_uid": list(series),
        }  # fmt: skip
        process = {
            "module_name": operator.name, "settings": settings,
            "module_config": {"docker_tag": self.image, "settings": dict(self.settings)},
            "retain_input_images": False, "output": None,
        }  # fmt: skip
        return {
            "id": job.job_id,
            "info": info,
            "dispatch": {},
            "process": process,
            "study": study if whole else {},
        }


_WISHES = {
    "__mercure_routing": "the routing it asks for is not done; the rules' destinations stand",
    "__mercure_notification": "the notification it asks for is not sent",
}


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _finish(folder: Path, written: Path) -> tuple[str, ...]:
    """Remove the links, and take ``result.json`` out of the output and into the log.

    It is no image, and whatever lies in an output may be sent to a PACS.  It stays where it is the
    module's only output.
    """
    _clear(folder)
    text = _result(written)
    if text is None:
        return ()
    if any(entry.name not in (RESULT, TASK) for entry in written.iterdir()):
        (written / RESULT).unlink()
    wishes = sorted(_WISHES.keys() & _object(text).keys())
    return (
        f"{RESULT}: {' '.join(text.split())}",
        *(f"{RESULT}: {_WISHES[wish]}" for wish in wishes),
    )


def _staging(job: JobRun, operator: Operator) -> Path:
    """A folder on the same file system; no operator's name begins with a dot."""
    return layout.operators_dir(job.folder) / f".mercure-{operator.name}"


def _files(job: JobRun, operator: Operator) -> Iterator[Path]:
    """Every plain file of the inputs; a hostile operator upstream may have left links."""
    for bind in inputs(job, operator):
        for base, _, names in os.walk(bind.source):
            for name in sorted(names):
                path = Path(base, name)
                if path.is_file() and not path.is_symlink():
                    yield path


def _link(source: Path, folder: Path) -> pydicom.Dataset | None:
    """Put ``source`` under mercure's name into ``folder``; None when it is no DICOM image."""
    try:
        ds = pydicom.dcmread(source, stop_before_pixels=True, specific_tags=list(_TAGS))
    except (InvalidDicomError, OSError, ValueError, EOFError, AttributeError):
        return None
    series, sop = str(ds.get("SeriesInstanceUID", "")), str(ds.get("SOPInstanceUID", ""))
    if not series or not sop or not _UID.issuperset(series + sop):
        return None
    target = folder / f"{series}#{sop}.dcm"
    if not target.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    return ds


def _result(folder: Path) -> str | None:
    """The text of a plain file of that name, cut at a limit."""
    path = folder / RESULT
    if path.is_symlink() or not path.is_file():
        return None
    with path.open(errors="replace") as file:
        return file.read(_MOST_RESULT)


def _object(text: str) -> dict[str, Any]:
    """A JSON object, or an empty one."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
