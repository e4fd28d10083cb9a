"""A TCP connection that gives PDUs and streams what is inside P-DATA-TF without copying it.

One reusable block per connection takes what the kernel has, in as few system calls as there
are; headers are read where they lie and payload is handed out as slices of the block.  Memory
is constant whatever a peer claims or sends.  Used by one thread; only :meth:`Wire.interrupt`
may be called from another.
"""

from __future__ import annotations

import contextlib
import math
import struct
import time
from collections.abc import Callable

from gateway.dicom.errors import ConnectionLost, TooSlow
from gateway.dicom.pdu import HEADER
from gateway.dicom.stream import Stream

BLOCK = 1 << 19
"""Size of the receive block in bytes: holds several PDUs of the usual 16 to 128 kB."""

PDV_HEADER = struct.Struct(">LBB")
"""Item length, presentation context ID, message control header (PS3.8 9.3.5.1, Annex E.2)."""

_TICK_SECONDS = 5.0
_TLS_TICK_SECONDS = 1.0
"""A read over TLS is interrupted by its time-out only."""
_LINGER_BYTES = 64 << 20


class Wire:
    """One connection; ``on_block`` is called once per block received."""

    def __init__(
        self,
        stream: Stream,
        *,
        send_seconds: float = 60.0,
        tick_seconds: float = _TICK_SECONDS,
        on_block: Callable[[], None] | None = None,
        block: int = BLOCK,
        prompt: bool = False,
    ) -> None:
        """Take over a connected stream and set its time-outs.

        ``prompt``: acknowledge what comes in pieces before waiting for the rest.  A peer that
        leaves Nagle's algorithm on, as DCMTK does, sends the second piece of a small PDU only
        then: otherwise each costs 40 ms.
        """
        self._prompt = prompt
        self._pieces = 0
        """Reads since something was sent, which acknowledges too."""
        self._send_seconds, self._tick_seconds = send_seconds, tick_seconds
        self._take(stream)
        self._buffer = bytearray(block)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._deadline = math.inf
        self._interrupted = False
        self._on_block = on_block
        self._on_idle: Callable[[], None] | None = None

    def replace(self, stream: Stream) -> None:
        """Go on over ``stream``: TLS over the one before, of which nothing was read yet."""
        self._tick_seconds = min(self._tick_seconds, _TLS_TICK_SECONDS)
        self._take(stream)
        if self._interrupted:
            stream.stop_reading()

    def _take(self, stream: Stream) -> None:
        stream.be_patient(receive=self._tick_seconds, send=self._send_seconds)
        self._stream = stream

    def allow(self, seconds: float) -> None:
        """Give the peer ``seconds`` from now for whatever is read next."""
        self._deadline = time.monotonic() + seconds

    def watch(self, on_block: Callable[[], None] | None) -> None:
        """Set what is called once per block received."""
        self._on_block = on_block

    def heed(self, on_idle: Callable[[], None], seconds: float) -> None:
        """Call ``on_idle`` after every read that waited ``seconds`` in vain.

        It may send and must not read.
        """
        self._on_idle = on_idle
        self._tick_seconds = min(self._tick_seconds, seconds)
        self._stream.be_patient(receive=self._tick_seconds)

    @property
    def interrupted(self) -> bool:
        """Whether another thread asked this connection to end."""
        return self._interrupted

    def interrupt(self) -> None:
        """Make the owning thread's read end with ConnectionLost; callable from any thread."""
        self._interrupted = True
        self._stream.stop_reading()

    def anything(self) -> None:
        """Wait until there is something to read, without reading it."""
        self._need(1)

    def header(self) -> tuple[int, int]:
        """Read a PDU header: type and length of what follows."""
        self._need(HEADER.size)
        kind, length = HEADER.unpack_from(self._buffer, self._start)
        self._start += HEADER.size
        return kind, length

    def pdv_header(self) -> tuple[int, int, int]:
        """Read a PDV header: item length, context ID, message control header."""
        self._need(PDV_HEADER.size)
        length, context_id, control = PDV_HEADER.unpack_from(self._buffer, self._start)
        self._start += PDV_HEADER.size
        return length, context_id, control

    def body(self, length: int) -> memoryview:
        """Read ``length`` bytes as one piece; the caller has checked the length.

        Valid until the next read.
        """
        if length <= len(self._buffer):
            self._need(length)
            piece = self._view[self._start : self._start + length]
            self._start += length
            return piece
        whole = bytearray()
        while len(whole) < length:
            whole += self.chunk(length - len(whole))
        return memoryview(whole)

    def chunk(self, at_most: int) -> memoryview:
        """The next bytes that are here, at least 1 and at most ``at_most``; waits for the first.

        Valid until the next read.
        """
        if self._start == self._end:
            self._fill()
        start = self._start
        self._start = min(self._end, start + at_most)
        return self._view[start : self._start]

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; raises ConnectionLost when the peer is gone or does not read."""
        self._pieces = 0
        try:
            self._stream.sendall(data)
        except BlockingIOError as error:
            raise ConnectionLost("the peer stopped reading") from error
        except OSError as error:
            raise ConnectionLost(f"the connection broke: {error.strerror or error}") from error

    def linger(self, seconds: float) -> None:
        """Stop sending, let the peer read the last PDU and close first, then close.

        Closing at once would reset the connection while the peer still sends, and the reset
        can overtake the PDU that says why (PS3.8 9.2, state Sta13).
        """
        self._stream.stop_sending()
        with contextlib.suppress(OSError):
            self._drain(seconds)
        self.close()

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._stream.close()

    def _drain(self, seconds: float) -> None:
        self._stream.be_patient(receive=seconds)
        limit = time.monotonic() + seconds
        room = _LINGER_BYTES
        while room > 0 and time.monotonic() < limit:
            got = self._stream.recv_into(self._view)
            if not got:
                return
            room -= got

    def _need(self, count: int) -> None:
        """Wait until ``count`` bytes lie in one piece in the block."""
        while self._end - self._start < count:
            if len(self._buffer) - self._start < count:
                left = self._end - self._start
                self._view[:left] = self._view[self._start : self._end]
                self._start, self._end = 0, left
            self._fill()

    def _fill(self) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        if self._prompt:
            if self._pieces:
                self._stream.acknowledge()
            self._pieces += 1
        got = self._receive(self._view[self._end :])
        self._end += got
        if time.monotonic() > self._deadline:
            raise TooSlow("the peer was silent or too slow")
        if self._on_block is not None:
            self._on_block()

    def _receive(self, into: memoryview) -> int:
        while True:
            try:
                got = self._stream.recv_into(into)
            except BlockingIOError:
                got = -1
            except OSError as error:
                raise ConnectionLost(f"the connection broke: {error.strerror or error}") from error
            if self._interrupted:
                raise ConnectionLost("the gateway is stopping")
            if got == 0:
                raise ConnectionLost("the peer closed the connection")
            if got > 0:
                return got
            if time.monotonic() > self._deadline:
                raise TooSlow("the peer was silent or too slow")
            if self._on_idle is not None:
                self._on_idle()
