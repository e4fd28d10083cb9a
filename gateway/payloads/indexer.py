"""The index: one transaction for all instances that are waiting, so flushes are shared.

Receiver threads hand in instances that already lie durably in the spool and wait for the
verdict.  One thread takes everything that waits, syncs the folders it lies in, runs
:func:`gateway.payloads.grouping.place` for each and commits once.  When a transaction fails, its
instances are tried one by one, so a bad one fails alone.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from gateway.config.applications import Application
from gateway.database.engine import Database
from gateway.events.faults import point
from gateway.events.wake import Topic, Wakeups
from gateway.payloads import counting, quarantine
from gateway.payloads.folders import Folders, sync_folder
from gateway.payloads.grouping import Verdict, place
from gateway.payloads.receiving import Arrival

if TYPE_CHECKING:
    from gateway.payloads.arrived import Received

log = logging.getLogger(__name__)

MAX_BATCH = 256
"""Most instances in one transaction: bounds how long a reader of the verdict waits."""


@dataclass(frozen=True)
class _Entry:
    work: Callable[[Connection], Verdict | None]
    folder: Path | None
    future: Future[Verdict | None] = field(default_factory=Future)


class Indexer:
    """The thread that writes the index; made once per process."""

    def __init__(self, database: Database, folders: Folders, wakeups: Wakeups) -> None:
        self._database = database
        self._folders = folders
        self._wakeups = wakeups
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        self._thread.start()

    def index(self, received: Received, application: Application, *, sync: bool) -> Verdict:
        """Index one instance; returns when its record is durable, or raises what went wrong."""
        folder = self._folders.root / Path(received.path).parent if sync else None
        verdict = self._submit(lambda c: place(c, received, application), folder)
        assert verdict is not None  # noqa: S101 - place() always gives one
        return verdict

    def quarantine(self, arrival: Arrival, item_id: str, path: str, size: int, reason: str) -> None:
        """Record a data set that cannot be indexed; durable when it returns."""

        def work(connection: Connection) -> None:
            quarantine.add(connection, arrival, item_id, path, size, reason, time.time())

        self._submit(work, None)

    def ignored(self, arrival: Arrival) -> None:
        """Count an instance that was answered Success and not kept."""
        self._submit(lambda c: counting.ignored(c, arrival, "SOP class"), None)

    def refused(self, arrival: Arrival) -> None:
        """Count an instance that was answered with a failure; never raises."""
        self._queue.put(_Entry(lambda c: counting.refused(c, arrival), None))

    def stop(self) -> None:
        """Finish what was handed in and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _submit(
        self, work: Callable[[Connection], Verdict | None], folder: Path | None
    ) -> Verdict | None:
        entry = _Entry(work, folder)
        self._queue.put(entry)
        return entry.future.result()

    def _run(self) -> None:
        going = True
        while going:
            entries = [self._queue.get()]
            while len(entries) < MAX_BATCH and not self._queue.empty():
                entries.append(self._queue.get())
            going = None not in entries
            self._batch([entry for entry in entries if entry is not None])

    def _batch(self, entries: Sequence[_Entry]) -> None:
        try:
            verdicts = self._commit(entries)
        except Exception as error:
            # Task boundary: whatever one instance raised must not end the receiver.
            if len(entries) > 1:
                for entry in entries:
                    self._batch([entry])
                return
            for entry in entries:
                log.exception("index transaction failed")
                entry.future.set_exception(error)
            return
        for entry, verdict in zip(entries, verdicts, strict=True):
            entry.future.set_result(verdict)
        self._wakeups.notify(Topic.PAYLOADS, Topic.EVENTS)

    def _commit(self, entries: Sequence[_Entry]) -> list[Verdict | None]:
        for folder in {entry.folder for entry in entries if entry.folder is not None}:
            sync_folder(folder)
        point("instance.retry.before")
        with self._database.begin() as connection:
            verdicts = [entry.work(connection) for entry in entries]
        point("instance.retry.after")
        return verdicts
