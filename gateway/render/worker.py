"""The agent ``renderserver``: makes what was registered for it ready to be looked at.

A result is DELIVERED when every volume of it was read and lies in the cache, FAILED with the reason
when one cannot be.  The cache may lose it again: then it is made when somebody looks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.engine import Database
from gateway.database.schema import result_files, results
from gateway.delivery.rounds import Rounds
from gateway.errors import GatewayError, Permanent
from gateway.events.wake import Topic, Wakeups
from gateway.render.cache import Cache
from gateway.render.datasets import Datasets
from gateway.render.errors import NotReady, Unreadable
from gateway.results.agents import RENDER_SERVER
from gateway.results.backoff import Backoff
from gateway.results.records import move
from gateway.results.states import Event, FileState, State

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 5.0
STOP_SECONDS: Final = 10.0
_STEP_SECONDS: Final = 0.5
_TIDY_SECONDS: Final = 60.0


@dataclass(frozen=True)
class _Due:
    id: str
    retries: int


class RenderWorker:
    """Works off the results of ``renderserver``; run it in a thread of its own."""

    def __init__(
        self, database: Database, wakeups: Wakeups, datasets: Datasets, cache: Cache
    ) -> None:
        self._database = database
        self._wakeups = wakeups
        self._datasets = datasets
        self._cache = cache
        self._rounds = Rounds(
            wakeups, Topic.RENDER, poll_seconds=POLL_SECONDS, stop_seconds=STOP_SECONDS
        )
        self._tidied = 0.0

    def run(self) -> None:
        """Make volumes until :meth:`stop`."""
        self._rounds.run(self._look, "render worker cannot look for work")

    def stop(self) -> None:
        """Let :meth:`run` return; what is being made is left for the next start."""
        self._rounds.stop()

    def _look(self) -> None:
        if time.monotonic() - self._tidied > _TIDY_SECONDS:
            self._tidied = time.monotonic()
            self._cache.tidy()
        while not self._rounds.stopping():
            due = self._claim()
            if due is None:
                return
            self._serve(due)

    def _claim(self) -> _Due | None:
        """Take the oldest due result."""
        over = sa.and_(results.c.state == State.WAITING, results.c.next_at <= time.time())
        query = (
            sa.select(results.c.id, results.c.retries)
            .where(
                sa.func.lower(results.c.agent) == RENDER_SERVER,
                results.c.deliverable.is_(True),
                sa.or_(results.c.state == State.PENDING, over),
            )
            .order_by(results.c.created_at, results.c.id)
            .limit(1)
        )
        with self._database.read() as connection:
            if connection.execute(query).first() is None:
                return None
        with self._write() as connection:
            row = connection.execute(query.with_for_update()).first()
            if row is None:
                return None
            move(connection, row.id, Event.CLAIM)
            return _Due(row.id, row.retries)

    def _serve(self, due: _Due) -> None:
        """Make every volume of one result and write down how it ended."""
        try:
            reason = self._make(due.id)
        except Permanent as error:
            self._end(due, Event.FAIL, str(error))
        except (GatewayError, OSError) as error:
            self._end(due, Event.POSTPONE, f"it cannot be made now ({type(error).__name__})")
        except Exception:
            # Boundary of a result: none may stay SENDING for ever, and the next one is due.
            log.exception("a result cannot be rendered", extra={"result_id": due.id})
            self._end(due, Event.FAIL, "internal error, see the log")
        else:
            self._end(due, reason, None)

    def _make(self, result_id: str) -> Event:
        dataset = self._datasets.get(f"r{result_id}")
        if not dataset.volumes:
            raise Unreadable(
                "Nothing here can be shown: no NIfTI or MetaImage file, no DICOM series of images "
                "and no Segmentation."
            )
        for volume in dataset.volumes:
            while not self._rounds.stopping():
                try:
                    self._cache.whole(dataset, volume, _STEP_SECONDS)
                    break
                except NotReady:
                    continue
        return Event.INTERRUPT if self._rounds.stopping() else Event.DELIVER

    def _end(self, due: _Due, event: Event, reason: str | None) -> None:
        with self._write() as connection:
            if event is Event.POSTPONE:
                tries = due.retries + 1
                again = time.time() + Backoff().wait(tries)
                move(connection, due.id, event, reason=reason, retries=tries, next_at=again)
                return
            move(connection, due.id, event, reason=reason)
            if event is Event.INTERRUPT:
                return
            state = FileState.SENT if event is Event.DELIVER else FileState.FAILED
            sent = time.time() if event is Event.DELIVER else None
            connection.execute(
                sa.update(result_files)
                .where(result_files.c.result_id == due.id)
                .values(state=state, sent_at=sent, attempts=result_files.c.attempts + 1)
            )

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._database.begin() as connection:
            yield connection
        self._wakeups.notify(Topic.EVENTS)
