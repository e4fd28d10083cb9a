"""Making jobs, and what people and newer revisions do to them afterwards.

Every function works in the caller's write transaction, so that a routing decision and its jobs
are committed together; the caller wakes :data:`~gateway.events.wake.Topic.JOBS` after it.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.config.document import ConfigError
from gateway.config.settings import JobSettings
from gateway.database.schema import jobs, new_id
from gateway.errors import Refused
from gateway.events.faults import point
from gateway.events.record import Kind, record
from gateway.jobs import labels
from gateway.jobs.ledger import Capacity, Need, NeverFits
from gateway.jobs.services import admitted
from gateway.jobs.states import PENDING, JobEvent, State
from gateway.jobs.transitions import Facts, Job, load, move_job
from gateway.pipelines import registry as pipelines
from gateway.pipelines.model import Definition, Requests
from gateway.pipelines.registry import Pipeline

PRIORITIES: Mapping[str, int] = {"lower": 1, "normal": 2, "higher": 3, "immediate": 4}
"""Words of the AE files and of Clara, and the numbers in the records."""

NAME_LIMIT = 63
"""Longest job name that is made here: a DNS label, as Pods and Workflows want it."""

Variable = str | int | float | bool


@dataclass(frozen=True)
class NewJob:
    """What a job is made from.

    ``received_payload_id``, ``revision`` and ``rule`` say which decision it carries out: there is
    never more than one job for one of them.  All three None = made by hand.
    """

    correlation_id: str
    pipeline_name: str
    """Its newest version is run."""
    pipeline_id: str | None = None
    """Run exactly this version instead."""
    received_payload_id: str | None = None
    revision: int | None = None
    rule: str | None = None
    called_ae: str | None = None
    selected: Sequence[str] = ()
    """Series Instance UIDs of its input."""
    selection_digest: str | None = None
    priority: str = "normal"
    variables: Mapping[str, Variable] = field(default_factory=dict)
    destinations: Sequence[str] = ()
    name: str | None = None
    """None = ``<ae>-<pipeline>-<yyyymmddhhmmss>`` (UTC)."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """A job that was made."""

    id: str
    payload_id: str
    """Of its own payload, unless another process made the job for the same decision."""


class JobCreation:
    """Creates jobs within the limits of the settings and the machine; holds no state."""

    def __init__(
        self,
        *,
        capacity: Capacity,
        limits: JobSettings,
        missing_gpu: str = "refuse",
        triton: Requests | None = None,
    ) -> None:
        """``triton``: what the gateway's own takes; None = the engine keeps no services."""
        self._triton = triton
        self._capacity = capacity
        self._limits = limits
        self._missing_gpu = missing_gpu

    def create(self, connection: Connection, new: NewJob, *, queue: bool = True) -> str:
        """Make a PENDING job and return its id; the same decision again gives the same id.

        ``queue=False`` leaves it waiting for :meth:`queue`.  A time-out above
        ``maximum-timeout-seconds`` is capped to it.  Raises :class:`Refused`, with nothing
        written, for a pipeline, priority or variable that is not known and for a job that the
        machine can never hold.
        """
        existing = self._existing(connection, new)
        if existing is not None:
            return existing
        return self.make(connection, new, _pipeline(connection, new), queue=queue).id

    def make(
        self, connection: Connection, new: NewJob, pipeline: Pipeline, *, queue: bool = False
    ) -> Made:
        """Make a PENDING job of this version; as :meth:`create`, without looking for it first."""
        job_id, payload_id = new_id(), new_id()
        definition = resolved(pipeline, new.variables, job_id)
        need, services = self._admitted(definition)
        now = time.time()
        values = {
            "id": job_id,
            "correlation_id": new.correlation_id,
            "name": new.name or job_name(new.called_ae, pipeline.name, now),
            "pipeline_id": pipeline.id,
            "payload_id": payload_id,
            "received_payload_id": new.received_payload_id,
            "revision": new.revision,
            "rule": new.rule,
            "called_ae": new.called_ae,
            "selected": list(new.selected),
            "selection_digest": new.selection_digest,
            "priority": priority_of(new.priority),
            "state": PENDING.state.value,
            "status": PENDING.status.value,
            "attempt": 0,
            "variables": dict(new.variables),
            "destinations": list(new.destinations),
            "metadata": dict(new.metadata),
            "cpu": need.cpu,
            "memory_mb": need.memory_mb,
            "gpus": need.gpus,
            "services": services or None,
            "labels": labels.written(self._labels(connection, definition)),
            "timeout_seconds": self._timeout(definition),
            "created_at": now,
            "queued_at": now if queue else None,
        }
        return Made(self._insert(connection, new, values, pipeline), payload_id)

    def start(self, connection: Connection, job_id: str, variables: Mapping[str, Variable]) -> Job:
        """Queue a job that was created with ``queue=False``, with values for its parameters.

        What it needs is judged again, for the values may change it.  Raises :class:`Refused`, with
        nothing written, for a job that was started or stopped already and for variables that
        :meth:`create` refuses.
        """
        job = load(connection, job_id)
        if job.state != State.PENDING.value or job.queued_at is not None:
            raise Refused(f"job {job_id} was started already or has stopped")
        given = {**job.variables, **variables}
        definition = resolved(pipelines.get(connection, job.pipeline_id), given, job_id)
        need, services = self._admitted(definition)
        connection.execute(
            sa.update(jobs)
            .where(jobs.c.id == job_id)
            .values(
                variables=given,
                cpu=need.cpu,
                memory_mb=need.memory_mb,
                gpus=need.gpus,
                services=services or None,
                labels=labels.written(self._labels(connection, definition)),
                timeout_seconds=self._timeout(definition),
            )
        )
        return queue(connection, job_id)

    def _admitted(self, definition: Definition) -> tuple[Need, dict[str, list[float]]]:
        return admitted(self._capacity, definition, self._triton, self._missing_gpu)

    def _labels(self, connection: Connection, definition: Definition) -> labels.Labels:
        wanted = labels.asked(definition)
        lacking = labels.lacking(wanted, self._capacity.labels)
        # With PostgreSQL another node may have them, even one that is just being started again.
        if lacking and connection.dialect.name == "sqlite":
            raise NeverFits(lacking)
        return wanted

    def _timeout(self, definition: Definition) -> float:
        wanted = definition.timeout or self._limits.timeout_seconds
        return min(wanted, self._limits.maximum_timeout_seconds)

    def _existing(self, connection: Connection, new: NewJob) -> str | None:
        if new.received_payload_id is None:
            return None
        found: str | None = connection.execute(
            sa.select(jobs.c.id).where(
                jobs.c.received_payload_id == new.received_payload_id,
                jobs.c.revision == new.revision,
                jobs.c.rule == new.rule,
            )
        ).scalar()
        return found

    def _insert(
        self,
        connection: Connection,
        new: NewJob,
        values: Mapping[str, object],
        pipeline: Pipeline,
    ) -> str:
        # Only a decision can have been carried out twice; a savepoint costs as much as the insert.
        by_hand = new.received_payload_id is None
        try:
            with contextlib.nullcontext() if by_hand else connection.begin_nested():
                connection.execute(sa.insert(jobs), dict(values))
        except sa.exc.IntegrityError:
            # Another process carried out the same decision in the meantime.
            existing = self._existing(connection, new)
            if existing is None:
                raise
            return existing
        job_id = str(values["id"])
        record(
            connection,
            Kind.JOB_CREATED,
            correlation_id=new.correlation_id,
            payload_id=new.received_payload_id,
            job_id=job_id,
            data={
                "name": values["name"],
                "pipeline": pipeline.name,
                "version": pipeline.version,
                "priority": new.priority,
                "revision": new.revision,
                "rule": new.rule,
                "state": values["state"],
                "status": values["status"],
            },
        )
        point("job.create.before")
        return job_id


def _pipeline(connection: Connection, new: NewJob) -> Pipeline:
    if new.pipeline_id is not None:
        return pipelines.get(connection, new.pipeline_id)
    pipeline = pipelines.latest(connection, new.pipeline_name)
    if pipeline is None:
        raise Refused(f"there is no pipeline {new.pipeline_name!r}")
    return pipeline


def resolved(pipeline: Pipeline, variables: Mapping[str, Variable], job_id: str) -> Definition:
    """The definition that a job runs: ``variables`` in place of its parameters.

    Raises :class:`Refused` for a variable that is not declared or makes the definition faulty.
    """
    unknown = sorted(set(variables) - set(pipeline.definition.parameters))
    if unknown:
        declared = ", ".join(sorted(pipeline.definition.parameters)) or "none"
        raise Refused(
            f"pipeline {pipeline.name} declares no parameter {', '.join(unknown)}; "
            f"declared: {declared}"
        )
    if not pipeline.templated:
        # Nothing to fill in; parsing again would cost more than the rest of a job's start.
        return pipeline.definition
    try:
        return pipeline.resolve({key: _text(value) for key, value in variables.items()}, job_id)
    except ConfigError as error:
        raise Refused(f"pipeline {pipeline.name} with these variables: {error}") from error


def definition_of(connection: Connection, job: Job) -> Definition:
    """What the job runs: the version it was made with, its variables filled in."""
    return resolved(pipelines.get(connection, job.pipeline_id), job.variables, job.id)


def _text(value: Variable) -> str:
    # As YAML writes it: templates are YAML.
    return str(value).lower() if isinstance(value, bool) else str(value)


def job_name(called_ae: str | None, pipeline: str, at: float) -> str:
    """A name without patient data: AE title, pipeline and UTC second, ``[a-z0-9-]``, at most 63."""
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(at))
    words = (_clean(part) for part in (called_ae or "", pipeline))
    head = "-".join(word for word in words if word)[: NAME_LIMIT - len(stamp) - 1].strip("-")
    return f"{head or 'job'}-{stamp}"


def _clean(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def priority_of(word: str) -> int:
    """The number of a priority's word, in any case of letters; :class:`Refused` for another."""
    try:
        return PRIORITIES[word.lower()]
    except KeyError:
        raise Refused(f"{word!r} is no priority; allowed: {', '.join(PRIORITIES)}") from None


def word_of(priority: int) -> str:
    """The word of a priority's number in the records."""
    return next(word for word, number in PRIORITIES.items() if number == priority)


def supersede(
    connection: Connection, received_payload_id: str, rule: str, revision: int
) -> list[str]:
    """Cancel the rule's jobs for revisions before ``revision`` that are not running.

    A running one goes on: its results carry their revision.  Returns the ids cancelled.
    """
    older = connection.execute(
        sa.select(jobs.c.id)
        .where(
            jobs.c.received_payload_id == received_payload_id,
            jobs.c.rule == rule,
            jobs.c.revision < revision,
            jobs.c.state == State.PENDING.value,
        )
        .order_by(jobs.c.revision)
    ).scalars()
    reason = f"superseded by revision {revision} of its payload"
    superseded = []
    for job_id in older.all():
        move_job(connection, job_id, JobEvent.SUPERSEDE, Facts(reason=reason))
        superseded.append(job_id)
    return superseded


def queue(connection: Connection, job_id: str) -> Job:
    """Let a job that was created with ``queue=False`` run; a second time changes nothing."""
    return move_job(connection, job_id, JobEvent.QUEUE, Facts())


def cancel(connection: Connection, job_id: str, reason: str = "") -> Job:
    """End a job: a PENDING one at once, a RUNNING one as soon as the scheduler hears of it.

    Raises :class:`~gateway.jobs.transitions.UnknownJob`, or :class:`Refused` when it has stopped.
    """
    words = f"cancelled: {reason}" if reason else "cancelled"
    job = load(connection, job_id)
    if job.state != State.RUNNING.value:
        return move_job(connection, job_id, JobEvent.CANCEL, Facts(reason=words))
    if job.cancel_requested is None:
        connection.execute(
            sa.update(jobs).where(jobs.c.id == job_id).values(cancel_requested=words)
        )
    return load(connection, job_id)
