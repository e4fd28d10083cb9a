"""An operator's log in blocks of lines."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from gateway.database.engine import Database
from gateway.database.schema import operators
from gateway.jobs.logs import Logs
from gateway.jobs.transitions import Job

LINE_LENGTH = 64 * 1024
"""A longer line is answered in pieces, in characters."""
LINE_COST = 8
"""What a line counts besides its characters."""
BLOCK_LENGTH = 256 * 1024
"""About how much one message carries, in characters."""


def blocks(database: Database, logs: Logs, job: Job, operator: str) -> Iterator[list[str]]:
    """Lines of ``operator``'s log in the job's last attempt; one empty block when there are none.

    ``operator`` is spelt as in the definition.
    """
    block: list[str] = []
    size = 0
    begun = False
    for line in _lines(database, logs, job, operator):
        block.append(line)
        size += len(line) + LINE_COST
        if size >= BLOCK_LENGTH:
            yield block
            begun, block, size = True, [], 0
    if block or not begun:
        yield block


def _lines(database: Database, logs: Logs, job: Job, operator: str) -> Iterator[str]:
    rest, offset = "", 0
    while True:
        with database.read() as connection:
            queued = connection.execute(
                sa.select(operators.c.log)
                .where(operators.c.job_id == job.id, operators.c.name == operator)
                .limit(1)
            ).first()
            if queued is None:
                return
            chunk = logs.read(connection, job.id, operator, offset)
        if chunk.next_offset == offset:
            break
        offset = chunk.next_offset
        *whole, rest = (rest + chunk.text).split("\n")
        while len(rest) > LINE_LENGTH:
            whole.append(rest[:LINE_LENGTH])
            rest = rest[LINE_LENGTH:]
        for line in whole:
            yield from _pieces(line)
    if rest:
        yield from _pieces(rest)


def _pieces(line: str) -> Iterator[str]:
    if not line:
        yield ""
    for start in range(0, len(line), LINE_LENGTH):
        yield line[start : start + LINE_LENGTH]
