"""Spans to an OpenTelemetry collector, over OTLP/HTTP.

The worker follows the events as the MQTT publisher does: how far it came is a record, moved on only
when the collector has taken the spans.  A collector that is away costs time, never spans, and a
trace goes on after a restart as if there had been none.
"""

from __future__ import annotations

import logging
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gateway.database.engine import Database
from gateway.database.schema import events, trace_position
from gateway.errors import Permanent
from gateway.monitor.traces.spans import BATCH, Span, read, spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
SETTLE_SECONDS = 2.0
"""Events are read when they are this old: the transactions beside them have ended by then."""
EXPORT_SECONDS = 10.0
"""How long the collector may take for one batch."""
LONGEST_WAIT = 30.0
PATH = "/v1/traces"
"""Where a collector takes traces unless the URL says otherwise (OTLP specification)."""


class NoTraces(Permanent):
    """Traces are asked for and cannot be sent: the extra is missing, or the URL is none."""


@dataclass(frozen=True)
class TraceState:
    """How the export is doing, for ``/health``."""

    error: str | None
    """Why the collector has not taken the last batch; None when it has."""
    waiting: int
    """Events that are not told of yet."""


class TraceExporter:
    """The worker that sends traces; one per database, as the journal."""

    def __init__(
        self,
        database: Database,
        url: str,
        version: str,
        *,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        """Raises :class:`NoTraces`; a database without a position begins with what comes now."""
        self._send = _sender(endpoint(url), version)
        self._database = database
        self._settle_seconds = settle_seconds
        self._stop = threading.Event()
        self._error: str | None = None
        self._position = self._begin()

    def run(self) -> None:
        """Export until :meth:`stop`; what is left is exported after the next start."""
        wait = POLL_SECONDS
        while not self._stop.is_set():
            wait = POLL_SECONDS if self._turn() else min(wait * 2, LONGEST_WAIT)
            self._stop.wait(wait)

    def stop(self) -> None:
        """Let :meth:`run` end, at the latest when the collector has answered."""
        self._stop.set()

    @property
    def state(self) -> TraceState:
        """The present state; any thread."""
        with self._database.read() as connection:
            query = sa.select(sa.func.count()).where(events.c.seq > self._position)
            return TraceState(self._error, connection.execute(query).scalar_one())

    def _begin(self) -> int:
        with self._database.begin() as connection:
            found = connection.execute(sa.select(trace_position.c.seq)).scalar()
            if found is not None:
                return int(found)
            last = connection.execute(sa.select(sa.func.max(events.c.seq))).scalar() or 0
            connection.execute(sa.insert(trace_position), {"id": 1, "seq": last})
        return int(last)

    def _turn(self) -> bool:
        """Export what there is; False when the collector or the database is away."""
        try:
            while not self._stop.is_set() and self._batch() == BATCH:
                pass
        except Exception as error:
            # Task boundary: traces go on when the database and the collector are there again.
            if self._error is None:
                log.exception("traces wait")
            self._error = f"{type(error).__name__}: see the log"
            return False
        return self._error is None

    def _batch(self) -> int:
        with self._database.read() as connection:
            rows = read(connection, self._position, time.time() - self._settle_seconds)
            found = spans(connection, rows)
        if found and not self._send(found):
            if self._error is None:
                log.warning("the trace collector takes nothing; traces wait")
            self._error = "the collector takes nothing"
            return 0
        if rows:
            self._move(rows[-1].seq)
        if self._error is not None:
            log.info("traces go on")
            self._error = None
        return len(rows)

    def _move(self, seq: int) -> None:
        with self._database.begin() as connection:
            connection.execute(sa.update(trace_position).values(seq=seq))
        self._position = seq


def endpoint(url: str) -> str:
    """Where traces go; raises :class:`NoTraces` for what is no http(s) URL."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise NoTraces("traces.url must be http://host[:port][/path] or https://…")
    if parts.path in {"", "/"}:
        parts = parts._replace(path=PATH)
    return urllib.parse.urlunsplit(parts)


def _sender(url: str, version: str) -> Callable[[Sequence[Span]], bool]:
    """What sends spans and says whether the collector took them."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import SpanExportResult
    except ImportError as error:
        raise NoTraces("traces.url is set; install gateway[otel] for it") from error
    exporter = OTLPSpanExporter(endpoint=url, timeout=EXPORT_SECONDS)
    resource = Resource.create({"service.name": "gateway", "service.version": version})

    def send(found: Sequence[Span]) -> bool:
        readable = [_readable(span, resource) for span in found]
        return exporter.export(readable) is SpanExportResult.SUCCESS

    return send


def _readable(span: Span, resource: Any) -> ReadableSpan:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(identifier: str) -> SpanContext:
        return SpanContext(
            int(span.trace, 16), int(identifier, 16), False, TraceFlags(TraceFlags.SAMPLED)
        )

    return ReadableSpan(
        span.name,
        context(span.id),
        None if span.parent is None else context(span.parent),
        resource,
        span.attributes,
        kind=SpanKind.CLIENT if span.outwards else SpanKind.INTERNAL,
        status=Status(StatusCode.OK if span.error is None else StatusCode.ERROR, span.error),
        start_time=int(span.began * 1e9),
        end_time=int(span.ended * 1e9),
    )
