"""One job with its operators and graph, as Jobs.Status tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import operators
from gateway.jobs.states import OperatorStatus, State, Status
from gateway.jobs.transitions import Job
from gateway.pipelines import registry
from gateway.pipelines.model import Definition
from gateway.platform import convert
from gateway.platform.errors import not_found
from gateway.platform.wire import jobs_pb2 as pb


def message(connection: Connection, job: Job) -> pb.JobsStatusResponse:
    """The whole answer for ``job``."""
    pipeline = registry.get(connection, job.pipeline_id)
    rows = {row.name: row for row in _attempt(connection, job)}
    return pb.JobsStatusResponse(
        header=convert.ok(),
        job_id=convert.identifier(job.id),
        pipeline_id=convert.identifier(pipeline.lineage),
        payload_id=convert.identifier(job.payload_id),
        state=convert.STATES[State(job.state)],
        status=convert.STATUSES[Status(job.status)],
        name=job.name,
        messages=list(_messages(job, rows)),
        priority=convert.PRIORITIES[job.priority],
        timestamp_created=convert.old_time(job.created_at),
        timestamp_started=convert.old_time(job.started_at),
        timestamp_stopped=convert.old_time(job.stopped_at),
        created=convert.timestamp(job.created_at),
        started=convert.timestamp(job.started_at),
        stopped=convert.timestamp(job.stopped_at),
        operator_details=[
            _operator(job, operator.name, rows.get(operator.name))
            for operator in pipeline.definition.operators
        ],
        metadata=job.metadata,
        dag=_dag(pipeline.definition),
    )


def operator_name(connection: Connection, job: Job, given: str) -> str:
    """The operator of the job's pipeline that ``given`` names, as it is spelt there."""
    definition = registry.get(connection, job.pipeline_id).definition
    try:
        return definition.operator(given).name
    except KeyError:
        names = ", ".join(operator.name for operator in definition.operators)
        raise not_found(f"job {job.id} has no operator {given[:64]!r}; it has {names}") from None


def _attempt(connection: Connection, job: Job) -> list[Row[Any]]:
    """The operators' rows of the job's last attempt."""
    query = sa.select(operators).where(
        operators.c.job_id == job.id, operators.c.attempt == job.attempt
    )
    return list(connection.execute(query))


def _messages(job: Job, rows: dict[str, Row[Any]]) -> Iterator[str]:
    yield from job.notes
    if job.reason:
        yield job.reason
    for name, row in rows.items():
        if row.reason and row.reason != job.reason:
            yield f"{name}: {row.reason}"


def _operator(
    job: Job, name: str, row: Row[Any] | None
) -> pb.JobsStatusResponse.JobOperatorDetails:
    if row is None:
        return pb.JobsStatusResponse.JobOperatorDetails(
            name=name,
            status=pb.JOB_OPERATOR_STATUS_PENDING,
            created=convert.timestamp(job.created_at),
        )
    return pb.JobsStatusResponse.JobOperatorDetails(
        name=name,
        status=convert.OPERATOR_STATUSES[OperatorStatus(row.status)],
        created=convert.timestamp(row.created_at),
        started=convert.timestamp(row.started_at),
        stopped=convert.timestamp(row.stopped_at),
    )


def _dag(definition: Definition) -> Iterator[pb.JobsStatusResponse.JobDagNode]:
    """A node per operator; its dependencies are named and go no deeper."""
    node = pb.JobsStatusResponse.JobDagNode
    for operator in definition.operators:
        yield node(
            name=operator.name,
            input_dependencies=[node(name=name) for name in operator.upstream],
        )
