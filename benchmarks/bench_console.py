"""The console's lists over a hundred thousand jobs: what the server takes for a page, filtered too.

Prints for each call the median time of the answer, the CPU time in it (all that counts where other
programs are busy), and the ratio to the bare query that SQLite itself runs for the first page.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from gateway.config.live import LiveAeConfig
from gateway.database import schema
from gateway.database.engine import Database, sqlite_url
from gateway.events.wake import Wakeups
from gateway.web.application import create_app
from gateway.web.server import HttpServer
from gateway.web.services import Actions, Services

JOBS = 100_000
ROUNDS = 15
TARGET_MS = 100.0
CALLS = (
    "/api/v1/jobs?limit=100",
    "/api/v1/jobs?limit=100&state=STOPPED",
    "/api/v1/jobs?limit=100&state=RUNNING",
    "/api/v1/jobs?limit=100&status=FAULTED",
    "/api/v1/jobs?limit=100&status=HEALTHY&state=STOPPED",
    "/api/v1/jobs?limit=100&priority=immediate",
    "/api/v1/jobs?limit=100&pipeline=pipeline-3",
    "/api/v1/jobs?limit=100&called_ae=AE7",
    "/api/v1/jobs?limit=100&called_ae=NOBODY",
    "/api/v1/jobs?limit=100&rule=no%20such%20rule",
    "/api/v1/jobs?limit=100&since=2026-01-01T06:00:00Z&until=2026-01-01T09:00:00Z",
    "/api/v1/overview",
    "/api/v1/pipeline-cards",
)
_DEFINITION = """
api-version: 0.4.0
name: pipeline-{}
operators:
- {{name: a, container: {{image: none}}, input: [{{path: /input}}]}}
"""
_BEGAN = 1767225600.0
"""2026-01-01; the jobs follow each other by a second."""


def seed(database: Database, count: int) -> None:
    """Put ``count`` jobs of twenty pipelines into an empty database."""
    pipelines = [schema.new_id() for _ in range(20)]
    with database.begin() as connection:
        connection.execute(
            sa.insert(schema.pipelines),
            [
                {"id": key, "name": f"pipeline-{n}", "version": 1, "digest": "0" * 64,
                 "definition": _DEFINITION.format(n), "file": "p.yaml", "metadata": {},
                 "created_at": _BEGAN}
                for n, key in enumerate(pipelines)
            ],
        )  # fmt: skip
        for begin in range(0, count, 5000):
            rows = [_job(n, pipelines) for n in range(begin, min(count, begin + 5000))]
            connection.execute(sa.insert(schema.jobs), rows)


def _job(n: int, pipelines: Sequence[str]) -> dict[str, Any]:
    state = "PENDING" if n % 1000 == 1 else "RUNNING" if n % 5000 == 2 else "STOPPED"
    at = _BEGAN + n
    return {
        "id": schema.new_id(), "correlation_id": schema.new_id(), "name": f"job-{n}",
        "pipeline_id": pipelines[n % 20], "payload_id": schema.new_id(), "rule": f"rule {n % 20}",
        "called_ae": f"AE{n % 40}", "selected": ["1.2.3"], "priority": 4 if n % 500 == 0 else 2,
        "state": state, "status": "FAULTED" if n % 300 == 0 else "HEALTHY", "attempt": 1,
        "variables": {}, "destinations": ["PACS"], "metadata": {}, "cpu": 1, "memory_mb": 512,
        "gpus": 0, "timeout_seconds": 600, "created_at": at, "queued_at": at, "notes": [],
        "started_at": None if state == "PENDING" else at + 1,
        "stopped_at": at + 60 if state == "STOPPED" else None,
    }  # fmt: skip


@contextmanager
def served(folder: Path, count: int) -> Iterator[tuple[httpx.Client, Database]]:
    """A served application over ``count`` jobs."""
    database = Database(sqlite_url(folder / "gateway.db"))
    database.create()
    seed(database, count)
    (folder / "ae_config").mkdir()

    def nothing(_identifier: str) -> None:
        return None

    services = Services(
        database=database, wakeups=Wakeups(), ae_config=LiveAeConfig(folder / "ae_config"),
        data_dir=folder, version="0", checks={}, registry=CollectorRegistry(),
        actions=Actions(*[nothing] * 7),
    )  # fmt: skip
    server = HttpServer(create_app(services), "127.0.0.1", 0)
    server.start()
    base = f"http://127.0.0.1:{server.port}"
    try:
        with httpx.Client(base_url=base, trust_env=False, timeout=60) as client:
            yield client, database
    finally:
        server.stop()
        database.close()


def milliseconds(
    client: httpx.Client, call: str, rounds: int = ROUNDS
) -> tuple[list[float], list[float]]:
    """From the call to the end of the answer: by the clock, and CPU time.

    Both hold the client's share, for it runs in the same process.
    """
    clock, cpu = [], []
    for _ in range(rounds):
        began, worked = time.perf_counter(), time.process_time()
        client.get(call).raise_for_status()
        clock.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - worked))
    return clock, cpu


def deep(client: httpx.Client, pages: int = 20) -> str:
    """The call of a page that lies ``pages`` of 1000 further on."""
    cursor = ""
    for _ in range(pages):
        cursor = client.get(f"/api/v1/jobs?limit=1000{cursor}").json()["next"]
        cursor = f"&cursor={cursor}"
    return f"/api/v1/jobs?limit=100{cursor}"


def bare(database: Database) -> float:
    """The median time of the bare query of the first page, rows fetched."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with database.read() as connection:
            query = "SELECT * FROM jobs ORDER BY created_at DESC, id DESC LIMIT 101"
            connection.exec_driver_sql(query).all()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; with ``--json`` only that."""
    with tempfile.TemporaryDirectory() as name, served(Path(name), JOBS) as (client, database):
        plain = bare(database)
        rows = []
        for call in (*CALLS, deep(client)):
            clock, cpu = milliseconds(client, call)
            rows.append((call, statistics.median(clock), statistics.median(cpu)))
    if "--json" in arguments:
        print(json.dumps([{"call": c, "median_ms": m, "cpu_ms": w} for c, m, w in rows]))
        return 0
    print(f"{JOBS} jobs; the bare query of a page takes {plain:.1f} ms")
    for call, median, cpu in rows:
        print(f"{median:8.1f} ms  CPU {cpu:8.1f} ms  ratio {median / plain:6.1f}  {call[:90]}")
    return 0 if all(median <= TARGET_MS for _, median, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
