"""The applier: follows the logs, makes spool files, writes the index, frees segments.

The only reader of the logs and, of the hot path, the only writer of files and index::

    read     what the writers published, every STEP_SECONDS while they write
    files    each record's file, from the segment (or incoming/) into the spool, at once
    commit   index and position of the log in one transaction, when the writers pause or
             enough is gathered: a transaction costs as much as some dozens of records
    after    unlink what the index does not keep, answer who waits for a verdict, wake completion
    free     once enough segments are used: flush the files (durability: power), recycle
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError

from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.events.faults import point
from gateway.events.wake import Topic, Wakeups
from gateway.payloads.folders import Folders
from gateway.payloads.grouping import Verdict
from gateway.payloads.intake import apply
from gateway.payloads.intake.board import Board
from gateway.payloads.intake.files import SpoolFiles, sync_everything, yield_to_receivers
from gateway.payloads.intake.format import Kind, Record, Torn
from gateway.payloads.intake.reader import LogReader
from gateway.payloads.intake.segments import MAX_SEGMENTS, Segments
from gateway.payloads.receiving import Outcome, Status

log = logging.getLogger(__name__)

MAX_RECORDS = 512
"""Most records in one transaction."""
MAX_BYTES = 16 * 1024 * 1024
"""Most bytes made into files before their index is committed."""
STEP_SECONDS = 0.005
"""How often the logs are looked at while they grow."""
GATHER_SECONDS = 0.15
"""How long records gather at most before their transaction; a step without new ones ends it."""
_FEW = 16
"""Records that are not worth another look at once."""
_PATIENCE = 1.0
_RETRY_SECONDS = 1.0
_WITH_FILE = {Kind.INSTANCE, Kind.QUARANTINE}

Tell = Callable[[int, int, Outcome], None]
"""Takes a receiver, the number of an awaited verdict, and the answer."""


@dataclass(frozen=True)
class _Flush:
    """A flush of files that runs beside the applying."""

    future: Future[None]
    covers: int
    """Last sequence whose files it makes durable."""
    used: int
    """Bytes it covers."""


@dataclass
class _Log:
    """One receiver's log on its way into the index."""

    reader: LogReader
    applied: int
    """Last sequence that is in the index."""
    synced: int
    """Last sequence whose files are durable."""
    open: set[str] = field(default_factory=set)
    used: int = 0
    """Bytes applied since segments were freed last."""
    flush: _Flush | None = None
    unsure: bool = False
    """Whether the reader may be elsewhere than the index."""
    gathered: list[Record] = field(default_factory=list)
    """Records whose files are made and that are not in the index."""
    gathered_bytes: int = 0
    since: float = 0.0
    """When the first of them was gathered, by the monotonic clock."""

    def gather(self, batch: list[Record]) -> None:
        """Take records whose files are made."""
        if not self.gathered:
            self.since = time.monotonic()
        self.gathered += batch
        self.gathered_bytes += sum(record.header.length for record in batch)

    @property
    def full(self) -> bool:
        """Whether what is gathered must not wait for more."""
        return (
            len(self.gathered) >= MAX_RECORDS
            or self.gathered_bytes >= MAX_BYTES
            or time.monotonic() - self.since > GATHER_SECONDS
            or any("v" in record.meta for record in self.gathered)
        )

    def take(self) -> list[Record]:
        """What is gathered, which begins anew."""
        found, self.gathered, self.gathered_bytes = self.gathered, [], 0
        return found


class Applier:
    """One per data-dir; :meth:`run` in a thread of its own, the others from any thread."""

    def __init__(
        self,
        database: Database,
        folders: Folders,
        ae_config: LiveAeConfig,
        wakeups: Wakeups,
        board: Board,
        *,
        power: bool,
        tell: Tell,
    ) -> None:
        """``tell`` brings verdicts back to receivers; call :meth:`recover` before anything."""
        self._database = database
        self._folders = folders
        self._ae_config = ae_config
        self._wakeups = wakeups
        self._board = board
        self._power = power
        self._tell = tell
        self._files = SpoolFiles(folders)
        self._logs: dict[int, _Log] = {}
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="intake-flush")
        self._turning = threading.Lock()
        self._hint = threading.Event()
        self._stop = threading.Event()

    def attach(self, receiver: int, segment_size: int | None = None) -> Path:
        """Open the log of ``receiver`` where the index left it; returns its folder."""
        folder = self._folders.log / str(receiver)
        segments = Segments(folder, segment_size) if segment_size else Segments(folder)
        with self._database.read() as connection:
            seq = apply.position(connection, receiver)
        self._logs[receiver] = _Log(LogReader(segments, seq), seq, seq)
        return folder

    def position(self, receiver: int) -> int:
        """Last record of ``receiver`` that is in the index."""
        return self._logs[receiver].applied

    def mend(self, receiver: int, wanted: Callable[[str], bool]) -> int:
        """Make files again that a power cut took although they are indexed; returns how many.

        ``wanted`` says whether the index still knows a path.
        """
        reader = self._logs[receiver].reader
        mended = 0
        for record in reader.all():
            if record.seq > self._logs[receiver].applied or record.header.kind not in _WITH_FILE:
                continue
            if wanted(record.meta["p"]):
                mended += self._files.mend(record, reader.segments)
        return mended

    def drain(self, receiver: int) -> int:
        """Apply everything whole of a log whose writer is dead; returns the last sequence.

        Raises what the disk or the database raises.
        """
        with self._turning:
            entry = self._logs[receiver]
            entry.reader.segments.sync()
            entry.unsure = True
            self._look_up(receiver, entry)
            while True:
                while batch := self._read(entry, None):
                    self._make(entry, batch)
                    self._commit(receiver, entry)
                # Behind a gap lies what an older index knew: it was restored, or is new.
                beyond = entry.reader.beyond()
                if beyond is None:
                    break
                log.warning("a gap in the log", extra={"after": entry.applied, "next": beyond})
                entry.reader.rewind(beyond - 1)
            self._free(receiver, entry, everything=True)
            return entry.applied

    @property
    def busy(self) -> bool:
        """True while a batch is on its way into the index."""
        return self._turning.locked()

    def orphans(self, receiver: int) -> set[str]:
        """Associations of ``receiver`` that are open on record; forgets them."""
        entry = self._logs[receiver]
        found, entry.open = entry.open, set()
        return found

    def wake(self) -> None:
        """Look now."""
        self._hint.set()

    def run(self) -> None:
        """Apply until :meth:`stop`, then what was published last."""
        yield_to_receivers()
        while not self._stop.is_set():
            if not self._turn():
                self._sleep()
            elif not self._stop.is_set():
                self._stop.wait(STEP_SECONDS)
        while self._turn():
            pass

    def stop(self) -> None:
        """Let :meth:`run` end; the receivers have ended before."""
        self._stop.set()
        self._hint.set()

    def close(self) -> None:
        """Make every file durable, so that the next start has nothing to mend, and close."""
        with self._turning:
            for receiver, entry in self._logs.items():
                self._free(receiver, entry, everything=True)
                entry.reader.segments.close()
        self._flusher.shutdown()
        self._files.close()

    def _sleep(self) -> None:
        for receiver in self._logs:
            self._board.sleeping(receiver)
        # Published before the receiver could see that a hint is wanted: no hint will come.
        if any(self._board.visible(r) > e.applied for r, e in self._logs.items()):
            return
        if self._hint.wait(_PATIENCE):
            self._hint.clear()
            self._stop.wait(STEP_SECONDS)
        else:
            self._turn(idle=True)

    def _turn(self, *, idle: bool = False) -> bool:
        """Take what is new in each log; False when nothing was or could be done."""
        worked = False
        for receiver, entry in list(self._logs.items()):
            with self._turning:
                try:
                    self._look_up(receiver, entry)
                    followed = self._follow(receiver, entry)
                    self._free(receiver, entry, idle=idle)
                    # Only now: a gateway that stops must not try for ever what cannot be done.
                    worked = worked or followed
                except Exception:
                    # Boundary of the task: receivers go on while the disk or the database is
                    # away, until their log is full; then they refuse, and nothing is lost.
                    log.exception("the intake cannot go on, tries again")
                    entry.unsure = True
                    self._stop.wait(_RETRY_SECONDS)
        return worked

    def _follow(self, receiver: int, entry: _Log) -> bool:
        """Take what is new until little is left; False when there was nothing to do."""
        worked = False
        while True:
            batch = self._read(entry, self._board.visible(receiver))
            self._make(entry, batch)
            if entry.gathered:
                worked = True
                if not batch or entry.full:
                    self._commit(receiver, entry)
            if self._board.visible(receiver) - entry.reader.after < _FEW:
                return worked

    def _look_up(self, receiver: int, entry: _Log) -> None:
        """After a fault, go on where the index says: a commit may have got through."""
        if entry.unsure:
            with self._database.read() as connection:
                entry.applied = apply.position(connection, receiver)
            entry.reader.rewind(entry.applied)
            entry.take()
            entry.unsure = False

    def _read(self, entry: _Log, visible: int | None) -> list[Record]:
        """The next records, up to ``visible``, or as far as they are whole when None."""
        reader, size = entry.reader, 0
        found: list[Record] = []
        while len(found) < MAX_RECORDS and size < MAX_BYTES:
            if visible is not None and reader.after >= visible:
                break
            try:
                record = reader.next(verify=visible is None)
            except Torn:
                if visible is None:
                    break
                raise
            found.append(record)
            size += record.header.length
        return found

    def _make(self, entry: _Log, batch: list[Record]) -> None:
        """Make the files of ``batch`` and gather it."""
        with_file = [record for record in batch if record.header.kind in _WITH_FILE]
        self._files.make_all(with_file, entry.reader.segments)
        entry.gather(batch)

    def _commit(self, receiver: int, entry: _Log) -> None:
        """Put what is gathered into the index."""
        size = entry.gathered_bytes
        batch = entry.take()
        self._index(receiver, batch)
        entry.applied = batch[-1].seq
        entry.used += size
        self._note(entry, batch)

    def _index(self, receiver: int, batch: list[Record]) -> None:
        """Commit ``batch``; when the index refuses it, each record alone, so a bad one is alone."""
        point("log.applied.before")
        try:
            with self._database.begin() as connection:
                verdicts = apply.apply(connection, batch, self._ae_config.current)
                apply.advance(connection, receiver, batch[-1].seq)
        except (OperationalError, InterfaceError, OSError):
            raise
        except Exception as error:
            # Boundary of a batch: whatever one record raises must not hold up the others.
            log.exception("the index refuses a batch", extra={"records": len(batch)})
            if len(batch) > 1:
                for record in batch:
                    self._index(receiver, [record])
                return
            verdicts = self._set_aside(receiver, batch[0], error)
        point("log.applied.after")
        self._conclude(receiver, batch, verdicts)

    def _set_aside(self, receiver: int, record: Record, error: Exception) -> dict[int, Verdict]:
        """Keep an instance that the index refuses visible in the quarantine, and go on."""
        with self._database.begin() as connection:
            if record.header.kind is Kind.INSTANCE:
                apply.set_aside(connection, record, f"index fault ({type(error).__name__})")
            apply.advance(connection, receiver, record.seq)
        outcome = Outcome(Status.PROCESSING_FAILURE, "internal fault, see the gateway's log")
        return {record.seq: Verdict(outcome, kept=True)}

    def _note(self, entry: _Log, batch: list[Record]) -> None:
        for record in batch:
            if record.header.kind is Kind.OPENED:
                entry.open.add(record.meta["w"][0])
            elif record.header.kind is Kind.CLOSED:
                entry.open.discard(record.meta["w"][0])

    def _conclude(self, receiver: int, batch: list[Record], verdicts: dict[int, Verdict]) -> None:
        for record in batch:
            verdict = verdicts.get(record.seq)
            if verdict is None:
                continue
            if not verdict.kept:
                self._files.remove(record)
            number = record.meta.get("v")
            if number is not None:
                self._tell(receiver, number, verdict.outcome)
        self._wakeups.notify(Topic.PAYLOADS, Topic.EVENTS)

    def _free(
        self, receiver: int, entry: _Log, *, idle: bool = False, everything: bool = False
    ) -> None:
        """Let segments be overwritten whose files are durable.

        Flushing is left to the kernel for as long as there is room: it disturbs who waits for
        the flush of a record.  It runs beside the applying, so that the index does not wait.
        """
        if not self._power:
            entry.synced, entry.used = entry.applied, 0
        elif everything:
            self._take_up(entry)
            if entry.used:
                sync_everything(self._folders.root)
                entry.synced, entry.used = entry.applied, 0
        else:
            if entry.flush is not None and entry.flush.future.done():
                self._take_up(entry)
            room = entry.reader.segments.size * (1 if idle else MAX_SEGMENTS // 2)
            if entry.flush is None and entry.used > room:
                self._begin_flush(entry)
        if entry.synced > self._board.recycled(receiver):
            self._board.recycle(receiver, entry.synced)

    def _begin_flush(self, entry: _Log) -> None:
        future = self._flusher.submit(sync_everything, self._folders.root)
        entry.flush = _Flush(future, entry.applied, entry.used)
        entry.used = 0
        # A receiver may wait for room: look as soon as there is some.
        future.add_done_callback(lambda _: self._hint.set())

    def _take_up(self, entry: _Log) -> None:
        """Note what a flush made durable, waiting for its end; raises what it raised."""
        flush, entry.flush = entry.flush, None
        if flush is None:
            return
        try:
            flush.future.result()
        except OSError:
            entry.used += flush.used
            raise
        entry.synced = flush.covers
