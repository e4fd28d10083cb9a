"""The gateway split into one process per role does the same work, and ends without a trace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.counting_pacs import CountingPacs, counting_pacs
from tests.support.databases import on_postgres
from tests.support.dicom import slice_
from tests.support.programs import free_port, wait_for_port
from tests.support.site import Site, write

ROLES = ("scp", "scheduler", "delivery", "api")


class Split:
    """One gateway as four processes over one data-dir."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, role: str) -> subprocess.Popen[bytes]:
        with self.log(role).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve", "--role", role],
                cwd=self.site.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self, role: str) -> Path:
        return self.site.root / f"{role}.log"

    def end(self) -> dict[str, int]:
        """SIGTERM to all; exit status by role."""
        for process in self.processes.values():
            process.terminate()
        try:
            return {role: process.wait(30) for role, process in self.processes.items()}
        finally:
            for process in self.processes.values():
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def pacs() -> Iterator[CountingPacs]:
    with counting_pacs() as running:
        yield running


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, pacs: CountingPacs) -> Iterator[Split]:
    ports = {name: free_port() for name in ("dicom", "http", "grpc")}
    site = Site(
        tmp_path_factory.mktemp("split"),
        destinations=[pacs.destination()],
        settings={
            "dicom": {"bind": "127.0.0.1", "port": ports["dicom"]},
            "http": {"port": ports["http"]},
            "grpc": {"port": ports["grpc"]},
        },
    )
    made = Split(site)
    try:
        for role in ROLES:
            made.processes[role] = made.start(role)
        wait_for_port(ports["dicom"], made.processes["scp"])
        wait_for_port(ports["http"], made.processes["api"])
        site.ports = ports
        with httpx.Client(
            base_url=f"http://127.0.0.1:{ports['http']}", trust_env=False, timeout=20
        ) as site.http:
            yield made
    finally:
        made.end()


def test_four_processes_do_the_same_job(split: Split, pacs: CountingPacs, tmp_path: Path) -> None:
    site = split.site
    sent = site.send([write(slice_(n), tmp_path / f"{n}.dcm") for n in range(3)])
    assert [s.status for s in sent] == [0, 0, 0]
    site.wait(lambda: site.items("results", state="DELIVERED"))
    (job,) = site.items("jobs")
    assert (job["status"], job["attempt"]) == ("HEALTHY", 1)
    assert [len(seen) for seen in pacs.seen.values()] == [1]
    assert site.http is not None
    assert site.http.get("/health/ready").status_code == 200
    timeline = site.get(f"payloads/{site.items('payloads')[0]['id']}/timeline")["items"]
    kinds = [entry["kind"] for entry in timeline]
    for kind in ("association/opened", "payload/completed", "job/stopped", "result/delivered"):
        assert kind in kinds
    # A person's word reaches the role that has to act on it.
    assert site.cli("rerun", "job", job["id"]).returncode == 0
    site.wait(lambda: (j := site.get(f"jobs/{job['id']}"))["attempt"] == 2 and j["stopped_at"])
    site.wait(site.settled)


# On PostgreSQL a further scheduler is a replica and welcome (tests/jobs tell how it behaves).
ALONE = [role for role in (*ROLES, "all") if role != "scheduler" or not on_postgres()]


@pytest.mark.parametrize("role", ALONE)
def test_a_second_process_of_a_role_is_refused(split: Split, role: str) -> None:
    log = split.site.root / "second.log"
    with log.open("wb") as output:
        second = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "serve", "--role", role],
            cwd=split.site.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=60,
            check=False,
        )
    taken = "scp" if role == "all" else role
    assert second.returncode == 1
    (line,) = log.read_text().splitlines()
    assert f"process {split.processes[taken].pid} already has the role {taken}" in line
    assert all(process.poll() is None for process in split.processes.values())


def test_sighup_reads_ae_config_again(split: Split) -> None:
    site = split.site
    path = site.root / "ae_config" / "test.yaml"
    stat = path.stat()
    text = path.read_text()
    assert text.count("CT1") == 1
    there = f"AI@127.0.0.1:{site.ports['dicom']}"
    assert site.cli("echo", there, "--calling", "CT9").returncode != 0
    # The same size and time: who only watches the file does not see that it changed.
    path.write_text(text.replace("CT1", "CT9"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for process in split.processes.values():
        process.send_signal(signal.SIGHUP)
    site.wait(lambda: site.cli("echo", there, "--calling", "CT9").returncode == 0, 20)
    assert site.cli("echo", there, "--calling", "CT1").returncode != 0
    for role in ROLES:
        site.wait(lambda r=role: "ae_config reloaded" in split.log(r).read_text(), 20)
    assert all(process.poll() is None for process in split.processes.values())


def test_sigterm_leaves_nothing(split: Split) -> None:
    pids = {process.pid for process in split.processes.values()}
    family = [p for pid in pids for p in psutil.Process(pid).children(recursive=True)]
    assert split.end() == dict.fromkeys(ROLES, 0)
    gone, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert len(gone) == len(family)
    for port in split.site.ports.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 2)
    assert [s for s in split.site.data.rglob("*") if s.is_socket()] == []
    for role in ROLES:
        assert '"gateway stopped"' in split.log(role).read_text().splitlines()[-1]
    # Every role is free again.
    again = split.start("scp")
    try:
        wait_for_port(split.site.ports["dicom"], again)
    finally:
        again.terminate()
        assert again.wait(30) == 0
