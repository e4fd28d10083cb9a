"""Storing what the rules decided, and creating the jobs, in the caller's one transaction.

A rule that matched starts a job unless its selected instances are those of its last one
(UNCHANGED).  A job that cannot be created (unknown pipeline, a job the machine can never hold)
makes the decision an ERROR with the reason; the other rules go on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.config.applications import AeConfig
from gateway.database.schema import decisions
from gateway.errors import Permanent
from gateway.jobs.creation import NewJob
from gateway.routing.checks import expressions
from gateway.routing.rules import Judgement, Outcome


class CreateJob(Protocol):
    """Creating a job in the caller's transaction (``JobCreation.create``)."""

    def __call__(self, connection: Connection, new: NewJob) -> str:
        """Return the job's id; raises Permanent with the reason, and nothing written, if not."""


class Supersede(Protocol):
    """Cancelling older queued jobs (:func:`gateway.jobs.creation.supersede`)."""

    def __call__(
        self, connection: Connection, received_payload_id: str, rule: str, revision: int, /
    ) -> list[str]:
        """Cancel the rule's jobs of earlier revisions that never started."""


@dataclass(frozen=True)
class Decided:
    """One stored decision, for the event and the log: no patient data."""

    rule: str
    outcome: Outcome
    job_id: str | None = None


class Decisions:
    """Stores decisions; holds no state of its own."""

    def __init__(self, create_job: CreateJob, supersede: Supersede) -> None:
        self._create_job = create_job
        self._supersede = supersede

    def store(
        self,
        connection: Connection,
        payload: Row[Any],
        config: AeConfig,
        judgements: Sequence[Judgement],
        digests: Mapping[str, str],
    ) -> list[Decided]:
        """Store one decision per judgement and create its job.

        A decision of this revision that has a job already (a person had the payload routed
        again) stays as it is; others are replaced.  ``digests`` maps the name of each matched rule
        to the digest of its selection.
        """
        now = time.time()
        decided = _kept(connection, payload)
        kept = {decision.rule for decision in decided}
        for judgement in judgements:
            if judgement.rule.name in kept:
                continue
            digest = digests.get(judgement.rule.name)
            outcome, job_id, error = self._act(connection, payload, judgement, digest)
            decided.append(Decided(judgement.rule.name, outcome, job_id))
            connection.execute(
                sa.insert(decisions).values(
                    payload_id=payload.id,
                    revision=payload.revision,
                    rule=judgement.rule.name,
                    config_version=config.version,
                    outcome=outcome.value,
                    expressions=expressions(judgement.rule),
                    values=judgement.values or {},
                    selected=list(judgement.selected),
                    selection_digest=digest,
                    error=error,
                    elapsed_ms=judgement.elapsed_ms,
                    job_id=job_id,
                    decided_at=now,
                )
            )
        return decided

    def store_otherwise(
        self, connection: Connection, payload: Row[Any], config: AeConfig, reason: str
    ) -> None:
        """Store that no rule matched, as a decision without a rule; ``reason`` says what follows.

        Call it after :meth:`store`.
        """
        connection.execute(
            sa.insert(decisions).values(
                payload_id=payload.id,
                revision=payload.revision,
                rule=None,
                config_version=config.version,
                outcome=Outcome.NOT_MATCHED.value,
                expressions={},
                values={"otherwise": reason},
                selected=[],
                elapsed_ms=0.0,
                decided_at=time.time(),
            )
        )

    def _act(
        self, connection: Connection, payload: Row[Any], judgement: Judgement, digest: str | None
    ) -> tuple[Outcome, str | None, str | None]:
        """Outcome, job and error of one judgement."""
        if judgement.outcome is not Outcome.MATCHED:
            return judgement.outcome, None, judgement.error
        if digest is not None and digest == _last_digest(connection, payload, judgement.rule.name):
            return Outcome.UNCHANGED, None, judgement.error
        try:
            with connection.begin_nested():
                job_id = self._create_job(connection, _new_job(payload, judgement, digest))
                self._supersede(connection, payload.id, judgement.rule.name, payload.revision)
        except Permanent as error:
            return Outcome.ERROR, None, f"no job: {error}"
        return Outcome.MATCHED, job_id, judgement.error


def _new_job(payload: Row[Any], judgement: Judgement, digest: str | None) -> NewJob:
    rule = judgement.rule
    return NewJob(
        correlation_id=payload.correlation_id,
        pipeline_name=rule.pipeline,
        received_payload_id=payload.id,
        revision=payload.revision,
        rule=rule.name,
        called_ae=payload.called_ae,
        selected=judgement.selected,
        selection_digest=digest,
        priority=rule.priority,
        variables=rule.variables,
        destinations=tuple(rule.destinations),
    )


def _last_digest(connection: Connection, payload: Row[Any], rule: str) -> str | None:
    """Digest of the instances that the rule's last job, of an earlier revision, was made for."""
    found: str | None = connection.execute(
        sa.select(decisions.c.selection_digest)
        .where(
            decisions.c.payload_id == payload.id,
            decisions.c.rule == rule,
            decisions.c.revision < payload.revision,
            decisions.c.outcome.in_([Outcome.MATCHED.value, Outcome.UNCHANGED.value]),
        )
        .order_by(decisions.c.revision.desc())
        .limit(1)
    ).scalar()
    return found


def _kept(connection: Connection, payload: Row[Any]) -> list[Decided]:
    """Decisions of this revision that have a job; the others are deleted."""
    here = sa.and_(decisions.c.payload_id == payload.id, decisions.c.revision == payload.revision)
    connection.execute(sa.delete(decisions).where(here, decisions.c.job_id.is_(None)))
    rows = connection.execute(
        sa.select(decisions.c.rule, decisions.c.outcome, decisions.c.job_id)
        .where(here)
        .order_by(decisions.c.id)
    )
    return [Decided(row.rule, Outcome(row.outcome), row.job_id) for row in rows]
