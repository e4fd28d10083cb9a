"""What receivers and the applier tell each other at once, in memory they share.

A memory file mapped by the gateway and each of its receiver processes.  It holds hints and
limits only: after a crash everything is found again on disk::

    per receiver   visible    last sequence that may be applied (flushed, when that is promised)
                   recycled   last sequence whose bytes are no longer needed
                   asleep     the applier waits for a hint
                   crowd      connections it has, associations or not yet
    per slot       owner, host, association, when it last sent a byte

A 64-bit word is written by one process and read by others whole: aligned stores do not tear.
"""

from __future__ import annotations

import collections
import fcntl
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MAX_RECEIVERS = 16
_WORDS = 8
_HEAD = MAX_RECEIVERS * _WORDS * 8
_SLOT = 128


class Board:
    """The shared memory; every method may be called from any thread of any process."""

    def __init__(self, descriptor: int, slots: int) -> None:
        """Map ``descriptor``, as made by :meth:`create`."""
        self.descriptor = descriptor
        self.slots = slots
        self._map = mmap.mmap(descriptor, _HEAD + slots * _SLOT)
        self._view = memoryview(self._map)
        self._words = self._view.cast("Q")
        self._times = self._view.cast("d")
        self._lock = threading.Lock()

    @classmethod
    def create(cls, slots: int) -> Board:
        """A fresh board for at most ``slots`` open associations."""
        descriptor = os.memfd_create("gateway-intake", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _HEAD + slots * _SLOT)
        return cls(descriptor, slots)

    def close(self) -> None:
        """Unmap and close; the others keep theirs."""
        for view in (self._words, self._times, self._view):
            view.release()
        self._map.close()
        os.close(self.descriptor)

    def visible(self, receiver: int) -> int:
        """Last sequence of ``receiver`` that may be applied."""
        return self._words[receiver * _WORDS]

    def publish(self, receiver: int, seq: int) -> bool:
        """Set :meth:`visible`; True when the applier sleeps and is to be woken."""
        self._words[receiver * _WORDS] = seq
        if self._words[receiver * _WORDS + 2]:
            self._words[receiver * _WORDS + 2] = 0
            return True
        return False

    def recycled(self, receiver: int) -> int:
        """Last sequence of ``receiver`` whose bytes are no longer needed."""
        return self._words[receiver * _WORDS + 1]

    def recycle(self, receiver: int, seq: int) -> None:
        """Set :meth:`recycled`."""
        self._words[receiver * _WORDS + 1] = seq

    def sleeping(self, receiver: int) -> None:
        """Ask ``receiver`` for a hint with its next record; look at :meth:`visible` after."""
        self._words[receiver * _WORDS + 2] = 1

    def crowd(self, receiver: int) -> int:
        """Connections that ``receiver`` has."""
        return self._words[receiver * _WORDS + 3]

    def set_crowd(self, receiver: int, count: int) -> None:
        """Set :meth:`crowd`; by ``receiver`` only."""
        self._words[receiver * _WORDS + 3] = count

    def take(self, receiver: int, host: str, per_peer: int | None) -> tuple[int, int, int]:
        """Take a slot: its number (-1 = none), open associations in all and of ``host``.

        None is left when every slot is taken or ``host`` has ``per_peer`` already.
        """
        name = host.encode("ascii", "replace")[:80].ljust(80, b"\0")
        with self._exclusive():
            free, used, mine = -1, 0, 0
            for slot in range(self.slots):
                base = _HEAD + slot * _SLOT
                if not self._words[base // 8]:
                    free = slot if free < 0 else free
                    continue
                used += 1
                mine += self._view[base + 48 : base + 128] == name
            if free < 0 or (per_peer is not None and mine >= per_peer):
                return -1, used, mine
            base = _HEAD + free * _SLOT
            self._words[base // 8] = receiver + 1
            self._times[base // 8 + 1] = 0.0
            self._view[base + 16 : base + 48] = bytes(32)
            self._view[base + 48 : base + 128] = name
        return free, used, mine

    def give_back(self, slot: int) -> None:
        """Return a slot."""
        self._words[(_HEAD + slot * _SLOT) // 8] = 0

    def name(self, slot: int, association_id: str) -> None:
        """Say which association has the slot."""
        base = _HEAD + slot * _SLOT
        self.touch(slot)
        self._view[base + 16 : base + 48] = association_id.encode("ascii")

    def touch(self, slot: int) -> None:
        """Note that a byte arrived just now."""
        self._times[(_HEAD + slot * _SLOT) // 8 + 1] = time.time()

    def last_byte(self, association_id: str) -> float | None:
        """When the open association last sent a byte; None when no slot is its."""
        name = association_id.encode("ascii")
        for slot in range(self.slots):
            base = _HEAD + slot * _SLOT
            if self._words[base // 8] and self._view[base + 16 : base + 48] == name:
                return self._times[base // 8 + 1] or None
        return None

    def active(self) -> int:
        """Open associations."""
        return sum(self._by_owner().values())

    def clear(self, receiver: int) -> None:
        """Free every slot of a receiver that ended."""
        self.set_crowd(receiver, 0)
        for slot in range(self.slots):
            word = (_HEAD + slot * _SLOT) // 8
            if self._words[word] == receiver + 1:
                self._words[word] = 0

    def _by_owner(self) -> collections.Counter[int]:
        owners = (self._words[(_HEAD + slot * _SLOT) // 8] for slot in range(self.slots))
        return collections.Counter(owner for owner in owners if owner)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One taker at a time, over all threads and processes; freed when a process dies."""
        with self._lock:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self.descriptor, fcntl.LOCK_UN)
