"""Reading the log: live up to what its writer published, or whole after a crash."""

from __future__ import annotations

import os
from collections.abc import Iterator

import xxhash

from gateway.payloads.intake.format import (
    HEADER_SIZE,
    PAGE,
    Header,
    Record,
    Torn,
    decode_header,
    decode_meta,
)
from gateway.payloads.intake.segments import Segments

_BLOCK = 1024 * 1024


class LogReader:
    """Finds records of one receiver's log; used by one thread."""

    def __init__(self, segments: Segments, after: int) -> None:
        """Read what follows sequence ``after``."""
        self.segments = segments
        self.after = after
        self._segment = -1
        self._offset = 0

    def next(self, *, verify: bool) -> Record:
        """The record after the last; raises :class:`Torn` when there is none that is whole.

        ``verify``: compare the data with its digest too.  Needless for what a living writer
        published, vital for what a crash left.
        """
        wanted = self.after + 1
        record = self._at(self._segment, self._offset, wanted) if self._segment >= 0 else None
        if record is None:
            record = self._search(wanted)
        if verify:
            self.verify(record)
        self._segment, self._offset = record.segment, record.offset + record.header.length
        self.after = wanted
        return record

    def rewind(self, after: int) -> None:
        """Read again what follows sequence ``after``."""
        self.after, self._segment = after, -1

    def all(self) -> Iterator[Record]:
        """Every whole record that is still there, segment by segment."""
        for number in self.segments.numbers():
            yield from self._walk(number)

    def beyond(self) -> int | None:
        """The lowest sequence of a whole record that is higher than any read, if there is one."""
        return min((r.seq for r in self.all() if r.seq > self.after), default=None)

    def verify(self, record: Record) -> None:
        """Raise :class:`Torn` unless the record's data agrees with its digest."""
        if not record.header.data_length:
            return
        descriptor = self.segments.descriptor(record.segment)
        digest = xxhash.xxh3_128()
        offset = record.file_offset + record.header.prefix_length
        left = record.header.data_length
        while left:
            block = os.pread(descriptor, min(left, _BLOCK), offset)
            if not block:
                raise Torn("cut off")
            digest.update(block)
            offset += len(block)
            left -= len(block)
        if digest.digest() != record.header.digest:
            raise Torn("the data does not agree with its digest")

    def _search(self, wanted: int) -> Record:
        """Look through all segments: at their start, then behind the one that may hold it."""
        best, first = -1, -1
        for number in self.segments.numbers():
            try:
                header = self._header(number, 0)
            except Torn:
                continue
            if header.seq == wanted:
                record = self._at(number, 0, wanted)
                if record is not None:
                    return record
            elif first < header.seq < wanted:
                best, first = number, header.seq
        if best >= 0:
            for record in self._walk(best, verify=False):
                if record.seq == wanted:
                    return record
        raise Torn(f"record {wanted} is not in the log")

    def _walk(self, number: int, *, verify: bool = True) -> Iterator[Record]:
        offset, seq = 0, None
        end = self.segments.length(number)
        while offset < end:
            try:
                header = self._header(number, offset)
                record = self._at(number, offset, header.seq)
                if record is None or seq not in (None, header.seq):
                    return
                if verify:
                    self.verify(record)
            except Torn:
                return
            yield record
            offset += header.length
            seq = header.seq + 1

    def _header(self, number: int, offset: int) -> Header:
        header = decode_header(os.pread(self.segments.descriptor(number), HEADER_SIZE, offset))
        if offset + header.length > self.segments.length(number):
            raise Torn("longer than its segment")
        return header

    def _at(self, number: int, offset: int, wanted: int) -> Record | None:
        """The record at a place if it is ``wanted`` and its head is whole."""
        page = os.pread(self.segments.descriptor(number), PAGE, offset)
        try:
            header = decode_header(page)
            if header.seq != wanted or offset + header.length > self.segments.length(number):
                return None
            need = HEADER_SIZE + header.meta_length + header.prefix_length
            if need > len(page):
                page = os.pread(self.segments.descriptor(number), need, offset)
            return Record(header, decode_meta(header, page), number, offset)
        except Torn:
            return None
