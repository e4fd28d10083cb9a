"""``gateway demo``: the whole way once, on this machine, with nothing left running.

A gateway of its own (SQLite, process executor, free ports), a PACS, a chest phantom whose truth
is known.  It ends well only if the PACS holds what it should and the numbers are right.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console

from gateway.demo.assets import shipped
from gateway.demo.pacs import Pacs, running_pacs
from gateway.demo.phantom import Options, Series, write_series
from gateway.demo.report import Check, check, show_arrivals, show_timeline
from gateway.dicom.peer import Peer
from gateway.dicom.send import send
from gateway.errors import GatewayError, Transient

START_SECONDS = 60.0
WORK_SECONDS = 180.0
SLICES, MATRIX = 120, 256


@dataclass(frozen=True)
class Endpoints:
    """Where the demonstration's gateway listens."""

    dicom: int
    http: int


def main(folder: Path = Path("gateway-demo"), console: Console | None = None) -> int:
    """Run the demonstration in ``folder`` (replaced); returns the exit status."""
    console = console or Console()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    try:
        return _run(folder.resolve(), console)
    except (GatewayError, OSError, httpx.HTTPError) as error:
        console.print(f"[red]demo failed:[/] {error}; the gateway's log: {folder}/gateway.log")
        return 1


def _run(folder: Path, console: Console) -> int:
    began = time.monotonic()
    with (
        running_pacs(folder / "pacs") as pacs,
        running_gateway(folder, configure(folder, pacs.port)) as endpoints,
        httpx.Client(base_url=f"http://127.0.0.1:{endpoints.http}", trust_env=False) as http,
    ):
        console.print(f"gateway: DICOM port {endpoints.dicom}, HTTP port {endpoints.http}")
        console.print(f"PACS: {pacs.name} on port {pacs.port}")
        with console.status("making a chest CT phantom"):
            series = write_series(folder / "phantom", Options(slices=SLICES, matrix=MATRIX))
        _push(series, endpoints, console)
        story = _wait(http, series.study_uid, console)
        checks = check(pacs.received(), series)
        show_arrivals(console, checks)
        show_timeline(console, story)
    console.print(
        f"took {time.monotonic() - began:.0f} s; look around in {folder}: pacs/ holds what arrived,"
        " gateway.log the gateway's log, data/ its spool, payloads and records"
    )
    return _verdict(console, checks)


def _verdict(console: Console, checks: list[Check]) -> int:
    bad = [item for item in checks if not item.ok]
    for item in bad:
        console.print(f"[red]not as it should be:[/] {item.what}: {item.found}")
    if not bad:
        console.print("[green]the PACS holds SEG, SR and SC, and the numbers are the phantom's[/]")
    return 1 if bad else 0


def configure(folder: Path, pacs_port: int) -> Path:
    """Write ``gateway.yaml`` and ``ae_config/`` for a gateway below ``folder``.

    The shipped rules are used as they are; only the PACS's port is this run's, and completion
    waits for the release of the association instead of five quiet seconds.
    """
    config = yaml.safe_load((shipped("ae_config") / "lung-ct.yaml").read_text())
    for application in config["applications"]:
        application["complete-when"] = {"association-released": True, "quiet-seconds": 5}
    for destination in config["destinations"]:
        destination["port"] = pacs_port
    (folder / "ae_config").mkdir()
    (folder / "ae_config" / "lung-ct.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    settings = {
        "data-dir": "data",
        "pipelines": str(shipped("pipelines")),
        "dicom": {"bind": "127.0.0.1", "port": 0},
        "http": {"port": 0},
        "grpc": {"port": 0},
        "storage": {"watermark-percent": 99, "reserve-gb": 1},
    }
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


@contextmanager
def running_gateway(folder: Path, settings: Path) -> Iterator[Endpoints]:
    """A gateway of its own process; ended politely on leaving."""
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(settings)]
    with (
        (folder / "gateway.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            yield _endpoints(folder / "data" / "endpoints.json", process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _endpoints(file: Path, process: subprocess.Popen[bytes]) -> Endpoints:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists():
            found = json.loads(file.read_text())
            return Endpoints(found["dicom"], found["http"])
        time.sleep(0.05)
    raise Transient("the gateway did not start")


def _push(series: Series, endpoints: Endpoints, console: Console) -> None:
    began = time.monotonic()
    peer = Peer(ae_title="LUNG_CT", host="127.0.0.1", port=endpoints.dicom, calling_ae_title="CT1")
    summary = send(series.files, peer)
    if not summary.complete:
        raise Transient("the gateway did not take every slice")
    took = time.monotonic() - began
    console.print(f"CT1 pushed {len(series.files)} slices by C-STORE in {took:.1f} s")


def _wait(http: httpx.Client, study_uid: str, console: Console) -> dict[str, Any]:
    """Wait until every result is delivered; returns the study's whole story."""
    deadline = time.monotonic() + WORK_SECONDS
    with console.status("waiting") as status:
        while time.monotonic() < deadline:
            story: dict[str, Any] = (
                http.get("/api/v1/where", params={"study": study_uid}).raise_for_status().json()
            )
            results = http.get("/api/v1/results").raise_for_status().json()["items"]
            jobs = http.get("/api/v1/jobs").raise_for_status().json()["items"]
            _refuse_failures(jobs, results)
            if results and all(result["state"] == "DELIVERED" for result in results):
                return story
            if story["payloads"]:
                status.update(f"payload {story['payloads'][0]['state']}{_last(story)}")
            time.sleep(0.1)
    raise Transient(f"no result was delivered within {WORK_SECONDS:g} s")


def _last(story: dict[str, Any]) -> str:
    entries = story["payloads"][0]["timeline"]
    return f": {entries[-1]['text']}" if entries else ""


def _refuse_failures(jobs: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
    for job in jobs:
        if job["state"] == "STOPPED" and job["status"] != "HEALTHY":
            raise Transient(f"the job ended {job['status']}: {job['reason']}")
    for result in results:
        if result["state"] == "FAILED":
            raise Transient(f"the delivery failed: {result['reason']}")


__all__ = ["Endpoints", "Pacs", "configure", "main", "running_gateway"]
