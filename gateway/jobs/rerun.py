"""Another attempt of a job that has stopped: all of it, or from one operator on.

Works in the caller's write transaction; the caller wakes :data:`~gateway.events.wake.Topic.JOBS`
after it.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import operators
from gateway.database.schema import results as result_records
from gateway.errors import Refused
from gateway.events.record import Kind, record
from gateway.jobs.creation import definition_of
from gateway.jobs.states import JobEvent, OperatorStatus, next_job
from gateway.jobs.transitions import Facts, Job, load, move_job, place_of
from gateway.pipelines.model import Definition
from gateway.results import registry as results


def rerun(connection: Connection, job_id: str, operator: str | None = None) -> Job:
    """Queue another attempt of a job that has stopped, whatever its end.

    With ``operator`` only that one and all that read from it run again, on what the others left;
    an operator that hands data on in memory runs again with those that read it.  What earlier
    attempts registered and nobody may deliver is discarded.  Raises :class:`Refused` when the job
    has not stopped, for an operator it does not have or whose inputs are not there, and while
    results of it are on their way: the attempt would write over their files.
    """
    present = load(connection, job_id)
    next_job(place_of(present), JobEvent.RERUN)
    gone = present.payload_deleted_at is not None
    if gone and (present.received_payload_id is None or operator is not None):
        raise Refused(f"the files job {job_id} would work on were deleted")
    if results.open_results(connection, job_id):
        raise Refused(f"results of job {job_id} are still being delivered; rerun it after that")
    name = None if operator is None else _checked(connection, present, operator)
    record(
        connection,
        Kind.JOB_RERUN,
        correlation_id=present.correlation_id,
        payload_id=present.received_payload_id,
        job_id=job_id,
        data={"operator": name},
    )
    job = move_job(connection, job_id, JobEvent.RERUN, Facts(rerun_from=name))
    results.discard(connection, job_id, job.attempt + 1)
    return job


def kept(definition: Definition, operator: str | None) -> frozenset[str]:
    """The operators that do not run when an attempt begins at ``operator``; None = all run."""
    if operator is None:
        return frozenset()
    running = {definition.operator(operator).name}
    while True:
        more = {
            each.name
            for each in definition.operators
            if running & {definition.operator(source).name for source in each.upstream}
        }
        # What was handed on in memory is gone with the attempt.
        more |= {
            definition.operator(item.source).name
            for each in definition.operators
            if each.name in running
            for item in each.data_inputs
        }
        if more <= running:
            return frozenset(each.name for each in definition.operators if each.name not in running)
        running |= more


def unreleased(connection: Connection, job: Job, names: frozenset[str]) -> frozenset[str]:
    """Those of the kept operators whose registrations no earlier attempt has released."""
    if not names:
        return names
    released: int | None = connection.execute(
        sa.select(sa.func.max(result_records.c.attempt)).where(
            result_records.c.job_id == job.id, result_records.c.deliverable
        )
    ).scalar()
    newest = _newest(connection, job)
    return frozenset(name for name in names if released is None or released < newest[name][0])


def _checked(connection: Connection, job: Job, operator: str) -> str:
    definition = definition_of(connection, job)
    try:
        name = definition.operator(operator).name
    except KeyError:
        known = ", ".join(each.name for each in definition.operators)
        raise Refused(f"job {job.id} has no operator {operator!r}; it has: {known}") from None
    newest = _newest(connection, job)
    for each in sorted(kept(definition, name)):
        if newest.get(each, (0, ""))[1] != OperatorStatus.COMPLETED.value:
            raise Refused(f"operator {each} has not completed, and {name} needs what it makes")
    return name


def _newest(connection: Connection, job: Job) -> dict[str, tuple[int, str]]:
    """Attempt and status of the last run of each operator."""
    rows = connection.execute(
        sa.select(operators.c.name, operators.c.attempt, operators.c.status)
        .where(operators.c.job_id == job.id)
        .order_by(operators.c.attempt)
    )
    return {row.name: (row.attempt, row.status) for row in rows}
