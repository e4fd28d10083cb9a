"""How each part of the gateway is doing, for ``/health`` and ``/health/ready``.

A part is *ok*, *degraded* (it works, a person should look) or *down* (the gateway cannot do its
work).  The parts of other rooms are made by the composition root with :class:`Part`; those that
can be told from records and configuration are here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.config.live import LiveAeConfig
from gateway.config.settings import StorageSettings
from gateway.database.engine import Database
from gateway.database.schema import circuits, results
from gateway.events.mqtt import Publisher, waiting
from gateway.events.times import rfc3339
from gateway.monitor import machine
from gateway.monitor.traces.exporter import TraceState

log = logging.getLogger(__name__)


class Condition(StrEnum):
    """How a part is doing."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


_WORSE = (Condition.OK, Condition.DEGRADED, Condition.DOWN)


@dataclass(frozen=True)
class Part:
    """One part's condition and what a person wants to know about it; no patient data."""

    condition: Condition
    detail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, ok: bool, **detail: Any) -> Part:
        """OK when ``ok``, else DOWN."""
        return cls(Condition.OK if ok else Condition.DOWN, detail)


Check = Callable[[], Part]
"""Says how a part is doing; quick, any thread."""


@dataclass(frozen=True)
class Report:
    """The whole gateway's condition: that of its worst part."""

    parts: Mapping[str, Part]

    @property
    def condition(self) -> Condition:
        """The worst condition of any part."""
        return max((p.condition for p in self.parts.values()), key=_WORSE.index, default=_WORSE[0])

    @property
    def ready(self) -> bool:
        """True when no part is down."""
        return self.condition is not Condition.DOWN

    def body(self) -> dict[str, Any]:
        """As ``/health`` shows it."""
        parts = {n: {**p.detail, "status": p.condition} for n, p in self.parts.items()}
        return {"status": self.condition, "ready": self.ready, "parts": parts}


def report(checks: Mapping[str, Check]) -> Report:
    """Ask every part; one that raises counts as down and is logged."""
    parts = {}
    for name, check in checks.items():
        try:
            parts[name] = check()
        except Exception:  # a part's boundary: health must answer whatever breaks
            log.exception("a health check failed", extra={"part": name})
            parts[name] = Part(Condition.DOWN, {"error": "the check failed, see the log"})
    return Report(parts)


def database(db: Database) -> Check:
    """Down when the database does not answer."""

    def check() -> Part:
        began = time.perf_counter()
        with db.read() as connection:
            connection.execute(sa.text("SELECT 1"))
        elapsed = 1000 * (time.perf_counter() - began)
        return Part.of(True, backend=db.url.get_backend_name(), elapsed_ms=round(elapsed, 2))

    return check


def ae_config(live: LiveAeConfig) -> Check:
    """Degraded when the files on disk are bad: the last good configuration stays in force."""

    def check() -> Part:
        fault = live.fault
        return Part(
            Condition.OK if fault is None else Condition.DEGRADED,
            {
                "version": live.current.version[:12],
                "valid": fault is None,
                "faults": [str(f) for f in fault.faults] if fault else [],
            },
        )

    return check


def disk(data_dir: Path, storage: StorageSettings) -> Check:
    """Degraded above the watermark (images are refused); down when nothing can be written."""

    def check() -> Part:
        look = machine.disk(data_dir)
        reserve = storage.reserve_gb * 1e9
        full = look.used_percent >= storage.watermark_percent or look.free < reserve
        condition = Condition.DEGRADED if full else Condition.OK
        return Part(
            Condition.DOWN if look.free == 0 else condition,
            {
                "used_percent": round(look.used_percent, 1),
                "free_bytes": look.free,
                "accepts_images": not full,
            },
        )

    return check


def delivery(db: Database) -> Check:
    """Degraded while a circuit is open or a result failed; lists both per destination."""

    def check() -> Part:
        with db.read() as connection:
            circuit_rows = connection.execute(sa.select(circuits)).all()
            query = sa.select(results.c.destination, results.c.state, sa.func.count().label("n"))
            query = query.where(results.c.state.in_(("PENDING", "SENDING", "WAITING", "FAILED")))
            query = query.group_by(results.c.destination, results.c.state)
            counts = connection.execute(query).all()
        open_circuits = [r for r in circuit_rows if r.state != "CLOSED"]
        failed = any(row.state == "FAILED" for row in counts)
        undelivered: dict[str, dict[str, int]] = {}
        for row in counts:
            undelivered.setdefault(row.destination or "", {})[row.state] = row.n
        bad = bool(open_circuits) or failed
        return Part(
            Condition.DEGRADED if bad else Condition.OK,
            {"circuits": [_circuit(row) for row in circuit_rows], "undelivered": undelivered},
        )

    return check


def _circuit(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "destination": row.destination,
        "state": row.state,
        "failures": row.failures,
        "reason": row.reason,
        "changed_at": rfc3339(row.changed_at),
        "retry_at": None if row.retry_at is None else rfc3339(row.retry_at),
    }


def mqtt(publisher: Publisher | None, db: Database) -> Check:
    """Degraded while the broker is away; events wait on disk meanwhile."""

    def check() -> Part:
        if publisher is None:
            return Part(Condition.OK, {"configured": False})
        state = publisher.state
        return Part(
            Condition.OK if state.connected else Condition.DEGRADED,
            {
                "configured": True,
                "connected": state.connected,
                "since": rfc3339(state.since),
                "error": state.error,
                "waiting": waiting(db),
            },
        )

    return check


EXECUTOR_FRESH_SECONDS = 30.0
"""How old the executor's answer may be: asking it starts a sandbox."""


def executor(name: str, check: Callable[[], list[str]]) -> Check:
    """Down when the engine that runs operators says that it cannot."""
    lock = threading.Lock()
    known: list[tuple[float, list[str]]] = []

    def answer() -> Part:
        with lock:
            if not known or time.monotonic() - known[0][0] > EXECUTOR_FRESH_SECONDS:
                known[:] = [(time.monotonic(), check())]
            faults = known[0][1]
        return Part.of(not faults, engine=name, faults=faults)

    return answer


def traces(state: TraceState) -> Part:
    """Degraded while the collector takes nothing: traces wait."""
    condition = Condition.OK if state.error is None else Condition.DEGRADED
    return Part(condition, {"waiting": state.waiting, "error": state.error})
