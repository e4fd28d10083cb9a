"""The routing worker: takes complete payloads, evaluates their rules, stores the decisions.

Facts are read and rules evaluated outside of any transaction; then one transaction checks that
the payload is still complete at that revision, stores the decisions, creates the jobs and moves
the payload on.  A crash at any point leaves the payload COMPLETE with nothing stored, or routed
with everything stored.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.config.applications import AeConfig, Application
from gateway.database.engine import Database
from gateway.database.schema import payloads
from gateway.errors import Refused
from gateway.events.faults import point
from gateway.events.record import Kind, record
from gateway.events.wake import Topic, Wakeups
from gateway.payloads.states import Event, State, step
from gateway.routing.decisions import CreateJob, Decided, Decisions, Supersede
from gateway.routing.engine import Engine
from gateway.routing.names import Names
from gateway.routing.records import facts_of, selection_digest
from gateway.routing.rules import Judgement, Outcome, evaluate_rules, names_of

log = logging.getLogger(__name__)

FAULT_POINTS = ("routing.decide.before", "routing.store.before", "routing.store.after")
"""Where crash tests kill the gateway in this room."""

POLL_SECONDS = 2.0
"""Longest time until a payload is seen whose wake-up was lost."""
BACK_OFF_SECONDS = (1.0, 60.0)
"""First and longest wait before a payload is tried again whose routing failed."""

DISCARDED = "no rule matched: discard"
"""``payloads.reason`` of a payload that retention deletes at once (its flag ``discard``)."""
KEPT = "no rule matched"
"""``payloads.reason`` of a payload that is kept for ``retention.unmatched-hours``."""


class Router:
    """Routes payloads; :meth:`run` belongs in a thread of its own, one per database.

    ``config`` returns the AE configuration in force.
    """

    def __init__(
        self,
        database: Database,
        wakeups: Wakeups,
        config: Callable[[], AeConfig],
        engine: Engine,
        create_job: CreateJob,
        supersede: Supersede,
    ) -> None:
        self._database = database
        self._wakeups = wakeups
        self._config = config
        self._engine = engine
        self._decisions = Decisions(create_job, supersede)
        self._stop = threading.Event()
        self._not_before: dict[str, float] = {}
        self._waits: dict[str, float] = {}

    def run(self) -> None:
        """Route until :meth:`stop`; never raises for a payload that cannot be routed."""
        self._engine.warm()
        while not self._stop.is_set():
            try:
                routed = self.route_ready()
            except Exception:
                # Boundary of the worker: the database may be away; look again after the poll.
                log.exception("routing is interrupted")
                routed = 0
            if not routed:
                self._wakeups.wait(Topic.ROUTING, POLL_SECONDS)

    def stop(self) -> None:
        """End :meth:`run` after the payload in hand."""
        self._stop.set()
        self._wakeups.notify(Topic.ROUTING)

    def route_ready(self) -> int:
        """Route every complete payload once, oldest first; returns how many were routed."""
        with self._database.read() as connection:
            ready = connection.execute(
                sa.select(payloads.c.id)
                .where(payloads.c.state == State.COMPLETE.value)
                .order_by(payloads.c.completed_at, payloads.c.id)
            ).scalars()
            waiting = ready.all()
        self._prune(waiting)
        routed = 0
        for payload_id in waiting:
            if self._stop.is_set():
                break
            if self._not_before.get(payload_id, 0.0) <= time.monotonic():
                routed += self._attempt(payload_id)
        return routed

    def route(self, payload_id: str) -> bool:
        """Route one payload; False when it is not complete, or changed meanwhile.

        Raises WorkerError when rules cannot be evaluated at all; the payload stays complete.
        """
        config = self._config()
        with self._database.read() as connection:
            payload = _payload(connection, payload_id)
            if payload is None or not _ready(payload):
                return False
            application = config.application(payload.called_ae)
            rules = application.rules if application else []
            names = Names()
            for rule in rules:
                names |= names_of(rule)
            facts = facts_of(connection, payload, names)
        point("routing.decide.before")
        judgements = evaluate_rules(self._engine, rules, facts)
        with self._database.read() as connection:
            digests = {
                j.rule.name: selection_digest(connection, payload.id, payload.revision, j.selected)
                for j in judgements
                if j.outcome is Outcome.MATCHED
            }
        with self._database.begin() as connection:
            current = _payload(connection, payload_id, lock=True)
            # A late instance or a conflict may have come while the rules were evaluated.
            if current is None or not _ready(current) or current.revision != payload.revision:
                return False
            decided = self._decisions.store(connection, payload, config, judgements, digests)
            self._move(connection, payload, config, application, decided)
            point("routing.store.before")
        point("routing.store.after")
        self._wakeups.notify(Topic.JOBS, Topic.EVENTS)
        _log(payload, decided, judgements)
        return True

    def _attempt(self, payload_id: str) -> bool:
        try:
            routed = self.route(payload_id)
        except Exception as error:
            # Boundary of one payload: it must not keep the others from being routed.
            first, longest = BACK_OFF_SECONDS
            wait = min(self._waits.get(payload_id, first / 2) * 2, longest)
            self._waits[payload_id] = wait
            self._not_before[payload_id] = time.monotonic() + wait
            log.exception(
                "a payload could not be routed and is tried again",
                extra={
                    "payload_id": payload_id,
                    "retry_after": wait,
                    "error": type(error).__name__,
                },
            )
            return False
        self._waits.pop(payload_id, None)
        self._not_before.pop(payload_id, None)
        return routed

    def _prune(self, waiting: Sequence[str]) -> None:
        """Forget the back-off of payloads that are no longer waiting."""
        for payload_id in set(self._waits) - set(waiting):
            self._waits.pop(payload_id, None)
            self._not_before.pop(payload_id, None)

    def _move(
        self,
        connection: Connection,
        payload: Row[Any],
        config: AeConfig,
        application: Application | None,
        decided: Sequence[Decided],
    ) -> None:
        """Move the payload on and record the event of it."""
        now = time.time()
        matched = any(d.outcome in {Outcome.MATCHED, Outcome.UNCHANGED} for d in decided)
        state = step(payload.state, Event.ROUTE if matched else Event.NO_MATCH)
        values: dict[str, Any] = {"state": state.value, "routed_at": now}
        reason = None
        if not matched:
            reason = _unmatched(payload, application, decided)
            self._decisions.store_otherwise(connection, payload, config, reason)
            values |= {"reason": reason, "finished_at": now, "discard": reason == DISCARDED}
        connection.execute(sa.update(payloads).where(payloads.c.id == payload.id).values(**values))
        record(
            connection,
            Kind.PAYLOAD_ROUTED if matched else Kind.PAYLOAD_UNMATCHED,
            correlation_id=payload.correlation_id,
            payload_id=payload.id,
            data={
                "state": state.value,
                "revision": payload.revision,
                "called_ae": payload.called_ae,
                "reason": reason,
                "rules": [
                    {"rule": d.rule, "outcome": d.outcome.value, "job_id": d.job_id}
                    for d in decided
                ],
            },
            at=now,
        )


def reroute(database: Database, wakeups: Wakeups, payload_id: str) -> None:
    """Have a routed or unmatched payload judged again by the rules now in force.

    A rule that has a job for this revision already keeps it; no second one is made.  Raises
    :class:`Refused` for a payload that is not there or in another state.
    """
    with database.begin() as connection:
        payload = _payload(connection, payload_id, lock=True)
        if payload is None:
            raise Refused(f"there is no payload {payload_id}")
        connection.execute(
            sa.update(payloads)
            .where(payloads.c.id == payload_id)
            .values(
                state=step(payload.state, Event.REROUTE).value,
                finished_at=None,
                discard=False,
            )
        )
    wakeups.notify(Topic.ROUTING)


def _payload(connection: Connection, payload_id: str, *, lock: bool = False) -> Row[Any] | None:
    query = sa.select(payloads).where(payloads.c.id == payload_id)
    # SQLite's writers hold the whole database; PostgreSQL's must hold the row they decide by.
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def _ready(payload: Row[Any]) -> bool:
    """Complete, and no conflict of patients that a person has not released."""
    held = payload.conflict and not payload.conflict_released
    return payload.state == State.COMPLETE.value and not held


def _unmatched(
    payload: Row[Any], application: Application | None, decided: Sequence[Decided]
) -> str:
    """Why the payload is unmatched, and what becomes of it."""
    if application is None:
        return f"no application is called {payload.called_ae} any more"
    if any(d.outcome is Outcome.ERROR for d in decided):
        # Something a person should see: an error must not throw images away.
        return f"{KEPT}, and a rule ended in an error"
    return DISCARDED if application.otherwise == "discard" else KEPT


def _log(payload: Row[Any], decided: Sequence[Decided], judgements: Sequence[Judgement]) -> None:
    log.info(
        "payload routed",
        extra={
            "correlation_id": payload.correlation_id,
            "payload_id": payload.id,
            "revision": payload.revision,
            "rules": {d.rule: d.outcome.value for d in decided},
            "elapsed_ms": round(sum(j.elapsed_ms for j in judgements), 1),
        },
    )
