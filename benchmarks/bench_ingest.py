"""How fast instances come in over one association, beside DCMTK and pynetdicom in the same run.

One sender (the gateway's own, in a process of its own) sends the same CT slices to each receiver
in turn, round after round; the medians are compared.  Receivers: the gateway with its spool and
index (``power`` and ``process``), the gateway's wire with a plain file writer, DCMTK's
``storescp --bit-preserving`` and pynetdicom writing raw files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateway.config.live import LiveAeConfig
from gateway.config.settings import DicomSettings, StorageSettings
from gateway.database.engine import Database, sqlite_url
from gateway.dicom.peer import Peer
from gateway.dicom.scp import StorageScp
from gateway.dicom.scu import StoreScu, echo
from gateway.errors import Transient
from gateway.events.wake import Wakeups
from gateway.payloads.associations import Associations
from gateway.payloads.folders import Folders
from gateway.payloads.indexer import Indexer
from gateway.payloads.receiving import Arrival, Outcome, Spool, Status
from gateway.payloads.space import Space
from gateway.payloads.spool import DiskSpool

SIZES = {"524 kB": (512, 512, 200), "40 kB": (140, 142, 500)}
"""Rows, columns and how many instances a round sends."""

RECEIVERS = ("DCMTK", "gateway process", "gateway power", "gateway plain", "pynetdicom")
_UID = "1.2.826.0.1.3680043.8.498.7"


class PlainSpool:
    """Writes each instance to a file and nothing else: what the wire alone can do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def open(self, arrival: Arrival) -> _PlainFile:  # noqa: ARG002 - the interface
        """Begin a file."""
        self._count += 1
        return _PlainFile(self._folder / str(self._count))


class _PlainFile:
    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        os.write(self._fd, data)

    def commit(self) -> Outcome:
        os.close(self._fd)
        return Outcome(Status.SUCCESS)

    def abort(self) -> None:
        os.close(self._fd)


def make_slices(folder: Path, rows: int, columns: int, count: int) -> list[Path]:
    """Write one CT series; every file differs only in its SOP Instance UID and position."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"{_UID}.100000"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{_UID}.1", f"{_UID}.2"
    ds.Modality, ds.PatientID, ds.PatientName = "CT", "BENCH", "Bench"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = rows, columns, 16, 16, 15
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.ImagePositionPatient, ds.PixelSpacing = [0, 0, 0], [0.7, 0.7]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelData = os.urandom(rows * columns * 2)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    folder.mkdir()
    first = folder / "first"
    ds.save_as(first, enforce_file_format=True)
    whole = first.read_bytes()
    first.unlink()
    paths = []
    for number in range(100001, 100001 + count):
        path = folder / str(number)
        path.write_bytes(whole.replace(f"{_UID}.100000".encode(), f"{_UID}.{number}".encode()))
        paths.append(path)
    return paths


def serve(kind: str, root: Path) -> None:
    """Run one of our receivers until SIGTERM; prints its port."""
    if kind == "pynetdicom":
        _serve_pynetdicom(root)
        return
    folders = Folders(root / "data")
    folders.create()
    ae = root / "ae"
    ae.mkdir()
    (ae / "bench.yaml").write_text(yaml.safe_dump({"applications": [{"ae-title": "BENCH"}]}))
    database = Database(sqlite_url(folders.database))
    database.create()
    wakeups, config = Wakeups(), LiveAeConfig(ae)
    spool: Spool = PlainSpool(folders.incoming)
    indexer = Indexer(database, folders, wakeups)
    if kind != "gateway plain":
        space = Space(folders.root, StorageSettings(watermark_percent=100, reserve_gb=0))
        durability = "power" if kind == "gateway power" else "process"
        spool = DiskSpool(folders, indexer, config, space, durability)  # type: ignore[arg-type]
    settings = DicomSettings(bind="127.0.0.1", port=0, reject_unknown_sources=False)
    scp = StorageScp(settings, config, spool, Associations(database, wakeups))
    scp.start()
    _until_terminated(scp.port)
    scp.stop(1)
    indexer.stop()
    database.close()


def _serve_pynetdicom(root: Path) -> None:
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
    ae.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    ae.add_supported_context("1.2.840.10008.1.1")
    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_CONN_OPEN, nodelay)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    _until_terminated(server.server_address[1])
    server.shutdown()


def _until_terminated(port: int) -> None:
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    print(port, flush=True)
    done.wait()


@contextmanager
def receiver(kind: str, root: Path) -> Iterator[int]:
    """A receiver with an empty folder; yields its port."""
    environment = {**os.environ, "TCP_NODELAY": "1"}
    if kind == "DCMTK":
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        command = ["storescp", "-aet", "BENCH", "-od", str(root), "-pdu", "131072", "+B", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    else:
        command = [sys.executable, __file__, "--serve", kind, "--folder", str(root)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        port = int(process.stdout.readline())
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def _wait(port: int) -> None:
    for _ in range(100):
        try:
            echo(Peer("BENCH", "127.0.0.1", port, "SENDER"))
        except Transient:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the receiver does not answer C-ECHO")


def send(port: int, paths: list[Path]) -> float:
    """Send over one association; returns instances per second."""
    began = time.perf_counter()
    for sent in StoreScu(Peer("BENCH", "127.0.0.1", port, "SENDER")).send(paths):
        assert sent.stored, sent
    return len(paths) / (time.perf_counter() - began)


def compare(
    name: str, paths: list[Path], folder: Path, rounds: int, kinds: tuple[str, ...]
) -> dict[str, float]:
    """Alternate over the receivers; returns the median rate of each."""
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind in kinds:
            root = folder / f"{name[:3].strip()}-{number}-{kind.replace(' ', '-')}"
            root.mkdir()
            with receiver(kind, root) as port:
                rates[kind].append(send(port, paths))
            shutil.rmtree(root)
    return {kind: statistics.median(values) for kind, values in rates.items()}


def disk_limit(folder: Path, size: int) -> float:
    """New files of ``size`` bytes, each with fdatasync, per second: the bound of ``power``."""
    data = os.urandom(size)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 1.0:
        fd = os.open(folder / f"disk-{count}", os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(fd, data)
        os.fdatasync(fd)
        os.close(fd)
        count += 1
    seconds = time.perf_counter() - began
    for number in range(count):
        (folder / f"disk-{number}").unlink()
    return count / seconds


def report(name: str, medians: dict[str, float], disk: float, show: Callable[[str], None]) -> None:
    """One line per receiver."""
    base = medians["DCMTK"]
    show(f"{name} CT slices, one association (new files with fdatasync alone: {disk:.0f}/s)")
    for kind, rate in medians.items():
        line = f"  {kind:16} {rate:7.0f} instances/s   {rate / base:5.2f} x DCMTK"
        if "pynetdicom" in medians:
            line += f"   {rate / medians['pynetdicom']:5.1f} x pynetdicom"
        show(line)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of instances")
    parser.add_argument("--only", action="append", help=f"of {', '.join(RECEIVERS)}")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.folder)
        return
    kinds = ("DCMTK", *(k for k in options.only or RECEIVERS if k != "DCMTK"))
    with tempfile.TemporaryDirectory(prefix="bench-ingest-", dir=options.folder) as name:
        folder = Path(name)
        for size, (rows, columns, count) in SIZES.items():
            made = folder / size.replace(" ", "")
            paths = make_slices(made, rows, columns, max(10, int(count * options.scale)))
            medians = compare(size, paths, folder, options.rounds, kinds)
            report(size, medians, disk_limit(folder, rows * columns * 2), print)


if __name__ == "__main__":
    main()
