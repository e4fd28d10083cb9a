"""Service Jobs: jobs made by hand, and a look at every job."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.engine import Connection

from gateway.database.engine import Database
from gateway.database.schema import jobs as table
from gateway.database.schema import new_id
from gateway.database.together import Together
from gateway.events.wake import Topic, Wakeups
from gateway.jobs import creation
from gateway.jobs.creation import JobCreation, Made, NewJob
from gateway.jobs.logs import Logs
from gateway.jobs.states import State, Status
from gateway.jobs.transitions import Job
from gateway.platform import convert, metadata, records, status
from gateway.platform.errors import Code, PlatformError, invalid, limit, not_found
from gateway.platform.listing import Filter, pages
from gateway.platform.logs import blocks
from gateway.platform.pipelines import newest
from gateway.platform.records import Locks
from gateway.platform.tree import Tree
from gateway.platform.wire import jobs_pb2 as pb

NAME_LENGTH = 128
"""Longest name of a job, in characters."""
REASON_LENGTH = 1000
"""Longest reason of a cancellation, in characters."""
MOST_INPUTS = 64
"""Most input payloads of a job."""
MOST_VARIABLES = 1000
VALUE_LENGTH = 32768
"""Longest value of a variable, in characters."""

_PRIORITIES = {number: word for word, number in creation.PRIORITIES.items()}


class JobsService:
    """Creates, starts, cancels and tells of jobs."""

    def __init__(
        self,
        database: Database,
        wakeups: Wakeups,
        tree: Tree,
        locks: Locks,
        jobs: JobCreation,
        logs: Logs,
    ) -> None:
        self._database = database
        self._wakeups = wakeups
        self._tree = tree
        self._locks = locks
        self._jobs = jobs
        self._logs = logs
        self._together = Together(database)

    def create(self, request: pb.JobsCreateRequest) -> pb.JobsCreateResponse:
        """A PENDING job with a payload of its own; it runs after Start."""
        pipeline_id = convert.identified(request.pipeline_id, "pipeline")
        name = _name(request.name)
        priority = _priority(request.priority)
        given = metadata.added({}, request.metadata)
        sources = self._sources(request)

        def made(connection: Connection) -> Made:
            pipeline = newest(connection, pipeline_id)
            new = NewJob(
                correlation_id=new_id(),
                pipeline_name=pipeline.name,
                pipeline_id=pipeline.id,
                priority=priority,
                name=name,
                metadata=given,
            )
            return self._jobs.make(connection, new, pipeline)

        if sources:
            with self._tree.joined(sources) as folder, self._database.begin() as connection:
                job = made(connection)
                self._tree.settle(folder, job.payload_id)
        else:
            # Its folder is made with its first file.
            job = self._together.run(made)
        self._wakeups.notify(Topic.EVENTS)
        return pb.JobsCreateResponse(
            header=convert.ok(),
            job_id=convert.identifier(job.id),
            payload_id=convert.identifier(job.payload_id),
        )

    def start(self, request: pb.JobsStartRequest) -> pb.JobsStartResponse:
        """Let a job run as soon as it fits; its payload is read-only from now on."""
        job_id = convert.identified(request.job_id, "job")
        variables = _variables(request)
        with self._database.read() as connection:
            payload_id = _job(connection, job_id).payload_id
        with self._locks.of(payload_id):
            job = self._together.run(lambda c: self._jobs.start(c, job_id, variables))
        self._wakeups.notify(Topic.JOBS)
        return pb.JobsStartResponse(
            header=convert.ok(),
            state=convert.STATES[State(job.state)],
            status=convert.STATUSES[Status(job.status)],
            priority=convert.PRIORITIES[job.priority],
        )

    def cancel(self, request: pb.JobsCancelRequest) -> pb.JobsCancelResponse:
        """Cancel a job: a PENDING one at once, a RUNNING one soon; a stopped one is refused."""
        job_id = convert.identified(request.job_id, "job")
        if len(request.reason) > REASON_LENGTH:
            raise limit(f"a reason has at most {REASON_LENGTH} characters")
        with self._database.begin() as connection:
            job = creation.cancel(connection, job_id, request.reason)
        self._wakeups.notify(Topic.JOBS, Topic.EVENTS)
        return pb.JobsCancelResponse(
            header=convert.ok(),
            job_id=convert.identifier(job.id),
            job_state=convert.STATES[State(job.state)],
            job_status=convert.STATUSES[Status(job.status)],
        )

    def status(self, request: pb.JobsStatusRequest) -> pb.JobsStatusResponse:
        """Everything about one job."""
        job_id = convert.identified(request.job_id, "job")
        with self._database.read() as connection:
            return status.message(connection, _job(connection, job_id))

    def list(self, request: pb.JobsListRequest) -> Iterator[pb.JobsListResponse]:
        """Jobs that pass the filter, the newest first; every job without a filter."""
        wanted = Filter.of(request.filter)
        for page in pages(self._database, wanted):
            yield from page

    def read_logs(self, request: pb.JobsReadLogsRequest) -> Iterator[pb.JobsReadLogsResponse]:
        """What an operator printed in the job's last attempt, line by line."""
        job_id = convert.identified(request.job_id, "job")
        with self._database.read() as connection:
            job = _job(connection, job_id)
            operator = status.operator_name(connection, job, request.operator_name)
        for lines in blocks(self._database, self._logs, job, operator):
            yield pb.JobsReadLogsResponse(
                header=convert.ok(),
                job_id=convert.identifier(job_id),
                operator_name=operator,
                logs=lines,
            )

    def add_metadata(self, request: pb.JobsAddMetadataRequest) -> pb.JobsAddMetadataResponse:
        """Add to a job's metadata."""
        job_id = convert.identified(request.job_id, "job")
        with self._database.begin() as connection:
            merged = metadata.add(connection, table, job_id, request.metadata, "job")
        return pb.JobsAddMetadataResponse(
            header=convert.ok(), job_id=convert.identifier(job_id), metadata=merged
        )

    def remove_metadata(
        self, request: pb.JobsRemoveMetadataRequest
    ) -> pb.JobsRemoveMetadataResponse:
        """Remove from a job's metadata."""
        job_id = convert.identified(request.job_id, "job")
        with self._database.begin() as connection:
            left = metadata.remove(connection, table, job_id, request.keys, "job")
        return pb.JobsRemoveMetadataResponse(
            header=convert.ok(), job_id=convert.identifier(job_id), metadata=left
        )

    def _sources(self, request: pb.JobsCreateRequest) -> tuple[str, ...]:
        """Ids of the input payloads, each checked, in order."""
        if len(request.input_payloads) > MOST_INPUTS:
            raise limit(f"a job has at most {MOST_INPUTS} input payloads")
        found = tuple(convert.identified(each, "payload") for each in request.input_payloads)
        with self._database.read() as connection:
            for payload_id in found:
                records.find_reusable(connection, payload_id, "the input of a job")
        return found


def _job(connection: Connection, job_id: str) -> Job:
    job = connection.execute(table.select().where(table.c.id == job_id)).one_or_none()
    if job is None:
        raise not_found(f"there is no job {job_id}")
    return job


def _name(given: str) -> str | None:
    """A caller's name for a job; None when it gave none."""
    name = given.strip()
    if not name:
        return None
    if len(name) > NAME_LENGTH:
        raise limit(f"a job's name has at most {NAME_LENGTH} characters")
    if not name.isprintable():
        raise invalid("a job's name holds control characters")
    return name


def _priority(given: int) -> str:
    """Its word; a request without priority means NORMAL."""
    if given == pb.JOB_PRIORITY_UNKNOWN:
        return "normal"
    if given not in _PRIORITIES:
        raise invalid(f"{given} is no priority; allowed are 1 (lower) to 4 (immediate)")
    return _PRIORITIES[given]


def _variables(request: pb.JobsStartRequest) -> dict[str, str]:
    if len(request.Variables) > MOST_VARIABLES:
        raise limit(f"a job takes at most {MOST_VARIABLES} variables")
    found: dict[str, str] = {}
    for variable in request.Variables:
        if variable.name in found:
            raise PlatformError(Code.EXISTS, f"the variable {variable.name[:64]!r} comes twice")
        if len(variable.value) > VALUE_LENGTH or "\0" in variable.value:
            raise invalid(
                f"the value of {variable.name[:64]!r} is longer than {VALUE_LENGTH} characters "
                "or holds NUL"
            )
        found[variable.name] = variable.value
    return found
