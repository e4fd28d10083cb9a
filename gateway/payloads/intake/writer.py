"""Appending to the log: one system call per record, flushes shared by all who wait.

Used by every thread of one receiver.  Records are written one after the other under a lock, so
the log has no holes; whoever wants its record flushed either leads one ``fdatasync`` for
everything written so far or waits for the leader.
"""

from __future__ import annotations

import collections
import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from gateway.events.faults import point
from gateway.payloads.intake.board import Board
from gateway.payloads.intake.format import Kind, encode, padding
from gateway.payloads.intake.segments import MAX_SEGMENTS, Segments

log = logging.getLogger(__name__)

FULL_SECONDS = 30.0
"""Longest wait for the applier to free a segment before an instance is refused."""
_POLL_SECONDS = 0.002
_PADDING = bytes(4096)
_NO_DATA = memoryview(b"")


class Unflushed(OSError):  # noqa: N818 - a state of the record, read as "raise Unflushed"
    """A record is written but not known to be on disk: it may be applied, or be lost."""


class LogWriter:
    """The only writer of one receiver's log; every method may be called from any thread."""

    def __init__(
        self,
        segments: Segments,
        board: Board,
        receiver: int,
        *,
        after: int,
        power: bool,
        wake: Callable[[], None],
        broken: Callable[[], None] = lambda: None,
        full_seconds: float = FULL_SECONDS,
    ) -> None:
        """Go on after sequence ``after``; everything up to it is applied and recycled.

        ``power``: flush each record before it is published.  ``wake`` is called when the applier
        asked for a hint, ``broken`` when a flush failed: what was written since the last one may
        never reach the disk although a later flush succeeds, so nothing is appended after it.
        """
        self._segments = segments
        self._board = board
        self.receiver = receiver
        self._power = power
        self._wake = wake
        self._broken = broken
        self._usable = True
        self._full_seconds = full_seconds
        self._seq = after
        self._lock = threading.Lock()
        segments.drop_others()
        self._number = -1
        self._offset = segments.size
        self._made = set(segments.numbers())
        self._free = collections.deque(segments.numbers())
        self._used: collections.deque[tuple[int, int]] = collections.deque()
        self._spare: threading.Thread | None = None
        self._dirty: set[int] = set()
        self._flushing = threading.Condition()
        self._flushed = after
        self._leading = False
        board.recycle(receiver, after)
        board.publish(receiver, after)
        if not self._free:
            self._add_segment()

    def append(
        self,
        kind: Kind,
        meta: dict[str, Any],
        prefix: bytes = b"",
        data: memoryview = _NO_DATA,
        digest: bytes = b"",
    ) -> int:
        """Write a record and make it as durable as promised; returns its sequence.

        Raises OSError when the disk fails, with ENOSPC when the applier frees no segment in time;
        :class:`Unflushed` when the record may be there after all.
        """
        point("log.appended.before")
        with self._lock:
            if not self._usable:
                raise OSError(errno.EIO, "the log could not be flushed")
            seq = self._seq + 1
            head = encode(kind, seq, meta, prefix, len(data), digest)
            length = len(head) + len(data)
            pad = padding(length)
            if self._offset + length + pad > self._segments.size:
                self._switch()
            self._write([head, data, _PADDING[:pad]], length + pad)
            self._offset += length + pad
            self._seq = seq
            if not self._power:
                self._publish(seq)
        point("log.appended.after")
        if self._power:
            self._flush(seq)
            point("log.flushed.after")
        return seq

    def close(self) -> None:
        """Close the segments; nothing is appended after it."""
        with self._lock:
            if self._spare is not None:
                self._spare.join()
            self._segments.close()

    def _write(self, buffers: list[bytes | memoryview], length: int) -> None:
        descriptor = self._segments.descriptor(self._number)
        self._dirty.add(descriptor)
        done = os.pwritev(descriptor, buffers, self._offset)
        if done == length:
            return
        rest = b"".join(buffers)
        while done < length:
            done += os.pwrite(descriptor, memoryview(rest)[done:], self._offset + done)

    def _publish(self, seq: int) -> None:
        if self._board.publish(self.receiver, seq):
            self._wake()

    def _flush(self, seq: int) -> None:
        """Return when ``seq`` is on disk: lead a flush, or wait for one that covers it."""
        while True:
            with self._flushing:
                while self._leading and self._flushed < seq:
                    self._flushing.wait()
                if self._flushed >= seq:
                    return
                self._leading = True
            reached = 0
            try:
                reached = self._sync()
            finally:
                with self._flushing:
                    self._leading = False
                    if reached:
                        self._flushed = reached
                        self._publish(reached)
                    self._flushing.notify_all()

    def _sync(self) -> int:
        """Flush everything written so far; returns the last sequence that is covered."""
        with self._lock:
            dirty, self._dirty = self._dirty, set()
            reached = self._seq
        try:
            for descriptor in dirty:
                os.fdatasync(descriptor)
        except OSError as error:
            self._usable = False
            self._broken()
            raise Unflushed(error.errno, error.strerror) from error
        return reached

    def _switch(self) -> None:
        """Go on in another segment; the caller holds the lock."""
        number = self._take()
        if self._number >= 0:
            self._used.append((self._number, self._seq))
        self._number, self._offset = number, 0
        self._reclaim()
        if not self._free and len(self._made) < MAX_SEGMENTS and self._spare is None:
            self._spare = threading.Thread(target=self._add_spare, name="log-spare", daemon=True)
            self._spare.start()

    def _take(self) -> int:
        deadline = time.monotonic() + self._full_seconds
        while True:
            self._reclaim()
            if self._free:
                return self._free.popleft()
            if self._spare is not None:
                self._spare.join()
                self._spare = None
            elif len(self._made) < MAX_SEGMENTS:
                self._add_segment()
            elif time.monotonic() > deadline:
                raise OSError(errno.ENOSPC, "the intake log is full: the index is not keeping up")
            else:
                time.sleep(_POLL_SECONDS)

    def _reclaim(self) -> None:
        recycled = self._board.recycled(self.receiver)
        while self._used and self._used[0][1] <= recycled:
            self._free.append(self._used.popleft()[0])
            point("segment.recycled")

    def _add_segment(self) -> None:
        number = next(n for n in range(MAX_SEGMENTS) if n not in self._made)
        self._segments.allocate(number)
        self._made.add(number)
        self._free.append(number)

    def _add_spare(self) -> None:
        try:
            self._add_segment()
        except OSError as error:
            # The next switch tries again and answers for it.
            log.warning("a segment of the log cannot be made", extra={"error": str(error)})
