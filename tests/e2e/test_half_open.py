"""A thousand half-open connections beside a working modality."""

from __future__ import annotations

import resource
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.dicom import pdu
from tests.support.dicom import slice_
from tests.support.dicompeer import request
from tests.support.site import Site, application, write

HALF = pdu.encode_request(request())[:60]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site", applications=[application()], pipelines=[])
    made.start()
    yield made
    assert made.stop() == 0


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Room for both ends' connections in this process and the one it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def half_open(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections of which half say nothing and half begin a request that they never end."""
    socks = []
    try:
        for number in range(count):
            sock = socket.create_connection(("127.0.0.1", port), 10)
            socks.append(sock)
            if number % 2:
                sock.sendall(HALF)
        yield socks
    finally:
        for sock in socks:
            sock.close()


def made_slices(folder: Path, series: int, count: int) -> list[Path]:
    return [
        write(
            slice_(n, SeriesInstanceUID=f"1.2.826.0.1.55.{series}", PixelData=bytes(40_000)),
            folder / f"{series}-{n}.dcm",
        )
        for n in range(count)
    ]


def rate(site: Site, paths: list[Path]) -> float:
    began = time.perf_counter()
    sent = site.send(paths)
    assert [one.status for one in sent] == [0] * len(paths)
    return len(paths) / (time.perf_counter() - began)


def test_a_modality_works_beside_a_thousand_half_open_connections(
    site: Site, tmp_path: Path
) -> None:
    paths = made_slices(tmp_path, 1, 20)
    with half_open(site.ports["dicom"], 1000) as socks:
        assert rate(site, paths) > 0
        assert len(socks) == 1000
    assert site.http is not None
    assert site.http.get("/health/ready").status_code == 200


@pytest.mark.prove
def test_prove_half_open_connections_cost_no_rate(site: Site, tmp_path: Path) -> None:
    alone, beside = [], []
    rate(site, made_slices(tmp_path, 99, 100))
    for number in range(7):
        alone.append(rate(site, made_slices(tmp_path, 2 * number, 400)))
        paths = made_slices(tmp_path, 2 * number + 1, 400)
        with half_open(site.ports["dicom"], 1000):
            time.sleep(0.5)
            beside.append(rate(site, paths))
    ratio = statistics.median(beside) / statistics.median(alone)
    print(  # noqa: T201 - make prove shows its figures
        f"\n1000 half-open connections: {statistics.median(beside):.0f} instances/s beside, "
        f"{statistics.median(alone):.0f} alone, ratio {ratio:.2f}"
    )
    assert ratio >= 0.8
