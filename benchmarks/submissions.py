"""Job submissions a second over gRPC, with many jobs in the table, beside a bare flushed record."""

from __future__ import annotations

import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from bench_grpc import JOBS, MIB, gateway, seed

from gateway.database.engine import Database, sqlite_url
from gateway.payloads.folders import Folders
from gateway.pipelines import registry
from gateway.platform.wire import jobs_pb2

WANTED = 500
CLIENTS = 16


def submitted(folder: Path, count: int) -> None:
    """Create ``count`` jobs through :data:`CLIENTS` connections; print rates and processor time."""
    seed(folder)
    database = Database(sqlite_url(Folders((folder / "data").resolve()).database))
    with database.read() as connection:
        pipeline = registry.latest(connection, "bench")
    database.close()
    assert pipeline is not None
    request = jobs_pb2.JobsCreateRequest(
        name="bench", priority=jobs_pb2.JOB_PRIORITY_NORMAL, pipeline_id={"value": pipeline.id}
    )
    with gateway(folder, MIB, "api") as (port, pid):
        _create(port, request, 50)
        before, begin = _processor(pid), time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            each = count // CLIENTS
            list(pool.map(lambda _: _create(port, request, each), range(CLIENTS)))
        taken = time.perf_counter() - begin
        spent = (_processor(pid) - before) / (each * CLIENTS)
    bare = _bare(folder, count)
    print(
        f"submissions over gRPC, {CLIENTS} clients, {JOBS} jobs in the table: "
        f"{each * CLIENTS / taken:.0f} a second (wanted {WANTED}), {spent * 1000:.1f} ms of "
        f"processor each; bare flushed records: {bare:.0f} a second"
    )


def _create(port: int, request: jobs_pb2.JobsCreateRequest, count: int) -> None:
    with grpc.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        call = channel.unary_unary(
            "/nvidia.clara.platform.Jobs/Create",
            jobs_pb2.JobsCreateRequest.SerializeToString,
            jobs_pb2.JobsCreateResponse.FromString,
        )
        for _ in range(count):
            answer = call(request)
            assert answer.header.code == 0, answer


def _processor(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _bare(folder: Path, count: int) -> float:
    """Records a second, one flushed transaction each, written by the library alone."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, content TEXT)")
    begin = time.perf_counter()
    for _ in range(count):
        connection.execute("INSERT INTO jobs (content) VALUES (?)", ("x" * 500,))
    taken = time.perf_counter() - begin
    connection.close()
    return count / taken
