"""``/api/v1/stream``: every event as it happens, as server-sent events.

A message is what ``GET /api/v1/events`` shows; its ``id`` is the event's number, so a browser that
was cut off goes on where it was.  Who asks is asked again and again: a stream ends with its
session.  Streams are few, so that they leave room for other calls.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from gateway.database.engine import Database
from gateway.database.schema import events
from gateway.web.accounts.accounts import Accounts
from gateway.web.accounts.attempts import TooMany
from gateway.web.accounts.roles import Identity
from gateway.web.records import all_shown, columns
from gateway.web.services import Given
from gateway.web.signing import TheAccounts, Who

MOST = 64
"""Streams at once."""
MOST_EACH = 8
"""Streams at once of one user or token, or of one address where nobody signs in."""
POLL_SECONDS = 0.5
"""How soon an event is seen."""
BEAT_SECONDS = 15.0
"""Longest silence."""
ASK_SECONDS = 2.0
"""How soon a stream ends after its session."""
BATCH = 200
"""Most events of one look."""
MOST_MISSED = 5000
"""Who missed more starts anew."""
_OVERLAP = 100
"""How far back a look goes: PostgreSQL may show a lower number after a higher one."""

router = APIRouter(prefix="/api/v1", tags=["events"])


class TooManyStreams(TooMany):
    """There are as many streams as there may be."""


class Streams:
    """Counts those that are open; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._closing = False

    @property
    def closing(self) -> bool:
        """True once the server stops: every stream ends."""
        return self._closing

    def close(self) -> None:
        """Let every stream end."""
        self._closing = True

    def take(self, who: Identity) -> str:
        """Take a place; returns what :meth:`free` wants.  Raises :class:`TooManyStreams`."""
        name = f"user {who.user}" if who.user is not None else f"address {who.address}"
        with self._lock:
            if self._open.total() >= MOST or self._open[name] >= MOST_EACH:
                raise TooManyStreams("There are too many streams already.", retry_after=10)
            self._open[name] += 1
        return name

    def free(self, name: str) -> None:
        """Give a place back."""
        with self._lock:
            self._open[name] -= 1
            self._open += Counter()


class _Answer(StreamingResponse):
    """Holds its place until it ended, however it does."""

    def __init__(self, texts: AsyncIterator[str], free: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(texts, media_type="text/event-stream", headers=headers)
        self._free = free

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._free()


@dataclass
class Follower:
    """Reads events in their order, each once."""

    database: Database
    last: int
    """The highest number that was given."""
    _given: deque[int] = field(default_factory=lambda: deque(maxlen=4 * _OVERLAP + BATCH))

    def start(self, after: int | None) -> bool:
        """Begin after an event, or now; False when too much was missed."""
        with self.database.read() as connection:
            newest = int(connection.scalar(sa.select(sa.func.max(events.c.seq))) or 0)
            kept = after is not None and newest - MOST_MISSED <= after <= newest
            self.last = after if kept and after is not None else newest
            query = sa.select(events.c.seq).where(
                events.c.seq <= self.last, events.c.seq > self.last - _OVERLAP
            )
            self._given.extend(connection.execute(query.order_by(events.c.seq)).scalars())
        return kept or after is None

    def look(self) -> list[tuple[int, dict[str, Any]]]:
        """What is new, at most :data:`BATCH`: number and event."""
        floor = self.last - _OVERLAP
        query = (
            sa.select(*columns(events), events.c.seq)
            .where(events.c.seq > floor, events.c.seq.not_in(self._recent(floor)))
            .order_by(events.c.seq)
            .limit(BATCH)
        )
        with self.database.read() as connection:
            rows = all_shown(connection.execute(query).mappings())
        found = []
        for row in rows:
            number = int(row.pop("seq"))
            self._given.append(number)
            self.last = max(self.last, number)
            found.append((number, row))
        return found

    def _recent(self, floor: int) -> list[int]:
        return [number for number in self._given if number > floor]


@router.get("/stream", include_in_schema=False)
async def stream(
    request: Request,
    services: Given,
    accounts: TheAccounts,
    who: Who,
    after: Annotated[int | None, Query(ge=0, le=1 << 62)] = None,
) -> StreamingResponse:
    """Follow events as server-sent events; goes on after ``Last-Event-ID``, else ``after``."""
    streams: Streams = request.app.state.streams
    place = streams.take(who)
    follower = Follower(services.database, 0)
    try:
        whole = await run_in_threadpool(follower.start, _resumed(request, after))
    except BaseException:
        streams.free(place)
        raise
    follow = _follow(request, streams, accounts, who, follower)
    return _Answer(_messages(follow, whole=whole), lambda: streams.free(place))


async def _messages(follow: AsyncIterator[str], *, whole: bool) -> AsyncIterator[str]:
    # At once, so that whoever asked knows that it is heard.
    yield ": open\n\n" if whole else _message("reset", {"reason": "too much was missed"})
    async for text in follow:
        yield text


async def _follow(
    request: Request, streams: Streams, accounts: Accounts, who: Identity, follower: Follower
) -> AsyncIterator[str]:
    spoke = asked = time.monotonic()
    while not streams.closing and not await request.is_disconnected():
        now = time.monotonic()
        if now - asked >= ASK_SECONDS:
            asked = now
            if not await run_in_threadpool(accounts.lives, who):
                yield _message("end", {"reason": "the session ended"})
                return
        found = await run_in_threadpool(follower.look)
        for number, event in found:
            yield f"id: {number}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
        if found:
            spoke = now
        elif now - spoke >= BEAT_SECONDS:
            spoke = now
            yield ": beat\n\n"
        if len(found) < BATCH:
            await asyncio.sleep(POLL_SECONDS)


def _message(event: str, data: dict[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


def _resumed(request: Request, after: int | None) -> int | None:
    given = request.headers.get("last-event-id", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else after
