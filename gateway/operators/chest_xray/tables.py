"""`findings.json` and `findings.csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gateway.operators.chest_xray.detect import MODEL
from gateway.operators.chest_xray.images import Skipped
from gateway.operators.chest_xray.report import ALGORITHM, VERSION, Reported

COLUMNS: Final = ("sop_instance_uid", "kind", "row", "column", "diameter_mm", "score")


def write_tables(folder: Path, images: Sequence[Reported], skipped: Sequence[Skipped]) -> None:
    """Write both files; each appears whole."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "version": 1,
        "algorithm": {"name": ALGORITHM, "version": VERSION, "model": MODEL},
        "not_for_diagnosis": True,
        "skipped": [asdict(one) for one in skipped],
        "images": [_image(image) for image in images],
    }
    _put(folder / "findings.json", json.dumps(record, indent=2) + "\n")
    _put(folder / "findings.csv", _lines(images))


def _image(image: Reported) -> dict[str, Any]:
    header = image.header
    return {
        "sop_instance_uid": str(header.SOPInstanceUID),
        "series_instance_uid": str(header.SeriesInstanceUID),
        "study_instance_uid": str(header.StudyInstanceUID),
        "rows": int(header.Rows),
        "columns": int(header.Columns),
        "spacing_mm": list(image.spacing),
        "findings": [
            {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(finding).items()}
            for finding in image.findings
        ],
    }


def _lines(images: Sequence[Reported]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for image in images:
        uid = str(image.header.SOPInstanceUID)
        if not image.findings:
            writer.writerow((uid, "none", "", "", "", ""))
        for one in image.findings:
            numbers = (one.row, one.column, one.diameter_mm, one.score)
            writer.writerow((uid, one.kind, *(f"{number:.4f}" for number in numbers)))
    return text.getvalue()


def _put(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    part.replace(path)
