"""Where the output of operators is kept, and reading it while it grows.

``<data-dir>/logs/<job>/<attempt>/<operator>.log``, written by the engine.  Operators are foreign
programs: what they print may name patients, so it stays in these files and in the record's tail.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import operators
from gateway.errors import Refused
from gateway.jobs.names import clean_text, safe_name

TAIL_LINES = 20
TAIL_BYTES = 4096
MOST_READ = 1024 * 1024
"""Most bytes one :meth:`Logs.read` returns."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a log: its text, and the offset in bytes at which the next piece begins."""

    text: str
    next_offset: int


class Logs:
    """The logs below one data-dir; every method may be called from any thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def path(self, relative: str) -> Path:
        """The file of a path in the records; ``ValueError`` for one that leads out of it."""
        path = self._data_dir / relative
        if ".." in path.parts or not path.is_relative_to(self._data_dir):
            raise ValueError(f"{relative!r} leads out of the data folder")
        return path

    def tail(self, relative: str) -> str:
        """The last lines of a log, at most 20 lines and 4 kB; empty when there is none."""
        try:
            with self.path(relative).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL_BYTES))
                text = file.read(TAIL_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(clean_text(text).strip("\n").split("\n")[-TAIL_LINES:])

    def read(
        self,
        connection: Connection,
        job_id: str,
        operator: str,
        offset: int = 0,
        attempt: int | None = None,
    ) -> Chunk:
        """What the operator printed from ``offset`` on; ask again at ``next_offset`` to follow.

        ``attempt`` None = the last.  Empty while nothing was printed.  Raises :class:`Refused`
        when the job has no such operator.
        """
        query = (
            sa.select(operators.c.log)
            .where(
                operators.c.job_id == job_id,
                sa.func.lower(operators.c.name) == operator.lower(),
            )
            .order_by(operators.c.attempt.desc())
            .limit(1)
        )
        if attempt is not None:
            query = query.where(operators.c.attempt == attempt)
        relative = connection.execute(query).scalar()
        if relative is None:
            raise Refused(f"job {job_id} has no operator {operator!r} that was ever queued to run")
        return self._read(relative, max(0, offset))

    def _read(self, relative: str, offset: int) -> Chunk:
        try:
            with self.path(relative).open("rb") as file:
                file.seek(offset)
                data = file.read(MOST_READ)
        except FileNotFoundError:
            return Chunk("", offset)
        # A character that is not all there yet belongs to the next piece.
        whole = _whole_characters(data)
        return Chunk(data[:whole].decode("utf-8", "replace"), offset + whole)


def relative_log(job_id: str, attempt: int, operator: str) -> str:
    """The log file of an operator, relative to data-dir."""
    return f"logs/{safe_name(job_id)}/{attempt}/{safe_name(operator)}.log"


def _whole_characters(data: bytes) -> int:
    """How many bytes of ``data`` end with a whole UTF-8 character."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return len(data) - back if length > back else len(data)
    return len(data)
