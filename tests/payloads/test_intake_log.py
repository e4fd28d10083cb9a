"""The intake log: what is written is read, torn or old records never are, segments go round."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.payloads.intake.board import Board
from gateway.payloads.intake.format import HEADER_SIZE, PAGE, Kind, Torn
from gateway.payloads.intake.reader import LogReader
from gateway.payloads.intake.segments import Segments
from gateway.payloads.intake.writer import LogWriter

SEGMENT = 256 * 1024


class Log:
    def __init__(self, folder: Path, after: int = 0, *, power: bool = True) -> None:
        self.folder = folder / "log" / "0"
        self.board = Board.create(4)
        self.hints = 0
        self.writer = LogWriter(
            Segments(self.folder, SEGMENT),
            self.board,
            0,
            after=after,
            power=power,
            wake=self._hint,
            full_seconds=0.3,
        )

    def _hint(self) -> None:
        self.hints += 1

    def write(self, number: int, data: bytes = b"data") -> int:
        digest = xxhash.xxh3_128_digest(data)
        meta = {"n": number}
        return self.writer.append(Kind.INSTANCE, meta, b"prefix", memoryview(data), digest)

    def reader(self, after: int = 0) -> LogReader:
        return LogReader(Segments(self.folder, SEGMENT), after)

    def close(self) -> None:
        self.writer.close()
        self.board.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    (tmp_path / "log").mkdir()
    made = Log(tmp_path)
    yield made
    made.close()


def numbers(reader: LogReader) -> list[int]:
    found = []
    while True:
        try:
            found.append(reader.next(verify=True).meta["n"])
        except Torn:
            return found


@pytest.mark.parametrize("power", [True, False])
def test_what_is_written_is_read(tmp_path: Path, power: bool) -> None:
    (tmp_path / "log").mkdir()
    log = Log(tmp_path, power=power)
    for number in range(1, 41):
        assert log.write(number, bytes([number]) * number * 1000) == number
        assert log.board.visible(0) == number
    assert numbers(log.reader()) == list(range(1, 41))
    assert numbers(log.reader(after=17)) == list(range(18, 41))
    record = log.reader().next(verify=True)
    assert record.header.length % PAGE == 0
    assert record.file_length == len(b"prefix") + 1000
    log.close()


def test_segments_are_overwritten_once_they_are_recycled(log: Log) -> None:
    for number in range(1, 200):
        log.write(number, b"x" * 50_000)
        log.board.recycle(0, number - 1)
    assert len(log.writer._segments.numbers()) <= 3
    assert numbers(log.reader(after=198)) == [199]
    assert numbers(log.reader(after=0)) == [], "what was overwritten is not there"


def test_a_full_log_refuses_and_goes_on_when_it_is_freed(log: Log) -> None:
    written = 16
    for number in range(written):
        log.write(number + 1, b"x" * 200_000)
    with pytest.raises(OSError, match="not keeping up"):
        log.write(written + 1, b"x" * 200_000)
    log.board.recycle(0, 3)
    assert log.write(written + 1) == written + 1
    assert numbers(log.reader(after=3)) == list(range(4, written + 2))


@pytest.mark.parametrize("where", ["header", "meta", "data"])
def test_a_torn_record_is_never_read(log: Log, where: str) -> None:
    for number in (1, 2, 3):
        log.write(number, b"d" * 9000)
    reader = log.reader()
    record = [reader.next(verify=True) for _ in range(3)][1]
    at = {"header": 9, "meta": HEADER_SIZE + 2, "data": PAGE * 2}[where]
    path = log.folder / "000.seg"
    whole = bytearray(path.read_bytes())
    whole[record.offset + at] ^= 0xFF
    path.write_bytes(whole)
    assert numbers(log.reader()) == [1]


def test_a_writer_that_died_is_followed_by_another(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    first = Log(tmp_path)
    for number in (1, 2, 3):
        first.write(number)
    first.close()
    # The third was torn: whoever comes next writes it again, in a segment of its own.
    path = tmp_path / "log" / "0" / "000.seg"
    whole = bytearray(path.read_bytes())
    whole[PAGE * 2 + 20] ^= 0xFF
    path.write_bytes(whole)
    Segments(tmp_path / "log" / "0", SEGMENT).allocate(1)
    second = Log(tmp_path, after=2)
    second.writer._free.rotate(1)
    assert second.write(30) == 3
    assert second.write(4) == 4
    assert numbers(second.reader()) == [1, 2, 30, 4]
    second.close()


def test_threads_share_flushes_and_keep_one_order(log: Log) -> None:
    def work(thread: int) -> None:
        for number in range(20):
            seq = log.write(thread * 100 + number, b"t" * 3000)
            assert log.board.visible(0) >= seq, "acknowledged before it was flushed"

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = numbers(log.reader())
    assert len(found) == 120
    for thread in range(6):
        mine = [n % 100 for n in found if n // 100 == thread]
        assert mine == list(range(20))


def test_a_hint_is_given_when_it_is_asked_for(log: Log) -> None:
    log.write(1)
    assert log.hints == 0
    log.board.sleeping(0)
    log.write(2)
    log.write(3)
    assert log.hints == 1


def test_slots_are_shared_and_freed_with_their_owner() -> None:
    board = Board.create(3)
    slots = [board.take(0, "10.0.0.1", None)[0], board.take(1, "10.0.0.1", None)[0]]
    assert board.take(0, "10.0.0.1", 2) == (-1, 2, 2)
    slots.append(board.take(1, "10.0.0.2", 2)[0])
    assert sorted(slots) == [0, 1, 2]
    assert board.take(0, "10.0.0.3", None)[0] == -1
    board.name(slots[2], "a" * 32)
    assert board.last_byte("a" * 32) is not None
    assert board.last_byte("b" * 32) is None
    board.clear(1)
    assert board.active() == 1
    assert board.last_byte("a" * 32) is None
    board.close()


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60_000), min_size=1, max_size=12), at=st.integers(0, SEGMENT - 1)
)
def test_any_damage_only_ever_cuts_the_log_short(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], at: int
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    (folder / "log").mkdir()
    log = Log(folder, power=False)
    for number, size in enumerate(sizes, 1):
        log.write(number, bytes([number]) * size)
    path = log.folder / "000.seg"
    whole = bytearray(path.read_bytes())
    whole[at] ^= 0x55
    path.write_bytes(whole)
    found = numbers(log.reader())
    assert found == list(range(1, len(found) + 1))
    log.close()
