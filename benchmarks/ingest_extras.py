"""What beside rates is measured of receiving: memory, latency, the disk's limits."""

from __future__ import annotations

import os
import sqlite3
import statistics
import threading
import time
from pathlib import Path

from ingest_peers import Receiver, gateway
from slices import make_slices

from gateway.dicom.peer import Peer
from gateway.dicom.scu import StoreScu

_BLOCK = 1024 * 1024


def pss(pids: list[int]) -> float:
    """Proportional set size of processes, in MB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def receiving_processes(receiver: Receiver) -> list[int]:
    """The gateway's receivers and the process that applies their log."""
    parent = receiver.process.pid
    found = [parent]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ppid = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if ppid == parent and b"gateway.dicom.receiver" in words:
            found.append(int(entry.name))
    return found


def memory(folder: Path, gigabytes: float) -> tuple[float, float]:
    """Peak PSS in MB of all receiving processes, and of the receivers alone.

    One object of ``gigabytes`` and 32 ordinary associations arrive at once.
    """
    big = _big_object(folder, int(gigabytes * 1e9))
    slices = make_slices(folder / "memory-slices", 512, 512, 64, study=9000)
    peak = [0.0, 0.0]
    with gateway(folder / "memory", "power") as receiver:
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(receiver, done, peak))
        watcher.start()
        senders = [threading.Thread(target=_send, args=(receiver.port, [big]))]
        senders += [
            threading.Thread(target=_send, args=(receiver.port, slices[n * 2 : n * 2 + 2]))
            for n in range(32)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        done.set()
        watcher.join()
        receiver.settle(65)
    big.unlink()
    return peak[0], peak[1]


def _watch(receiver: Receiver, done: threading.Event, peak: list[float]) -> None:
    pids = receiving_processes(receiver)
    while not done.wait(0.05):
        peak[0] = max(peak[0], pss(pids))
        peak[1] = max(peak[1], pss(pids[1:]))


def _send(port: int, paths: list[Path]) -> None:
    for sent in StoreScu(Peer("BENCH", "127.0.0.1", port, "SENDER")).send(paths):
        assert sent.stored, sent


def _big_object(folder: Path, size: int) -> Path:
    """A multi-frame object of ``size`` bytes of pixel data, most of it a hole on disk."""
    (path,) = make_slices(folder / "big", 16, 16, 1, study=9001)
    head = path.read_bytes()
    at = head.index(b"\xe0\x7f\x10\x00OW")
    size += size % 2
    with path.open("wb") as file:
        file.write(head[: at + 8] + min(size, 0xFFFFFFFE).to_bytes(4, "little"))
        file.truncate(at + 12 + min(size, 0xFFFFFFFE))
    return path


def latency(folder: Path, rounds: int, slices: int) -> list[float]:
    """Milliseconds from the last C-STORE's answer to the job's start, count known."""
    operator = {
        "name": "look",
        "container": {"image": "bench/python", "tag": "1", "command": ["python", "-c", "pass"]},
        "input": [{"path": "/input"}],
        "output": [{"path": "/output"}],
    }
    pipeline = {"api-version": "0.4.0", "name": "bench", "operators": [operator]}
    application = {
        "complete-when": {"quiet-seconds": 60, "instances": "tag"},
        "rules": [{"name": "all", "pipeline": "bench"}],
    }
    found = []
    with gateway(folder / "latency", "power", application, pipeline) as receiver:
        for number in range(rounds):
            made = folder / f"latency-{number}"
            paths = make_slices(made, 512, 512, slices, study=7000 + number, expected=slices)
            os.sync()
            _send(receiver.port, paths)
            answered = time.time()
            found.append(1000 * (_started(receiver.root, number + 1) - answered))
            for path in paths:
                path.unlink()
    return found


def _started(root: Path, jobs: int) -> float:
    """When the ``jobs``-th job's first operator was executed."""
    deadline = time.monotonic() + 60
    connection = sqlite3.connect(f"file:{root}/data/gateway.db?mode=ro", uri=True)
    try:
        while True:
            rows = connection.execute(
                "select started_at from operators where started_at is not null order by started_at"
            ).fetchall()
            if len(rows) >= jobs:
                return float(rows[-1][0])
            assert time.monotonic() < deadline, "no job starts"
            time.sleep(0.02)
    finally:
        connection.close()


def disk_limits(folder: Path, size: int) -> dict[str, float]:
    """Flushes of ``size`` bytes a second: new files, and a file that was written before."""
    data = os.urandom(size)
    fresh = []

    def new_file() -> None:
        path = folder / f"disk-{len(fresh)}"
        fresh.append(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, data)
        os.fdatasync(descriptor)
        os.close(descriptor)

    again = os.open(folder / "disk-again", os.O_WRONLY | os.O_CREAT, 0o600)
    places = 64 * _BLOCK // size
    for place in range(places):
        os.pwrite(again, data, place * size)
    os.fsync(again)
    turns = [0]

    def overwrite() -> None:
        turns[0] += 1
        os.pwrite(again, data, turns[0] % places * size)
        os.fdatasync(again)

    rates = {"new file": _rate(new_file), "overwritten": _rate(overwrite)}
    os.close(again)
    for path in [*fresh, folder / "disk-again"]:
        path.unlink()
    return rates


def _rate(act: object) -> float:
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < 0.7:
        act()  # type: ignore[operator]
        done += 1
    return done / (time.perf_counter() - began)


def median(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)
