"""Jobs by a filter, in pages, so that a slow reader holds no transaction open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.engine import Database
from gateway.database.schema import jobs, pipelines
from gateway.jobs.states import State, Status
from gateway.platform import convert
from gateway.platform.errors import invalid, limit
from gateway.platform.wire import jobs_pb2 as pb

PAGE = 256
"""Jobs read from the database at a time."""
MOST_VALUES = 256
"""Most values of one condition."""

_STATES: Mapping[int, State] = {number: state for state, number in convert.STATES.items()}
_STATUSES: Mapping[int, Status] = {number: status for status, number in convert.STATUSES.items()}
_COLUMNS = (
    jobs.c.id,
    jobs.c.payload_id,
    jobs.c.pipeline_id,
    jobs.c.name,
    jobs.c.state,
    jobs.c.status,
    jobs.c.priority,
    jobs.c.created_at,
    jobs.c.started_at,
    jobs.c.stopped_at,
    jobs.c.metadata,
)


@dataclass(frozen=True)
class Filter:
    """Conditions that must all hold; an empty one holds always.  Times are Unix seconds."""

    states: tuple[State, ...] = ()
    statuses: tuple[Status, ...] = ()
    pipelines: tuple[str, ...] = ()
    created_after: float | None = None
    completed_before: float | None = None

    @classmethod
    def of(cls, given: pb.JobsListRequest.JobFilter) -> Filter:
        """A caller's filter; a time of 0 counts as absent."""
        if max(len(given.has_state), len(given.has_status), len(given.pipeline_id)) > MOST_VALUES:
            raise limit(f"a condition of a filter has at most {MOST_VALUES} values")
        unknown: list[int] = [number for number in given.has_state if number not in _STATES]
        unknown += [number for number in given.has_status if number not in _STATUSES]
        if unknown:
            raise invalid(f"{unknown[0]} is no state or status of a job")
        after, before = given.created_after, given.completed_before
        return cls(
            tuple(_STATES[number] for number in given.has_state),
            tuple(_STATUSES[number] for number in given.has_status),
            tuple(convert.identified(each, "pipeline") for each in given.pipeline_id),
            convert.unix(after) if after.value else None,
            convert.unix(before) if before.value else None,
        )

    def where(self, connection: Connection) -> list[sa.ColumnElement[bool]]:
        """The conditions on ``jobs``."""
        found: list[sa.ColumnElement[bool]] = []
        if self.states:
            found.append(jobs.c.state.in_([state.value for state in self.states]))
        if self.statuses:
            found.append(jobs.c.status.in_([status.value for status in self.statuses]))
        if self.pipelines:
            rows = sa.select(pipelines.c.id).where(pipelines.c.lineage.in_(self.pipelines))
            found.append(jobs.c.pipeline_id.in_(list(connection.execute(rows).scalars())))
        if self.created_after is not None:
            found.append(jobs.c.created_at > self.created_after)
        if self.completed_before is not None:
            found.append(jobs.c.stopped_at < self.completed_before)
        return found


def pages(database: Database, wanted: Filter) -> Iterator[list[pb.JobsListResponse]]:
    """The jobs that ``wanted`` lets through, newest first; by their end if it asks for that."""
    last: Row[Any] | None = None
    lineages: dict[str, str] = {}
    while True:
        with database.read() as connection:
            rows = _page(connection, wanted, last)
            _learn(connection, lineages, {row.pipeline_id for row in rows})
        yield [_message(row, lineages[row.pipeline_id]) for row in rows]
        if len(rows) < PAGE:
            return
        last = rows[-1]


def _page(connection: Connection, wanted: Filter, last: Row[Any] | None) -> list[Row[Any]]:
    conditions = wanted.where(connection)
    # The order of an index that the condition can use: else every job would be looked at.
    by = jobs.c.created_at if wanted.completed_before is None else jobs.c.stopped_at
    if last is not None:
        place = sa.tuple_(by, jobs.c.id)
        reached = sa.tuple_(sa.literal(getattr(last, by.name)), sa.literal(last.id))
        conditions.append(place < reached)
    query = sa.select(*_COLUMNS).where(*conditions)
    query = query.order_by(by.desc(), jobs.c.id.desc()).limit(PAGE)
    return list(connection.execute(query))


def _learn(connection: Connection, lineages: dict[str, str], versions: set[str]) -> None:
    """Look up the ids by which callers know the pipelines of ``versions``."""
    missing = versions - set(lineages)
    if missing:
        query = sa.select(pipelines.c.id, pipelines.c.lineage).where(pipelines.c.id.in_(missing))
        lineages.update({row.id: row.lineage for row in connection.execute(query)})


def _message(row: Row[Any], lineage: str) -> pb.JobsListResponse:
    return pb.JobsListResponse(
        header=convert.ok(),
        job_details=pb.JobsListResponse.JobDetails(
            job_id=convert.identifier(row.id),
            payload_id=convert.identifier(row.payload_id),
            pipeline_id=convert.identifier(lineage),
            job_name=row.name,
            state=convert.STATES[State(row.state)],
            status=convert.STATUSES[Status(row.status)],
            priority=convert.PRIORITIES[row.priority],
            timestamp_created=convert.old_time(row.created_at),
            timestamp_started=convert.old_time(row.started_at),
            timestamp_stopped=convert.old_time(row.stopped_at),
            created=convert.timestamp(row.created_at),
            started=convert.timestamp(row.started_at),
            stopped=convert.timestamp(row.stopped_at),
            metadata=row.metadata,
        ),
    )
