"""``/api/v1/overview``: the whole gateway at a glance.

Answers closer together than :data:`FRESH_SECONDS` share one, however many people look, and the more
there is to count the rarer it is counted.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection

from gateway.database.schema import (
    circuits,
    decisions,
    jobs,
    payloads,
    quarantine,
    results,
)
from gateway.events.times import rfc3339
from gateway.jobs import controls
from gateway.monitor import health, machine, proc
from gateway.monitor.metrics import PRIORITIES
from gateway.monitor.sampler import Gpu, GpuUser
from gateway.web import api
from gateway.web.services import Given, Services

FRESH_SECONDS = 1.0
"""How old an answer may be."""
LEISURE = 20
"""However many records there are, it takes at most one part in so many of the time."""
LOOK_BACK_SECONDS = 7 * 86400
"""How far back errors of rules count as waiting for a person."""

router = APIRouter(prefix="/api/v1", tags=["overview"])


class Overview:
    """Makes the answer, at most once a second; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, Any] = {}
        self._stale_at = 0.0
        self._cpu: tuple[float, proc.CpuTimes] | None = None
        self._busy: float | None = None

    def tell(self, services: Services) -> dict[str, Any]:
        """The overview, a second old at most."""
        with self._lock:
            now = time.monotonic()
            if now >= self._stale_at:
                self._look_at_cpu(now)
                self._made = _overview(services, self._busy)
                self._stale_at = now + max(FRESH_SECONDS, LEISURE * (time.monotonic() - now))
            return self._made

    def _look_at_cpu(self, now: float) -> None:
        """How busy the cores were since the last answer, or since the machine started."""
        times = proc.cpu_times()
        before = self._cpu[1] if self._cpu is not None else None
        spent = {
            mode: seconds - (getattr(before, mode) if before is not None else 0.0)
            for mode, seconds in vars(times).items()
        }
        total = sum(spent.values())
        idle = spent.get("idle", 0.0) + spent.get("iowait", 0.0)
        if total > 0:
            self._busy = round(max(0.0, 1 - idle / total), 3)
        self._cpu = (now, times)


@router.get("/overview")
def overview(request: Request, services: Given) -> dict[str, Any]:
    """Tell everything at a glance: studies, jobs, results, what waits for a person, the machine."""
    made: Overview = request.app.state.overview
    return made.tell(services)


def _overview(services: Services, busy: float | None) -> dict[str, Any]:
    report = health.report(services.checks)
    with services.database.read() as connection:
        body = {
            "studies": _studies(connection),
            "jobs": _jobs(connection),
            "results": _results(connection),
            "attention": _attention(services, connection),
        }
    parts = [
        {"name": name, "status": part.condition, "details": dict(part.detail)}
        for name, part in report.parts.items()
    ]
    return {
        "time": rfc3339(time.time()),
        "version": services.version,
        "status": report.condition,
        **body,
        "destinations": list(_destinations(services)),
        "machine": _machine(services, busy),
        "parts": parts,
    }


def _studies(connection: Connection) -> dict[str, Any]:
    p = payloads.c
    now = time.time()
    midnight = dt.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    opened = sa.func.count().filter
    query = sa.select(
        sa.func.count(),
        opened(p.opened_at >= midnight.timestamp()),
        opened(p.opened_at >= now - 3600),
        sa.func.max(p.last_received_at),
    ).where(p.state != "QUARANTINED")
    total, today, hour, last = connection.execute(query).one()
    states = sa.select(p.state, sa.func.count()).group_by(p.state)
    return {
        "total": total,
        "today": today,
        "last_hour": hour,
        "last_at": None if last is None else rfc3339(last),
        "payloads": {row[0]: row[1] for row in connection.execute(states)},
    }


def _jobs(connection: Connection) -> dict[str, Any]:
    keys = (jobs.c.state, jobs.c.status, jobs.c.priority)
    rows = connection.execute(sa.select(*keys, sa.func.count()).group_by(*keys)).all()
    by = [
        {"state": state, "status": status, "priority": PRIORITIES.get(priority), "count": n}
        for state, status, priority, n in rows
    ]
    waiting = sa.and_(jobs.c.state == "PENDING", jobs.c.queued_at.is_not(None))
    oldest = connection.scalar(sa.select(sa.func.min(jobs.c.queued_at)).where(waiting))
    scheduler = controls.overview(connection)
    return {
        "by": by,
        "waiting": scheduler.pop("waiting"),
        "running": scheduler.pop("running"),
        "oldest_waiting_at": None if oldest is None else rfc3339(oldest),
        "scheduler": _held(scheduler),
    }


def _held(scheduler: dict[str, Any]) -> dict[str, Any]:
    """What is held, with times as REST tells them."""

    def told(held: dict[str, Any]) -> dict[str, Any]:
        since = held["since"]
        return {**held, "since": None if since is None else rfc3339(since)}

    return {**told(scheduler), "pipelines": [told(each) for each in scheduler["pipelines"]]}


def _results(connection: Connection) -> dict[str, int]:
    query = sa.select(results.c.state, sa.func.count()).group_by(results.c.state)
    n: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    return {
        "delivered": n.get("DELIVERED", 0) + n.get("COMMITTED", 0),
        **{state.lower(): n.get(state, 0) for state in ("PENDING", "SENDING", "WAITING", "FAILED")},
    }


def _attention(services: Services, connection: Connection) -> list[dict[str, Any]]:
    """What waits for a person, by kind; nothing of a kind = it is not told."""
    fault = services.ae_config.fault
    disk = machine.disk(services.data_dir)
    counts = {
        "payload-conflict": _count(connection, payloads, payloads.c.state == "CONFLICT"),
        "quarantine": _count(connection, quarantine, quarantine.c.resolved_at.is_(None)),
        "job-failed": _count(
            connection,
            jobs,
            jobs.c.status.in_(("FAULTED", "EVICTED", "TERMINATED")),
            jobs.c.payload_deleted_at.is_(None),
        ),
        "result-failed": _count(connection, results, results.c.state == "FAILED"),
        "commitment-failed": _count(
            connection, results, results.c.commitment == "FAILED", results.c.state != "FAILED"
        ),
        "rule-error": _count(
            connection,
            decisions,
            decisions.c.outcome == "ERROR",
            decisions.c.decided_at >= time.time() - LOOK_BACK_SECONDS,
        ),
        "circuit-open": _count(connection, circuits, circuits.c.state != "CLOSED"),
        "ae-config": 0 if fault is None else len(fault.faults),
        "disk": 0 if _accepts(services, disk) else 1,
    }
    return [{"kind": kind, "count": n} for kind, n in counts.items() if n]


def _count(connection: Connection, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    query = sa.select(sa.func.count()).select_from(table).where(*conditions)
    return connection.scalar(query) or 0


def _destinations(services: Services) -> Iterator[dict[str, Any]]:
    for each in api.list_destinations(services).items:
        circuit = each["circuit"] or {}
        yield {
            "name": each["name"],
            "circuit": circuit.get("state", "CLOSED"),
            "reason": circuit.get("reason"),
            "retry_at": circuit.get("retry_at"),
            "paused": each["paused"] is not None,
            **{state.lower(): n for state, n in each["queue"].items()},
        }


def _machine(services: Services, busy: float | None) -> dict[str, Any]:
    memory, disk = machine.memory(), machine.disk(services.data_dir)
    storage = services.storage
    return {
        "cpu": {
            "cores": machine.look().cpu,
            "busy": busy,
            "load": round(os.getloadavg()[0], 2),
        },
        "memory": {"total": memory.total, "available": memory.available},
        "disk": {
            "total": disk.total,
            "free": disk.free,
            "used_percent": round(disk.used_percent, 1),
            "watermark_percent": storage.watermark_percent,
            "reserve_bytes": int(storage.reserve_gb * 1e9),
            "accepts_images": _accepts(services, disk),
        },
        "gpus": list(_gpus(services.machine().gpus)),
    }


def _accepts(services: Services, disk: machine.Disk) -> bool:
    storage = services.storage
    full = disk.used_percent >= storage.watermark_percent
    return not full and disk.free >= storage.reserve_gb * 1e9


def _gpus(gpus: Iterable[Gpu]) -> Iterator[dict[str, Any]]:
    for gpu in gpus:
        reading = gpu.reading
        yield {
            "index": reading.device.index,
            "model": reading.device.model,
            "busy": reading.busy,
            "memory_total": reading.memory_total,
            "memory_used": reading.memory_used,
            "temperature": reading.celsius,
            "watts": reading.watts,
            "users": [_user(user) for user in gpu.users],
        }


def _user(user: GpuUser) -> dict[str, Any]:
    job = None if user.run is None else user.run.job_id
    return {"name": user.name, "job_id": job, "memory": user.memory}
