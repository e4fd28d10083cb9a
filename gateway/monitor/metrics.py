"""Prometheus metrics, read from the records at scrape time.

Nothing is counted twice and nothing is lost by a restart: the records are the counters.  Labels
are AE titles of ours, rule, pipeline, operator and destination names and states; never a job
name, UID or anything a patient or a stranger controls.  A scrape runs a fixed number of grouped
queries; :mod:`gateway.monitor.collector` bounds how often.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.engine import Connection

from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.database.schema import (
    associations,
    circuits,
    commitment_requests,
    decisions,
    jobs,
    operators,
    payloads,
    pipelines,
    quarantine,
    results,
    services,
)
from gateway.monitor import machine
from gateway.monitor.collector import FreshCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
"""Upper bounds of ``gateway_operator_seconds``."""
PRIORITIES = {1: "lower", 2: "normal", 3: "higher", 4: "immediate"}


class GatewayCollector(FreshCollector):
    """Turns records into metric families; safe to scrape from any thread."""

    def __init__(self, database: Database, live: LiveAeConfig, data_dir: Path) -> None:
        super().__init__()
        self._database = database
        self._live = live
        self._data_dir = data_dir

    def _read(self) -> Iterator[Metric]:
        with self._database.read() as connection:
            yield from _receiving(connection)
            yield from _working(connection)
            yield _operator_seconds(connection)
            yield from _delivering(connection)
            yield _stored(connection)
        yield _one("gateway_storage_free_bytes", "Free on the disk of data-dir", self._free())
        valid = float(self._live.fault is None)
        yield _one("gateway_ae_config_valid", "1 = the files of ae_config are in force", valid)

    def _free(self) -> float:
        return float(machine.disk(self._data_dir).free)


def exposition(registry: CollectorRegistry) -> bytes:
    """The text that Prometheus reads (content type :data:`CONTENT_TYPE`)."""
    return generate_latest(registry)


def registry(
    database: Database, live: LiveAeConfig, data_dir: Path, *others: Collector
) -> CollectorRegistry:
    """A registry with the gateway's and the process's own metrics, and those of ``others``."""
    made = CollectorRegistry()
    for collector in (GatewayCollector(database, live, data_dir), *others):
        made.register(collector)
    ProcessCollector(registry=made)
    return made


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _gauge(
    connection: Connection, name: str, text: str, labels: list[str], query: sa.Select[Any]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for *values, count in connection.execute(query):
        family.add_metric([str(v if v is not None else "") for v in values], float(count or 0))
    return family


def _counter(
    connection: Connection, name: str, text: str, labels: list[str], query: sa.Select[Any]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for *values, count in connection.execute(query):
        family.add_metric([str(v if v is not None else "") for v in values], float(count or 0))
    return family


def _receiving(connection: Connection) -> Iterator[Metric]:
    count = sa.func.count()
    a = associations.c
    query: sa.Select[Any] = sa.select(a.state, count).group_by(a.state)
    yield _gauge(connection, "gateway_associations", "Associations on record", ["state"], query)
    # A rejected association's called AE title is whatever a stranger typed: no label of ours.
    accepted = sa.select(a.called_ae, sa.func.sum(a.instances)).where(a.state != "REJECTED")
    yield _counter(
        connection,
        "gateway_instances_received",
        "Instances answered Success and kept",
        ["called"],
        accepted.group_by(a.called_ae),
    )
    for name, column, text in (
        ("ignored", a.ignored, "answered Success and not kept"),
        ("duplicate", a.duplicates, "already stored"),
        ("refused", a.refused, "answered with a failure"),
    ):
        total = sa.select(sa.func.sum(column))
        yield _counter(connection, f"gateway_instances_{name}", f"Instances {text}", [], total)
    query = sa.select(count).select_from(quarantine).where(quarantine.c.resolved_at.is_(None))
    yield _gauge(connection, "gateway_quarantine", "Unusable data sets in quarantine", [], query)


def _working(connection: Connection) -> Iterator[Metric]:
    count = sa.func.count()
    query: sa.Select[Any] = sa.select(payloads.c.state, count).group_by(payloads.c.state)
    yield _gauge(connection, "gateway_payloads", "Received payloads", ["state"], query)
    errors = (
        sa.select(payloads.c.called_ae, decisions.c.rule, count)
        .join(payloads, payloads.c.id == decisions.c.payload_id)
        .where(decisions.c.outcome == "ERROR")
        .group_by(payloads.c.called_ae, decisions.c.rule)
    )
    yield _counter(
        connection, "gateway_rule_errors", "Rules that failed", ["called", "rule"], errors
    )
    query = sa.select(services.c.state, count).group_by(services.c.state)
    yield _gauge(
        connection, "gateway_services", "Long-lived services of pipelines", ["state"], query
    )
    yield _gauge(
        connection,
        "gateway_service_restarts",
        "Deaths of the services there are",
        ["name"],
        sa.select(services.c.name, sa.func.sum(services.c.restarts)).group_by(services.c.name),
    )
    family = GaugeMetricFamily("gateway_jobs", "Jobs", labels=["state", "status", "priority"])
    keys = (jobs.c.state, jobs.c.status, jobs.c.priority)
    for state, status, priority, n in connection.execute(sa.select(*keys, count).group_by(*keys)):
        family.add_metric([state, status, PRIORITIES.get(priority, str(priority))], n)
    yield family


def _operator_seconds(connection: Connection) -> Metric:
    """Run time per pipeline and operator, of every attempt that ended."""
    o = operators.c
    seconds = o.stopped_at - o.started_at
    buckets = [sa.func.sum(sa.case((seconds <= bound, 1), else_=0)) for bound in BUCKETS]
    query = (
        sa.select(
            pipelines.c.name.label("pipeline"), o.name, sa.func.count(), sa.func.sum(seconds),
            *buckets,
        )
        .select_from(operators)
        .join(jobs, jobs.c.id == o.job_id)
        .join(pipelines, pipelines.c.id == jobs.c.pipeline_id)
        .where(o.started_at.is_not(None), o.stopped_at.is_not(None))
        .group_by(pipelines.c.name, o.name)
    )  # fmt: skip
    family = HistogramMetricFamily(
        "gateway_operator_seconds", "Run time of operators", labels=["pipeline", "operator"]
    )
    for pipeline, operator, n, total, *counts in connection.execute(query):
        pairs = [(f"{b:g}", float(c)) for b, c in zip(BUCKETS, counts, strict=True)]
        family.add_metric([pipeline, operator], [*pairs, ("+Inf", float(n))], sum_value=total)
    return family


def _delivering(connection: Connection) -> Iterator[Metric]:
    r = results.c
    query: sa.Select[Any] = sa.select(r.destination, r.state, sa.func.count())
    yield _gauge(
        connection, "gateway_results", "Results", ["destination", "state"],
        query.group_by(r.destination, r.state),
    )  # fmt: skip
    owed = sa.select(r.destination, r.commitment, sa.func.count()).where(r.commitment.is_not(None))
    yield _gauge(
        connection, "gateway_commitments", "Storage commitments of results",
        ["destination", "state"], owed.group_by(r.destination, r.commitment),
    )  # fmt: skip
    asked = commitment_requests.c.state
    yield _gauge(
        connection, "gateway_commitment_requests", "Storage commitments that modalities asked for",
        ["state"], sa.select(asked, sa.func.count()).group_by(asked),
    )  # fmt: skip
    is_open = sa.case((circuits.c.state == "CLOSED", 0), else_=1)
    yield _gauge(
        connection, "gateway_circuit_open", "1 = the destination is not being tried",
        ["destination"], sa.select(circuits.c.destination, is_open),
    )  # fmt: skip


def _stored(connection: Connection) -> Metric:
    """Bytes of the instances and quarantined data sets that are kept."""
    kept = sa.select(sa.func.sum(payloads.c.bytes)).where(payloads.c.deleted_at.is_(None))
    apart = sa.select(sa.func.sum(quarantine.c.size)).where(quarantine.c.resolved_at.is_(None))
    total = (connection.scalar(kept) or 0) + (connection.scalar(apart) or 0)
    return _one("gateway_storage_bytes", "Bytes of the instances kept", float(total))
