"""Metrics of what waits and of how long things took, read from the records at scrape time.

Ages are of the oldest that waits, 0 where nothing does, so that an alert sees the end of a wait
as well as its beginning.  Labels are AE titles of ours, priorities, states, pipelines and
destinations.  Reading costs a fixed number of grouped queries;
:mod:`gateway.monitor.collector` bounds their share of the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from sqlalchemy.engine import Connection

from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.database.schema import (
    associations,
    jobs,
    payload_revisions,
    payloads,
    pipelines,
    quarantine,
    results,
)
from gateway.monitor.collector import FreshCollector
from gateway.monitor.metrics import PRIORITIES

BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Upper bounds of the histograms, in seconds."""
_FAILED = ("FAULTED", "TERMINATED", "EVICTED")
_UNDELIVERED = ("PENDING", "SENDING", "WAITING")


class WaitingCollector(FreshCollector):
    """Turns records into ages and durations; safe to scrape from any thread."""

    def __init__(self, database: Database, live: LiveAeConfig) -> None:
        super().__init__()
        self._database = database
        self._live = live

    def _read(self) -> Iterator[Metric]:
        names = [destination.name for destination in self._live.current.destinations]
        with self._database.read() as connection:
            now = time.time()
            yield from _receiving(connection)
            yield _oldest_payload(connection, now)
            yield _oldest_job(connection, now)
            yield _oldest_result(connection, now, names)
            yield _for_a_person(connection)
            yield from _claimed(connection)
            yield from _durations(connection)


def _receiving(connection: Connection) -> Iterator[Metric]:
    a, p = associations.c, payloads.c
    family = CounterMetricFamily(
        "gateway_received_bytes", "Bytes of the instances answered Success", labels=["called"]
    )
    accepted = sa.select(a.called_ae, sa.func.sum(a.bytes)).where(a.state != "REJECTED")
    for called, total in connection.execute(accepted.group_by(a.called_ae)):
        family.add_metric([called], float(total or 0))
    yield family
    last = GaugeMetricFamily(
        "gateway_last_received_timestamp_seconds",
        "When the last instance came, in seconds since 1970",
        labels=["called"],
    )
    latest = sa.select(p.called_ae, sa.func.max(p.last_received_at)).group_by(p.called_ae)
    for called, at in connection.execute(latest):
        last.add_metric([called], float(at))
    yield last


def _oldest_payload(connection: Connection, now: float) -> Metric:
    """RECEIVING waits for completion, COMPLETE for its rules."""
    p = payloads.c
    since = {"RECEIVING": p.opened_at, "COMPLETE": p.completed_at}
    family = GaugeMetricFamily(
        "gateway_payload_oldest_seconds", "Age of the oldest payload in a state", labels=["state"]
    )
    for state, column in since.items():
        at = connection.scalar(sa.select(sa.func.min(column)).where(p.state == state))
        family.add_metric([state], _age(at, now))
    return family


def _oldest_job(connection: Connection, now: float) -> Metric:
    """A job that waits for a retry or a paused scheduler waits too."""
    j = jobs.c
    query = (
        sa.select(j.priority, sa.func.min(j.queued_at))
        .where(j.state == "PENDING", j.queued_at.is_not(None))
        .group_by(j.priority)
    )
    found: dict[int, float] = {row[0]: row[1] for row in connection.execute(query)}
    family = GaugeMetricFamily(
        "gateway_job_oldest_seconds", "Age of the oldest queued job", labels=["priority"]
    )
    for priority, name in PRIORITIES.items():
        family.add_metric([name], _age(found.get(priority), now))
    return family


def _oldest_result(connection: Connection, now: float, names: Iterable[str]) -> Metric:
    r = results.c
    query = (
        sa.select(r.destination, sa.func.min(r.created_at))
        .where(r.deliverable, r.state.in_(_UNDELIVERED))
        .group_by(r.destination)
    )
    found = {destination or "": at for destination, at in connection.execute(query)}
    family = GaugeMetricFamily(
        "gateway_result_oldest_seconds",
        "Age of the oldest result that is not delivered and has not failed",
        labels=["destination"],
    )
    for destination in sorted({*names, *found}):
        family.add_metric([destination], _age(found.get(destination), now))
    return family


def _for_a_person(connection: Connection) -> Metric:
    """What goes no further by itself, as long as its files are there to go on with."""
    count = sa.func.count()
    kept = jobs.c.payload_deleted_at.is_(None)
    queries: dict[str, sa.Select[Any]] = {
        "job": sa.select(count).select_from(jobs).where(jobs.c.status.in_(_FAILED), kept),
        "result": (
            sa.select(count)
            .select_from(results.join(jobs, jobs.c.id == results.c.job_id))
            .where(results.c.state == "FAILED", kept)
        ),
        "conflict": sa.select(count).select_from(payloads).where(payloads.c.state == "CONFLICT"),
        "quarantine": (
            sa.select(count).select_from(quarantine).where(quarantine.c.resolved_at.is_(None))
        ),
    }
    family = GaugeMetricFamily(
        "gateway_waiting_for_person", "What a person must look at", labels=["what"]
    )
    for what, query in queries.items():
        family.add_metric([what], float(connection.scalar(query) or 0))
    return family


def _claimed(connection: Connection) -> Iterator[Metric]:
    """What queued jobs ask for and running ones have."""
    j = jobs.c
    query = (
        sa.select(j.state, sa.func.sum(j.cpu), sa.func.sum(j.memory_mb), sa.func.sum(j.gpus))
        .where(j.state.in_(("PENDING", "RUNNING")), j.queued_at.is_not(None))
        .group_by(j.state)
    )
    found = {state: figures for state, *figures in connection.execute(query)}
    for index, (name, text, factor) in enumerate(
        (
            ("cpus", "Cores that queued jobs ask for and running ones have", 1),
            ("memory_bytes", "Memory that queued jobs ask for and running ones have", 1_000_000),
            ("gpus", "GPUs that queued jobs ask for and running ones have", 1),
        )
    ):
        family = GaugeMetricFamily(f"gateway_job_{name}", text, labels=["state"])
        for state in ("PENDING", "RUNNING"):
            figure = found[state][index] if state in found else 0
            family.add_metric([state], factor * float(figure or 0))
        yield family


def _durations(connection: Connection) -> Iterator[Metric]:
    j, r, v = jobs.c, results.c, payload_revisions.c
    queued: sa.Select[Any] = sa.select(j.priority).where(
        j.queued_at.is_not(None), j.started_at.is_not(None)
    )
    family = _histogram(
        connection,
        ("gateway_job_queue_seconds", "From queued to the last attempt's start", "priority"),
        queued.group_by(j.priority),
        j.started_at - j.queued_at,
        lambda priority: PRIORITIES.get(priority, str(priority)),
    )
    yield family
    ran: sa.Select[Any] = (
        sa.select(pipelines.c.name)
        .select_from(jobs.join(pipelines, pipelines.c.id == j.pipeline_id))
        .where(j.started_at.is_not(None), j.stopped_at.is_not(None))
        .group_by(pipelines.c.name)
    )
    about = ("gateway_job_run_seconds", "From the last attempt's start to its end", "pipeline")
    yield _histogram(connection, about, ran, j.stopped_at - j.started_at)
    sent: sa.Select[Any] = sa.select(r.destination).where(r.delivered_at.is_not(None))
    about = ("gateway_delivery_seconds", "From registered to delivered", "destination")
    yield _histogram(connection, about, sent.group_by(r.destination), r.delivered_at - r.created_at)
    whole: sa.Select[Any] = (
        sa.select(payloads.c.called_ae)
        .select_from(payload_revisions.join(payloads, payloads.c.id == v.payload_id))
        .group_by(payloads.c.called_ae)
    )
    about = ("gateway_payload_receiving_seconds", "From first instance to complete", "called")
    yield _histogram(connection, about, whole, v.completed_at - v.opened_at)


def _histogram(
    connection: Connection,
    about: tuple[str, str, str],
    query: sa.Select[Any],
    seconds: sa.ColumnElement[Any],
    word: Any = str,
) -> Metric:
    """``query`` gives one label and is grouped by it; ``about``: name, sentence, label."""
    name, text, label = about
    counts: Sequence[sa.ColumnElement[Any]] = [
        sa.func.sum(sa.case((seconds <= bound, 1), else_=0)) for bound in BUCKETS
    ]
    family = HistogramMetricFamily(name, text, labels=[label])
    rows = connection.execute(query.add_columns(sa.func.count(), sa.func.sum(seconds), *counts))
    for value, total, took, *below in rows:
        pairs = [(f"{b:g}", float(n)) for b, n in zip(BUCKETS, below, strict=True)]
        spelled = word(value) if value is not None else ""
        family.add_metric([spelled], [*pairs, ("+Inf", float(total))], sum_value=float(took))
    return family


def _age(at: float | None, now: float) -> float:
    return 0.0 if at is None else max(0.0, now - at)
