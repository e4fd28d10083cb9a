"""The platform API's transfers beside a bare grpcio handler, and a filter over many jobs.

A whole gateway and a bare grpcio server, each in a process of its own on the same disk, take and
give the same file in turn, round after round.  The bare handler does the same writing and
flushing, and nothing else: no checks, records, names or limits.  Memory is what the gateway's
process has resident, before and at its highest during the transfers.  Jobs come from the load
generator (``gateway load``); they wait, for the gateway runs without a scheduler.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import sqlalchemy as sa
import yaml

from gateway.cli.address import Address
from gateway.cli.remote import Platform
from gateway.database.engine import Database, sqlite_url
from gateway.database.schema import jobs, new_id
from gateway.load.jobs import JobGenerator, sources
from gateway.load.plan import Plan
from gateway.load.run import run
from gateway.payloads.folders import Folders
from gateway.pipelines import registry
from gateway.platform.wire import jobs_pb2, payloads_pb2, pipelines_pb2

KIB = 1024
MIB = KIB * KIB
CHUNKS = {"64 KiB": 64 * KIB, "1 MiB": MIB}
TARGET = 0.8
LIST_TARGET = 0.050
JOBS = 100_000
WANTED = 100
PAYLOADS = "/nvidia.clara.platform.Payloads/"
_MOST = [("grpc.max_receive_message_length", 5 * MIB)]
_PIPELINE = """
api-version: 0.4.0
name: bench
operators:
- {name: a, container: {image: none}, input: [{path: /input}]}
"""


class Bare:
    """The least a server can do to keep a file and give it back."""

    def __init__(self, folder: Path, chunk: int) -> None:
        self._folder = folder
        self._chunk = chunk

    def upload(self, requests: Iterator[Any], _context: Any) -> Any:
        """Write, flush, rename, flush the folder."""
        temporary = self._folder / "temporary"
        with temporary.open("wb", buffering=0) as file:
            for request in requests:
                file.write(request.data)
            os.fsync(file.fileno())
        temporary.rename(self._folder / "file")
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        return payloads_pb2.PayloadsUploadResponse()

    def download(self, _request: Any, _context: Any) -> Iterator[Any]:
        """Read."""
        with (self._folder / "file").open("rb", buffering=0) as file:
            while data := file.read(self._chunk):
                yield payloads_pb2.PayloadsDownloadResponse(data=data)


def serve_bare(folder: Path, chunk: int) -> None:
    """Serve :class:`Bare` until the standard input ends; prints the port."""
    bare = Bare(folder, chunk)
    server = grpc.server(ThreadPoolExecutor(8), options=_MOST)
    handlers = {
        "Upload": grpc.stream_unary_rpc_method_handler(
            bare.upload,
            payloads_pb2.PayloadsUploadRequest.FromString,
            payloads_pb2.PayloadsUploadResponse.SerializeToString,
        ),
        "Download": grpc.unary_stream_rpc_method_handler(
            bare.download,
            payloads_pb2.PayloadsDownloadRequest.FromString,
            payloads_pb2.PayloadsDownloadResponse.SerializeToString,
        ),
    }
    name = PAYLOADS.strip("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


@contextmanager
def bare(folder: Path, chunk: int) -> Iterator[int]:
    """The bare server's port."""
    folder.mkdir()
    command = [sys.executable, __file__, "--serve-bare", str(folder), "--chunk", str(chunk)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.communicate(timeout=20)


@contextmanager
def gateway(folder: Path, chunk: int, role: str = "all") -> Iterator[tuple[int, int]]:
    """A gateway below ``folder``, whole or in one role: port and process id."""
    for name in ("ae_config", "pipelines"):
        (folder / name).mkdir(exist_ok=True)
    settings = {
        "data-dir": "data",
        "dicom": {"bind": "127.0.0.1", "port": 0},
        "http": {"port": 0},
        "grpc": {"port": 0, "download-chunk-kb": chunk // KIB},
        "storage": {"watermark-percent": 100, "reserve-gb": 0},
    }
    (folder / "gateway.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", "gateway.yaml"]
    command += ["--role", role]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        while '"gateway started"' not in (text := (folder / "log").read_text()):
            assert process.poll() is None, text[-2000:]
            time.sleep(0.05)
        started = next(line for line in text.splitlines() if '"gateway started"' in line)
        yield int(json.loads(started)["grpc"]), process.pid
    finally:
        process.terminate()
        process.wait(60)


def upload(channel: grpc.Channel, payload: str, size: int, chunk: int) -> float:
    """Seconds to send ``size`` bytes."""
    call = channel.stream_unary(
        PAYLOADS + "Upload",
        payloads_pb2.PayloadsUploadRequest.SerializeToString,
        payloads_pb2.PayloadsUploadResponse.FromString,
    )
    # As NVIDIA's client does, every message repeats the payload and the name.
    message = payloads_pb2.PayloadsUploadRequest(
        payload_id={"value": payload}, details={"name": "file", "size": chunk}, data=b"x" * chunk
    )
    started = time.perf_counter()
    answer = call(message for _ in range(size // chunk))
    taken = time.perf_counter() - started
    assert answer.header.code == 0, answer
    return taken


def download(channel: grpc.Channel, payload: str, size: int) -> float:
    """Seconds to fetch it again."""
    call = channel.unary_stream(
        PAYLOADS + "Download",
        payloads_pb2.PayloadsDownloadRequest.SerializeToString,
        payloads_pb2.PayloadsDownloadResponse.FromString,
    )
    request = payloads_pb2.PayloadsDownloadRequest(payload_id={"value": payload}, name="file")
    started = time.perf_counter()
    got = sum(len(answer.data) for answer in call(request))
    taken = time.perf_counter() - started
    assert got == size
    return taken


def create(channel: grpc.Channel) -> str:
    """A new payload."""
    call = channel.unary_unary(
        PAYLOADS + "Create",
        payloads_pb2.PayloadsCreateRequest.SerializeToString,
        payloads_pb2.PayloadsCreateResponse.FromString,
    )
    made: str = call(payloads_pb2.PayloadsCreateRequest()).payload_id.value
    return made


def resident(pid: int, *, highest: bool) -> float:
    """The resident memory of the gateway's process in MiB, now or the highest since :func:`reset`.

    The kernel keeps the highest by itself; looking at PSS meanwhile would hold the process up.
    """
    wanted = "VmHWM:" if highest else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(wanted)).split()[1]) / KIB


def reset(pid: int) -> None:
    """Let the highest resident memory count from now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def transfers(folder: Path, label: str, chunk: int, size: int, rounds: int) -> bool:
    """Both directions at one size of chunks; True when both are fast enough."""
    times: dict[str, list[float]] = {}

    def note(name: str, measure: Callable[[], float]) -> None:
        times.setdefault(name, []).append(measure())

    with (
        gateway(folder, chunk) as (port, pid),
        bare(folder / f"bare {label}", chunk) as bare_port,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=_MOST) as ours,
        grpc.insecure_channel(f"127.0.0.1:{bare_port}", options=_MOST) as plain,
    ):
        payload = create(ours)
        # A file as large as those that count: a virtual machine pays far more for memory that it
        # never touched before, and the first of the two would pay for both.
        for channel in (ours, plain, ours, plain):
            upload(channel, payload, size, chunk)
        before = resident(pid, highest=False)
        reset(pid)
        turns = [("ours", ours), ("bare", plain)]
        for number in range(2 * rounds):
            # Who comes first takes turns too: the second finds the machine as the first left it.
            for who, channel in turns[:: 1 if number % 2 else -1]:
                if number < rounds:
                    note(f"up {who}", functools.partial(upload, channel, payload, size, chunk))
                else:
                    note(f"down {who}", functools.partial(download, channel, payload, size))
        grown = resident(pid, highest=True) - before
    fine = True
    for way in ("up", "down"):
        pairs = zip(times[f"{way} ours"], times[f"{way} bare"], strict=True)
        ratio = statistics.median(theirs / mine for mine, theirs in pairs)
        speed = {
            who: size / MIB / statistics.median(times[f"{way} {who}"]) for who in ("ours", "bare")
        }
        fine &= ratio >= TARGET
        print(
            f"{way:>4}load {size / MIB:.0f} MiB, {label} chunks: "
            f"gateway {speed['ours']:.0f} MiB/s, bare {speed['bare']:.0f} MiB/s, "
            f"ratio {ratio:.2f} (wanted {TARGET})"
        )
    print(f"     memory: {before:.0f} MiB before, at most {grown:.0f} MiB more")
    return fine and grown < 64


def generated(folder: Path, count: int) -> bool:
    """Jobs through the load generator beside bare flushed uploads; for information, no target."""
    given = folder / "input"
    given.write_bytes(os.urandom(64 * KIB))
    with (
        gateway(folder, MIB, "api") as (port, _),
        bare(folder / "bare", MIB) as bare_port,
        Platform(Address("", f"127.0.0.1:{port}")) as caller,
        grpc.insecure_channel(f"127.0.0.1:{bare_port}") as plain,
    ):
        inputs = sources(given, recurse=False)
        definition = pipelines_pb2.PipelinesCreateRequest(definition={"content": _PIPELINE})
        wanted = caller.send("Pipelines.Create", [definition]).pipeline_id.value
        made = JobGenerator(caller, "bench", wanted, inputs, numbered=True)
        run(Plan(count=16), made, workers=8)
        alone = run(Plan(count=count), made).body()
        times = [upload(plain, "", 64 * KIB, 64 * KIB) for _ in range(count)]
        together = run(Plan(count=count), made, workers=8).body()
    whole = alone["latency_ms"]["whole"]
    print(
        f"     jobs (create, 64 KiB up, start), one at a time: {alone['rate_per_second']:.0f} a "
        f"second, median {whole['p50']:.1f} ms, p99 {whole['p99']:.1f} ms; as long as "
        f"{whole['p50'] / 1000 / statistics.median(times):.1f} bare flushed uploads\n"
        f"     eight at a time: {together['rate_per_second']:.0f} a second, "
        f"p99 {together['latency_ms']['whole']['p99']:.1f} ms"
    )
    return not (alone["failures"] or together["failures"])


def seed(folder: Path) -> None:
    """A database with many stopped jobs, one in a thousand of them FAULTED."""
    folders = Folders((folder / "data").resolve())
    folders.create()
    database = Database(sqlite_url(folders.database))
    database.create()
    with database.begin() as connection:
        pipeline = registry.register(connection, _PIPELINE, "bench.yaml")
        now = time.time() - 86400
        rows = [_job(pipeline.id, number, now) for number in range(JOBS)]
        for start in range(0, JOBS, 5000):
            connection.execute(sa.insert(jobs), rows[start : start + 5000])
    database.close()


def _job(pipeline: str, number: int, now: float) -> dict[str, Any]:
    at = now + number * 0.5
    return {
        "id": new_id(), "correlation_id": new_id(), "name": f"bench-{number}",
        "pipeline_id": pipeline, "payload_id": new_id(), "selected": [], "priority": 2,
        "state": "STOPPED", "status": "FAULTED" if number % (JOBS // WANTED) == 7 else "HEALTHY",
        "attempt": 1, "retries": 0, "variables": {}, "destinations": [],
        "metadata": {"Source": "bench", "00080060": "CT"}, "cpu": 1.0, "memory_mb": 512,
        "gpus": 0, "timeout_seconds": 600.0, "created_at": at, "queued_at": at,
        "started_at": at + 1, "stopped_at": at + 2,
    }  # fmt: skip


def listing(folder: Path, rounds: int) -> bool:
    """Time of a filter that lets 100 of 100 000 jobs through."""
    seed(folder)
    with gateway(folder, MIB) as (port, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_stream(
            "/nvidia.clara.platform.Jobs/List",
            jobs_pb2.JobsListRequest.SerializeToString,
            jobs_pb2.JobsListResponse.FromString,
        )
        middle = int(time.time()) - 86400 + JOBS // 4 + 62135596800
        filters = {
            "by status": ({"has_status": [jobs_pb2.JOB_STATUS_FAULTED]}, WANTED),
            "by status and state": (
                {
                    "has_status": [jobs_pb2.JOB_STATUS_FAULTED],
                    "has_state": [jobs_pb2.JOB_STATE_STOPPED],
                },
                WANTED,
            ),
            "by time and status": (
                {
                    "has_status": [jobs_pb2.JOB_STATUS_FAULTED],
                    "created_after": {"value": middle},
                },
                None,
            ),
            "by completion": ({"completed_before": {"value": middle - JOBS // 4 + 50}}, None),
        }
        fine = True
        for name, (wanted, number) in filters.items():
            request = jobs_pb2.JobsListRequest(filter=wanted)
            times = []
            found = 0
            for _ in range(max(5, rounds)):
                started = time.perf_counter()
                found = len(list(call(request)))
                times.append(time.perf_counter() - started)
            assert number in (None, found), found
            taken = statistics.median(times)
            fine &= taken <= LIST_TARGET
            print(
                f"     {found} of {JOBS} jobs {name}: {taken * 1000:.1f} ms "
                f"(wanted {LIST_TARGET * 1000:.0f})"
            )
    return fine


def main() -> int:
    """Measure everything; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=200, help="jobs to generate each way")
    parser.add_argument("--serve-bare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--chunk", type=int, default=MIB, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_bare:
        serve_bare(options.serve_bare, options.chunk)
        return 0
    fine = True
    with tempfile.TemporaryDirectory(prefix="bench-grpc-") as name:
        for label, chunk in CHUNKS.items():
            fine &= transfers(Path(name), label, chunk, options.mib * MIB, options.rounds)
    with tempfile.TemporaryDirectory(prefix="bench-grpc-") as name:
        fine &= generated(Path(name), options.jobs)
    with tempfile.TemporaryDirectory(prefix="bench-grpc-") as name:
        fine &= listing(Path(name), options.rounds)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
