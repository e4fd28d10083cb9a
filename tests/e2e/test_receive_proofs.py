"""Receiving holds its promise: killed at any moment, traced system call by system call, cut off."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.books import Books
from tests.support.processes import command
from tests.support.programs import missing, program
from tests.support.site import Site, application

KEEP = application(**{"complete-when": {"quiet-seconds": 30}})


def site_at(root: Path, **settings: object) -> Site:
    return Site(root, applications=[KEEP], settings=settings)


def receivers(site: Site) -> list[psutil.Process]:
    assert site.process is not None
    return [
        child
        for child in psutil.Process(site.process.pid).children()
        if "gateway.dicom.receiver" in command(child)
    ]


def kill_often(tmp_path: Path, count: int, seed: int, durability: str) -> int:
    """Kill the gateway, or only a receiver, at random moments under four senders."""
    site = site_at(
        tmp_path / "site",
        dicom={"bind": "127.0.0.1", "port": 0, "durability": durability},
    )
    books = Books(site, tmp_path / "modalities")
    chance = random.Random(seed)  # noqa: S311
    site.start()
    books.start()
    try:
        for number in range(count):
            time.sleep(chance.uniform(0.05, 1.5))
            assert not site.dead, "the gateway ended by itself"
            # A receiver that was just killed may not be there again: then it is the gateway's turn.
            found = receivers(site) if number % 2 else []
            if found:
                chance.choice(found).kill()
            else:
                site.kill()
                site.start()
    finally:
        books.stop()
    assert site.stop() == 0
    assert books.acknowledged
    kept = books.check(site.data)
    print(  # noqa: T201 - the figures of the proof
        f"{count} kills ({durability}): {len(books.acknowledged)} acknowledged, {kept} kept, 0 lost"
    )
    return kept


@pytest.mark.crash
@pytest.mark.parametrize("durability", ["power", pytest.param("process", marks=pytest.mark.prove)])
def test_killed_while_four_send(tmp_path: Path, durability: str) -> None:
    kill_often(tmp_path, 4, 1, durability)


@pytest.mark.prove
@pytest.mark.parametrize("durability", ["power", "process"])
def test_prove_receive_survives_200_kills(tmp_path: Path, durability: str) -> None:
    kill_often(tmp_path, 200, 2, durability)


_CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?:\((\d+)?)?")


def flushed_before_each_answer(trace: list[str]) -> int:
    """How many answers left, each after a flush that began when its record was written.

    Lines are in the order in which the calls were entered, or left when they are split.
    """
    began: dict[str, int] = {}
    written: dict[str, int] = {}
    flushes: list[tuple[int, int]] = []
    answers = 0
    for at, line in enumerate(trace):
        found = _CALL.match(line)
        if found is None:
            continue
        thread, call = found.group(1), found.group(2)
        resumed, unfinished = "resumed>" in line, "<unfinished" in line
        if not resumed:
            began[thread] = at
        if call in ("pwritev", "pwritev2") and not unfinished:
            written[thread] = at
        elif call == "fdatasync" and not unfinished:
            assert line.rstrip().endswith("= 0"), line
            flushes.append((began[thread], at))
        elif call == "sendto" and not resumed and _is_success(line):
            answers += 1
            record = written.pop(thread, None)
            assert record is not None, f"an answer without a record: {line[:200]}"
            assert any(record < start <= end < at for start, end in flushes), (
                f"an answer before its flush, line {at}: {line[:200]}"
            )
    return answers


def _is_success(line: str) -> bool:
    """A C-STORE-RSP (Command Field 8001H) with Status 0000H."""
    return (
        r"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x80" in line
        and r"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00" in line
    )


@pytest.mark.peers
def test_no_success_leaves_before_its_flush(tmp_path: Path) -> None:
    strace = program("strace")
    site = site_at(tmp_path / "site")
    site.start()
    calls = "trace=pwritev,pwritev2,fdatasync,sendto"
    command = [strace, "-f", "-xx", "-s", "300", "-e", calls]
    tracers: dict[Path, subprocess.Popen[bytes]] = {}
    for receiver in receivers(site):
        out = tmp_path / f"trace-{receiver.pid}"
        tracer = subprocess.Popen([*command, "-o", str(out), "-p", str(receiver.pid)], stderr=-1)
        tracers[out] = tracer
        assert tracer.stderr is not None
        if b"attached" not in tracer.stderr.readline():
            site.stop()
            missing("processes may not be traced here")
    books = Books(site, tmp_path / "modalities", senders=3)
    books.start()
    time.sleep(2.5)
    books.stop()
    acknowledged = len(books.acknowledged)
    site.stop()
    for tracer in tracers.values():
        tracer.wait(30)
        assert tracer.stderr is not None
        tracer.stderr.close()
    # Each receiver has a log of its own: a flush of one says nothing for another.
    traces = [out.read_text().splitlines() for out in tracers]
    assert acknowledged > 10
    answers = sum(flushed_before_each_answer(trace) for trace in traces)
    if answers < acknowledged:
        pytest.fail(f"{acknowledged} were acknowledged, {answers} answers were traced")
    # The check itself must be able to fail: without the flushes nothing is allowed.
    busiest = max(traces, key=len)
    with pytest.raises(AssertionError, match="before its flush"):
        flushed_before_each_answer([line for line in busiest if "fdatasync" not in line])


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def cut_often(tmp_path: Path, cuts: int, seed: int) -> None:
    """Copy the disk's image while the gateway runs, and start a gateway from each copy.

    The gateway's processes are held for the tenths of a second the copy takes, so that the copy
    is one moment of the disk; what they had not flushed is not in it.
    """
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        missing("a simulated power cut needs root and loop devices")
    memory = Path("/dev/shm")  # noqa: S108 - the copy must be quick
    folder = memory / f"gateway-cut-{os.getpid()}"
    folder.mkdir()
    image, chance = folder / "disk.img", random.Random(seed)  # noqa: S311
    try:
        with image.open("wb") as file:
            file.truncate(3 << 30)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        with mounted(image, folder / "disk") as disk:
            site = site_at(tmp_path / "site", **{"data-dir": str(disk / "data")})
            site.data = disk / "data"
            books = Books(site, tmp_path / "modalities")
            site.start()
            books.start()
            for number in range(cuts):
                time.sleep(chance.uniform(0.5, 2.5))
                copy, known = cut(site, books, image, folder / f"cut-{number}.img")
                judge(tmp_path / f"after-{number}", copy, folder / f"cut-{number}", books, known)
                copy.unlink()
            books.stop()
            assert site.stop() == 0
            books.check(site.data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cut(site: Site, books: Books, image: Path, copy: Path) -> tuple[Path, dict[str, str]]:
    """The image at one moment, and what had been acknowledged before it."""
    assert site.process is not None
    gateway = psutil.Process(site.process.pid)
    held = [gateway, *gateway.children(recursive=True)]
    known = dict(books.acknowledged)
    for process in held:
        process.send_signal(signal.SIGSTOP)
    subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
    for process in held:
        process.send_signal(signal.SIGCONT)
    return copy, known


def judge(root: Path, copy: Path, at: Path, books: Books, known: dict[str, str]) -> None:
    """A gateway on the copied disk has everything that was acknowledged."""
    with mounted(copy, at) as disk:
        site = site_at(root, **{"data-dir": str(disk / "data")})
        site.data = disk / "data"
        site.start()
        assert site.stop() == 0
        kept = books.check(site.data, known)
        print(f"power cut: {len(known)} acknowledged before it, {kept} kept, 0 lost")  # noqa: T201


@pytest.mark.crash
def test_power_cut(tmp_path: Path) -> None:
    cut_often(tmp_path, 1, 1)


@pytest.mark.prove
def test_prove_receive_survives_power_cuts(tmp_path: Path) -> None:
    cut_often(tmp_path, 20, 2)
