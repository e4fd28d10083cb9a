"""One line of JSON per event on standard error, without patient data.

The gateway keeps these lines per operator (contract, section 9): DICOM UIDs are allowed in them;
patient ID, name, birth date, accession number and descriptions are not.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TextIO


class Log:
    """Writes the events of one operator run to a stream, one JSON object per line.

    `bound` fields (job id, stage) stand in every line. Safe to use from several threads: each line
    is one write.
    """

    def __init__(self, operator: str, stream: TextIO, **bound: str) -> None:
        self._operator = operator
        self._stream = stream
        self._bound = {name: value for name, value in bound.items() if value}

    def info(self, event: str, **fields: object) -> None:
        """Say that something happened as it should."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Say that something is odd and work goes on."""
        self._write("warning", event, fields)

    def failure(self, event: str, **fields: object) -> None:
        """Say that something failed."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "operator": self._operator,
            "event": event,
            **self._bound,
            **fields,
        }
        self._stream.write(json.dumps(line, ensure_ascii=True, default=str) + "\n")
        self._stream.flush()


def shown_path(path: PurePath, root: Path) -> str:
    """Say where a file lies without naming the patient.

    The raw payload is `dcm/<patient>/<study>/<series>/<sop>.dcm`, so the patient's folder becomes
    `*`; of any other place only the folder's name and a `*` remain, for file names may hold names.
    """
    try:
        parts = list(path.relative_to(root).parts)
    except ValueError:
        return "*"
    folders = [root.name, *parts]
    if "dcm" in folders[:-2]:
        folders[folders.index("dcm") + 1] = "*"
        return "/".join(folders)
    return f"{root.name}/*"
