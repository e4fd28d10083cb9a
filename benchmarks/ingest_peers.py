"""The receivers that are compared: the gateway in both modes, DCMTK, Orthanc, pynetdicom."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.dicom.peer import Peer
from gateway.dicom.scu import echo
from gateway.errors import Transient

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
RECEIVERS = ("DCMTK", "gateway process", "gateway power", "Orthanc", "pynetdicom")


@dataclass
class Receiver:
    """A running receiver."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    root: Path

    def settle(self, wanted: int) -> float:
        """Wait until a gateway has ``wanted`` instances in its index; returns the seconds it took.

        It must not use the processor while the next receiver is measured."""
        began = time.monotonic()
        if not self.name.startswith("gateway"):
            return 0.0
        deadline = time.monotonic() + 60
        while count(self.root) < wanted:
            assert time.monotonic() < deadline, "the index does not keep up"
            time.sleep(0.01)
        return time.monotonic() - began


def count(root: Path) -> int:
    """Instances in the index of the gateway below ``root``."""
    connection = sqlite3.connect(f"file:{root}/data/gateway.db?mode=ro", uri=True)
    try:
        return int(connection.execute("select count(*) from instances").fetchone()[0])
    finally:
        connection.close()


@contextmanager
def gateway(
    root: Path,
    durability: str,
    application: dict[str, Any] | None = None,
    pipeline: dict[str, Any] | None = None,
) -> Iterator[Receiver]:
    """A whole gateway, as ``gateway serve`` runs it, with its index on."""
    for folder in ("ae", "pipelines"):
        (root / folder).mkdir(parents=True)
    ae = {
        "applications": [{"ae-title": "BENCH", **(application or {})}],
        "sources": [{"ae-title": "SENDER", "hosts": ["127.0.0.1"]}],
    }
    (root / "ae" / "bench.yaml").write_text(yaml.safe_dump(ae))
    if pipeline is not None:
        (root / "pipelines" / "bench.yaml").write_text(yaml.safe_dump(pipeline))
    settings = {
        "data-dir": "data",
        "ae-config": "ae",
        "pipelines": "pipelines",
        "dicom": {"bind": "127.0.0.1", "port": 0, "durability": durability},
        "http": {"port": 0},
        "grpc": {"port": 0},
        "storage": {"watermark-percent": 100, "reserve-gb": 0},
        "images": {"bench/python": {"command": [sys.executable]}},
    }
    (root / "gateway.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", "gateway.yaml"]
    command += ["--log-level", "warning"]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, stdout=log, stderr=log)
    with _ended(process):
        endpoints = root / "data" / "endpoints.json"
        while not endpoints.exists():
            assert process.poll() is None, (root / "log").read_text()
            time.sleep(0.05)
        port = json.loads(endpoints.read_text())["dicom"]
        yield _ready(Receiver(f"gateway {durability}", port, process, root))


@contextmanager
def dcmtk(root: Path) -> Iterator[Receiver]:
    """``storescp`` writing bit for bit; one process per association."""
    root.mkdir()
    port = _free_port()
    command = ["storescp", "-aet", "BENCH", "-od", str(root), "-pdu", "131072", "+B", "--fork"]
    process = subprocess.Popen([*command, str(port)], env=ENVIRONMENT)
    with _ended(process):
        yield _ready(Receiver("DCMTK", port, process, root))


@contextmanager
def orthanc(root: Path) -> Iterator[Receiver]:
    """Orthanc, each file flushed before it is acknowledged."""
    root.mkdir()
    port = _free_port()
    configuration = {
        "DicomAet": "BENCH",
        "DicomPort": port,
        "HttpPort": _free_port(),
        "StorageDirectory": str(root / "storage"),
        "IndexDirectory": str(root / "storage"),
        "SyncStorageArea": True,
        "DicomAlwaysAllowStore": True,
        "MaximumPduLength": 131072,
        "DicomThreadsCount": 4,
        "Plugins": [],
    }
    (root / "orthanc.json").write_text(json.dumps(configuration))
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            ["Orthanc", str(root / "orthanc.json")], env=ENVIRONMENT, stdout=log, stderr=log
        )
    with _ended(process):
        yield _ready(Receiver("Orthanc", port, process, root))


@contextmanager
def pynetdicom(root: Path) -> Iterator[Receiver]:
    """pynetdicom writing the raw data sets."""
    root.mkdir()
    command = [sys.executable, __file__, str(root)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE)
    with _ended(process):
        assert process.stdout is not None
        yield _ready(Receiver("pynetdicom", int(process.stdout.readline()), process, root))
        process.stdout.close()


@contextmanager
def all_receivers(folder: Path) -> Iterator[dict[str, Receiver]]:
    """Every receiver, running at once; only one is sent to at a time."""
    with ExitStack() as stack:
        made = [
            dcmtk(folder / "dcmtk"),
            gateway(folder / "process", "process"),
            gateway(folder / "power", "power"),
            orthanc(folder / "orthanc"),
            pynetdicom(folder / "pynetdicom"),
        ]
        running = [stack.enter_context(each) for each in made]
        yield {receiver.name: receiver for receiver in running}


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _ready(receiver: Receiver) -> Receiver:
    for _ in range(200):
        assert receiver.process.poll() is None, f"{receiver.name} ended"
        try:
            echo(Peer("BENCH", "127.0.0.1", receiver.port, "SENDER"))
        except Transient:
            time.sleep(0.05)
        else:
            return receiver
    raise TimeoutError(f"{receiver.name} does not answer C-ECHO")


def _serve_pynetdicom(root: Path) -> None:
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
    from pynetdicom import AE, evt

    def store(event: evt.Event) -> int:
        (root / str(event.request.AffectedSOPInstanceUID)).write_bytes(
            event.request.DataSet.getbuffer()
        )
        return 0

    def nodelay(event: evt.Event) -> None:
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    ae = AE("BENCH")
    ae.maximum_pdu_size = 131072
    ae.maximum_associations = 64
    ae.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    ae.add_supported_context("1.2.840.10008.1.1")
    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_CONN_OPEN, nodelay)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    print(server.server_address[1], flush=True)
    done.wait()
    server.shutdown()


if __name__ == "__main__":
    _serve_pynetdicom(Path(sys.argv[1]))
