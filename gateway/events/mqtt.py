"""The MQTT publisher: the events table is its outbox, so a broker may be away as long as it likes.

One thread with an asyncio loop of its own holds one connection.  Unpublished events are sent in
the order of their commits at QoS 1 and marked only after the broker's acknowledgement: each
arrives at least once, in order.  ``<prefix>/gateway/status`` is retained: online while connected,
offline by the last will or when the gateway stops.  Nothing here ever holds up another room.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import ssl
import threading
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiomqtt
import sqlalchemy as sa

from gateway.database.engine import Database
from gateway.database.schema import events
from gateway.errors import Permanent
from gateway.events.privacy import scrub
from gateway.events.times import rfc3339
from gateway.events.wake import Topic, Wakeups

log = logging.getLogger(__name__)

BATCH = 200
"""Events read from the outbox at once."""
WINDOW = 8
"""Events on the wire before their acknowledgements are awaited."""
POLL_SECONDS = 1.0
"""How often the outbox is looked at without a hint."""
BACK_OFF = (0.5, 30.0)
"""First and longest wait before connecting again, in seconds."""
KEEP_ALIVE = 20
"""Seconds after which the broker declares a silent gateway dead (times 1.5)."""

_IDENTIFIERS = ("correlation_id", "association_id", "payload_id", "job_id", "result_id")


class MqttUrlError(Permanent):
    """The setting ``mqtt.url`` is no MQTT URL."""


@dataclass(frozen=True)
class Broker:
    """Where the broker is."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Broker:
        """Read ``mqtt://[user:password@]host[:port]`` or ``mqtts://…``."""
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or port == -1:
            raise MqttUrlError("mqtt.url must be mqtt://[user:password@]host[:port] or mqtts://…")
        tls = parts.scheme == "mqtts"
        unquote = urllib.parse.unquote
        return cls(
            host=parts.hostname,
            port=port or (8883 if tls else 1883),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=tls,
        )


@dataclass(frozen=True)
class MqttState:
    """How the publisher is doing, for ``/health``."""

    connected: bool
    since: float
    """When ``connected`` last changed."""
    error: str | None
    """Why it is not connected."""


def message(row: sa.Row[Any]) -> bytes:
    """The JSON payload of one event: id, time, identifiers, then its data."""
    body: dict[str, Any] = {"id": row.id, "time": rfc3339(row.time), "kind": row.kind}
    body |= {n: getattr(row, n) for n in _IDENTIFIERS if getattr(row, n) is not None}
    data = scrub(row.data or {})
    body |= {key: value for key, value in data.items() if key not in body}
    return json.dumps(body, ensure_ascii=False, allow_nan=False, default=str).encode()


def waiting(database: Database) -> int:
    """How many events the broker has not acknowledged yet."""
    with database.read() as connection:
        query = sa.select(sa.func.count()).where(events.c.published.is_(False))
        return connection.execute(query.select_from(events)).scalar_one()


def discard_waiting(database: Database) -> int:
    """Mark every event as published; returns how many were waiting.

    For a gateway without ``mqtt.url``: a broker that is set up months later must not receive all
    that happened before.  Call it at start-up.
    """
    with database.begin() as connection:
        query = sa.update(events).where(events.c.published.is_(False)).values(published=True)
        return connection.execute(query).rowcount


class Publisher:
    """Sends events to the broker until :meth:`stop`; made by the composition root."""

    def __init__(self, database: Database, wakeups: Wakeups, url: str, prefix: str) -> None:
        """Raises :class:`MqttUrlError`; connects only after :meth:`start`."""
        self._broker = Broker.parse(url)
        self._database = database
        self._wakeups = wakeups
        self._prefix = prefix.rstrip("/")
        self._state = MqttState(False, time.time(), "not started")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Start the thread; returns at once whether or not the broker is there."""
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Say offline, disconnect and end the thread; what waits is sent after the next start."""
        self._stopping.set()
        self._wakeups.notify(Topic.EVENTS)
        if self._thread.is_alive():
            self._thread.join(timeout)

    @property
    def state(self) -> MqttState:
        """The present state; any thread."""
        return self._state

    def _run(self) -> None:
        asyncio.run(self._connect_for_ever())

    async def _connect_for_ever(self) -> None:
        wait = BACK_OFF[0]
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                await self._session()
            except (aiomqtt.MqttError, OSError) as error:
                self._lost(str(error) or type(error).__name__)
            except Exception:  # the thread's boundary: it must outlive any fault
                log.exception("the MQTT publisher failed and tries again")
                self._lost("internal fault, see the log")
            if time.monotonic() - began > BACK_OFF[1]:
                wait = BACK_OFF[0]
            # Jitter: many gateways must not storm a broker that just came back.
            jitter = random.uniform(0.7, 1.3)  # noqa: S311
            await asyncio.to_thread(self._stopping.wait, wait * jitter)
            wait = min(wait * 2, BACK_OFF[1])

    async def _session(self) -> None:
        """One connection, until it breaks (raises) or the gateway stops (returns)."""
        topic = f"{self._prefix}/gateway/status"
        will = aiomqtt.Will(topic, json.dumps({"state": "offline"}), qos=1, retain=True)
        async with self._client(will) as client:
            await client.publish(topic, json.dumps({"state": "online"}), qos=1, retain=True)
            self._connected()
            watch = asyncio.create_task(_drain(client))
            send = asyncio.create_task(self._send(client))
            try:
                await asyncio.wait({watch, send}, return_when=asyncio.FIRST_COMPLETED)
                for task in (watch, send):
                    if task.done():
                        task.result()
                # A clean disconnect cancels the will, so say it ourselves.
                await client.publish(topic, json.dumps({"state": "offline"}), qos=1, retain=True)
            finally:
                await _cancel(watch, send)
        self._state = MqttState(False, time.time(), "stopped")

    def _client(self, will: aiomqtt.Will) -> aiomqtt.Client:
        broker = self._broker
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            tls_context=ssl.create_default_context() if broker.tls else None,
            will=will,
            keepalive=KEEP_ALIVE,
            timeout=10,
        )

    async def _send(self, client: aiomqtt.Client) -> None:
        """Empty the outbox again and again; returns when the gateway stops."""
        while not self._stopping.is_set():
            rows = await asyncio.to_thread(self._unpublished)
            for start in range(0, len(rows), WINDOW):
                if self._stopping.is_set():
                    return
                window = rows[start : start + WINDOW]
                await self._publish(client, window)
                await asyncio.to_thread(self._mark, [row.seq for row in window])
            if len(rows) < BATCH:
                await asyncio.to_thread(self._wakeups.wait, Topic.EVENTS, POLL_SECONDS)

    async def _publish(self, client: aiomqtt.Client, rows: Sequence[sa.Row[Any]]) -> None:
        # Tasks start in the order they are made, and each hands its message to the connection
        # before it first waits: the window keeps its order on the wire.
        await asyncio.gather(
            *(client.publish(f"{self._prefix}/{row.kind}", message(row), qos=1) for row in rows)
        )

    def _unpublished(self) -> Sequence[sa.Row[Any]]:
        query = sa.select(events).where(events.c.published.is_(False))
        with self._database.read() as connection:
            return connection.execute(query.order_by(events.c.seq).limit(BATCH)).all()

    def _mark(self, numbers: list[int]) -> None:
        with self._database.begin() as connection:
            query = sa.update(events).where(events.c.seq.in_(numbers)).values(published=True)
            connection.execute(query)

    def _connected(self) -> None:
        self._state = MqttState(True, time.time(), None)
        log.info("connected to the MQTT broker", extra={"host": self._broker.host})

    def _lost(self, reason: str) -> None:
        if self._state.connected or self._state.error != reason:
            extra = {"host": self._broker.host, "reason": reason}
            log.warning("the MQTT broker is away, events wait", extra=extra)
        since = time.time() if self._state.connected else self._state.since
        self._state = MqttState(False, since, reason)


async def _drain(client: aiomqtt.Client) -> None:
    """Raise as soon as the connection breaks; nothing is subscribed, so nothing else happens."""
    async for _ in client.messages:
        continue


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        # Its fault, if any, was raised already by whoever waited first.
        with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
            await task
