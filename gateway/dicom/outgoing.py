"""A C-STORE request on its way out: read from its file, laid out as P-DATA-TFs block by block.

The file is read into the gaps between the PDU headers, so its bytes are copied once, and many PDUs
cost one read and one write.  The first block, which holds the whole of a small instance, is laid
out when the object is made: that is what can be done while the peer is still at the one before.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.dicom import dimse
from gateway.dicom.errors import ConnectionLost

BLOCK = 1 << 20
"""Bytes laid out at a time; also the most that is read ahead."""

_MOST_PIECES = 512
_PDU_PDV = struct.Struct(">BxLLBB")


class FileChanged(ConnectionLost):
    """A file became shorter or unreadable; once it is half sent, its association cannot go on."""


@dataclass(frozen=True)
class Content:
    """Where the data set of an instance lies."""

    path: Path
    offset: int
    length: int
    """Both in bytes."""


class Outgoing:
    """One request; used by one thread, sent once.  Leaving its context closes the file."""

    def __init__(
        self, block: bytearray, head: bytes, context_id: int, content: Content, piece: int
    ) -> None:
        """Lay out ``head``, the PDU of the command set, and what fits after it into ``block``.

        ``piece``: bytes of the data set per PDU, even.  The block belongs to this object until it
        is sent or given up.  Raises FileChanged, or OSError when the file cannot be opened.
        """
        self._block = block
        self._view = memoryview(block)
        self._context_id = context_id
        self._piece = piece
        self._at = content.offset
        self._left = content.length
        self._fd = os.open(content.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._view[: len(head)] = head
            self._filled = self._fill(len(head))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, send: Callable[[memoryview], None]) -> None:
        """Give everything to ``send``, block by block; raises what it raises, or FileChanged."""
        send(self._view[: self._filled])
        while self._left:
            self._filled = self._fill(0)
            send(self._view[: self._filled])

    def close(self) -> None:
        """Close the file; idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _fill(self, at: int) -> int:
        """Fill the block from ``at`` on; returns where what it holds ends."""
        end, gaps = self._lay_out(at)
        wanted = sum(len(gap) for gap in gaps)
        try:
            got = os.preadv(self._fd, gaps, self._at) if gaps else 0
        except OSError as error:
            raise FileChanged(f"the file cannot be read: {error.strerror}") from error
        if got != wanted:
            raise FileChanged("the file became shorter while it was being sent")
        self._at += wanted
        if not self._left:
            self.close()
        return end

    def _lay_out(self, at: int) -> tuple[int, list[memoryview]]:
        """Write PDU headers into the block; returns its fill and the gaps for the data set."""
        block, view = self._block, self._view
        gaps: list[memoryview] = []
        while True:
            piece = min(self._piece, self._left, len(block) - at - _PDU_PDV.size)
            last = piece == self._left
            if not last:
                piece &= ~1  # every fragment but the last has even length (PS3.8 9.3.1)
            _PDU_PDV.pack_into(
                *(block, at, 4, piece + 6, piece + 2),
                *(self._context_id, dimse.LAST_BIT if last else 0),
            )
            at += _PDU_PDV.size
            if piece:
                gaps.append(view[at : at + piece])
            at += piece
            self._left -= piece
            full = len(block) - at < _PDU_PDV.size + 2 or len(gaps) >= _MOST_PIECES
            if last or full:
                return at, gaps
