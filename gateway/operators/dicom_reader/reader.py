"""The whole run: find the files, tell series and patients apart, convert, report.

Mixed patients refuse everything: nothing of such an input may reach a model or a PACS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from gateway.operators.dicom_reader import tags
from gateway.operators.dicom_reader.codes import RunRefusal, refused
from gateway.operators.dicom_reader.convert import Entry, Wishes, convert_series
from gateway.operators.dicom_reader.header import Header, read_header
from gateway.operators.dicom_reader.uids import is_uid
from gateway.operators.sdk import InputRefusedError, Log, UsageError, refuse_mixed_patients

REPORT = "series.json"
_VERSION = 1


def read_folder(source: Path, target: Path, wishes: Wishes, log: Log) -> list[Entry]:
    """Convert every series under `source` into `target` and return their entries.

    `series.json` is written in any case but a missing input.

    Raises:
        InputRefusedError: NO_INSTANCES, MIXED_PATIENTS, NO_VOLUME.
        UsageError: `source` is no folder.
        OSError: a file cannot be read or written.
    """
    if not source.is_dir():
        raise UsageError("INPUT_MISSING", "the input is not a folder")
    target.mkdir(parents=True, exist_ok=True)
    report: Entry = {
        "version": _VERSION,
        "code": None,
        "message": None,
        "patient_digest": None,
        "skipped": [],
        "series": [],
    }
    try:
        return _convert_all(source, target, wishes, log, report)
    except InputRefusedError as error:
        report.update(code=error.code, message=error.message)
        raise
    finally:
        _write_report(target, report)


def _convert_all(
    source: Path, target: Path, wishes: Wishes, log: Log, report: Entry
) -> list[Entry]:
    headers, skipped = _scan(source)
    report["skipped"] = skipped
    for code in sorted({str(item["code"]) for item in skipped}):
        count = sum(item["code"] == code for item in skipped)
        log.warning("files.skipped", code=code, files=count)
    if not headers:
        raise refused(RunRefusal.NO_INSTANCES, "no DICOM instance in the input")
    patient = refuse_mixed_patients(header.patient() for header in headers)
    report["patient_digest"] = patient.digest()
    entries: list[Entry] = []
    report["series"] = entries
    for instances in _by_series(headers):
        entry = convert_series(instances, source, target, wishes)
        entries.append(entry)
        _say(entry, log)
    if not any(entry["status"] == "volume" for entry in entries):
        codes = ", ".join(sorted({str(entry["code"]) for entry in entries}))
        raise refused(RunRefusal.NO_VOLUME, f"no series is a volume ({codes})")
    return entries


def _scan(source: Path) -> tuple[list[Header], list[Entry]]:
    headers: list[Header] = []
    skipped: list[Entry] = []
    for path in _files(source):
        try:
            headers.append(read_header(path))
        except InputRefusedError as error:
            file = path.relative_to(source).as_posix()
            skipped.append({"file": file, "code": error.code, "message": error.message})
    return headers, skipped


def _files(folder: Path) -> Iterator[Path]:
    """Yield regular files in the order of their names; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file():
                yield path


def _by_series(headers: list[Header]) -> list[list[Header]]:
    found: dict[str, list[Header]] = {}
    for header in headers:
        found.setdefault(header.text(tags.SERIES_INSTANCE_UID), []).append(header)
    return list(found.values())


def _say(entry: Entry, log: Log) -> None:
    uid, count = str(entry["series_instance_uid"]), entry["instances"]
    uid = uid if is_uid(uid) else "something that is no UID"
    if entry["status"] == "volume":
        log.info("series.volume", series=uid, instances=count, shape=entry["shape"])
    else:
        log.warning(
            "series.refused",
            series=uid,
            instances=count,
            code=entry["code"],
            message=entry["message"],
        )


def _write_report(target: Path, report: Entry) -> None:
    part = target / f".{REPORT}.part"
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    part.replace(target / REPORT)
