"""Objects of any size pass in constant memory."""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dicompeer import Parrot, p_data, pdv, request, store_command
from tests.support.evidence import Kept, kept
from tests.support.instances import explicit, synthetic
from tests.support.processes import peaks
from tests.support.site import Site, application

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
RLE = "1.2.840.10008.1.2.5"
PIECE = 131072 - 6
MB = 1 << 20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site", applications=[application()], pipelines=[])
    made.start()
    yield made
    assert made.stop() == 0


def head(uid: str) -> bytes:
    made = synthetic(ENHANCED_CT, uid)
    start = made[: made.rindex(b"\xe0\x7f\x10\x00")]
    study = explicit(0x0020000D, b"UI", b"1.2.826.0.1.44\0\0")
    series = explicit(0x0020000E, b"UI", b"1.2.826.0.1.44.1")
    return start + study + series


def stream(uid: str, size: int) -> Iterator[bytes]:
    """A data set of about ``size`` bytes: fragments of zeros, each of 1 MB, made as they go."""
    yield head(uid) + struct.pack("<HH2s2xL", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF)
    yield struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    fragment = struct.pack("<HHL", 0xFFFE, 0xE000, MB) + bytes(MB)
    for _ in range(size // MB):
        yield fragment
    yield struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def send(site: Site, uid: str, size: int) -> tuple[float, int, str]:
    """Send a stream; returns seconds, bytes and its SHA-256."""
    parrot = Parrot(site.ports["dicom"])
    parrot.sock.settimeout(600)
    parrot.associate(request([(ENHANCED_CT, [RLE])]))
    digest, total, began = hashlib.sha256(), 0, time.perf_counter()
    parrot.say(p_data(pdv(1, store_command(uid, ENHANCED_CT), command=True)))
    for block in stream(uid, size):
        for at in range(0, len(block), PIECE):
            parrot.say(p_data(pdv(1, block[at : at + PIECE], last=False)))
        digest.update(block)
        total += len(block)
    parrot.say(p_data(pdv(1, b"")))
    assert parrot.response().number(0x0900) == 0
    seconds = time.perf_counter() - began
    parrot.release()
    return seconds, total, digest.hexdigest()


def peak_mb(site: Site) -> float:
    """The largest resident set of any of the gateway's processes so far."""
    assert site.process is not None
    return max(peaks(site.process.pid)) / 1024


def check(found: Kept, total: int, digest: str) -> None:
    """The file ends with exactly the bytes that were sent."""
    size = found.file.stat().st_size
    with found.file.open("rb") as file:
        file.seek(size - total)
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest


def passes(site: Site, uid: str, size: int, spare_mb: float) -> str:
    send(site, "1.2.826.0.1.44.9", MB)
    before = peak_mb(site)
    seconds, total, digest = send(site, uid, size)
    grown = peak_mb(site) - before
    found = site.wait(lambda: kept(site, "AI").get(uid), 30)
    check(found, total, digest)
    assert grown < spare_mb, f"{grown:.0f} MB more for {total / 1e6:.0f} MB"
    return f"{total / 1e9:.2f} GB in {seconds:.0f} s, {grown:.0f} MB of memory more"


def test_a_large_object_takes_no_memory(site: Site) -> None:
    passes(site, "1.2.826.0.1.44.2", 64 * MB, 24)


@pytest.mark.prove
def test_prove_large_object(site: Site, tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert free > 6e9, "needs 6 GB of free disk"
    print("\n" + passes(site, "1.2.826.0.1.44.3", 4200 * MB, 24))  # noqa: T201 - its figures
