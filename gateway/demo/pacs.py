"""A PACS for the demonstration: Orthanc where it is installed, else a storage SCP of pynetdicom.

Both are other people's implementations on purpose: what arrives there has crossed a real wire.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import httpx
import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt

START_SECONDS = 30.0
AE_TITLE = "ORTHANC"


class Pacs(Protocol):
    """What the demonstration wants of a PACS."""

    name: str
    port: int

    def received(self) -> list[Dataset]:
        """Every instance it holds."""


@contextmanager
def running_pacs(folder: Path) -> Iterator[Pacs]:
    """Start a PACS that keeps its images below ``folder``; ended on leaving."""
    folder.mkdir(parents=True)
    orthanc = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    started = _orthanc(orthanc, folder) if orthanc else _stand_in(folder)
    with started as pacs:
        yield pacs


@dataclass
class _StandIn:
    name: str
    port: int
    folder: Path

    def received(self) -> list[Dataset]:
        """Read every file that was stored."""
        return [pydicom.dcmread(path) for path in sorted(self.folder.glob("*.dcm"))]


@contextmanager
def _stand_in(folder: Path) -> Iterator[_StandIn]:
    def store(event: Any) -> int:
        path = folder / f"{event.request.AffectedSOPInstanceUID}.dcm"
        path.write_bytes(event.encoded_dataset())
        return 0x0000

    ae = AE(ae_title=AE_TITLE)
    ae.supported_contexts = AllStoragePresentationContexts
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield _StandIn("storage SCP (pynetdicom)", server.server_address[1], folder)
    finally:
        server.shutdown()


@dataclass
class _Orthanc:
    name: str
    port: int
    http: httpx.Client

    def received(self) -> list[Dataset]:
        """Fetch every instance by REST."""
        found: list[Dataset] = []
        for identifier in self.http.get("/instances").raise_for_status().json():
            file = self.http.get(f"/instances/{identifier}/file").raise_for_status()
            found.append(pydicom.dcmread(BytesIO(file.content)))
        return found


@contextmanager
def _orthanc(program: str, folder: Path) -> Iterator[_Orthanc]:
    port, http_port = _free_port(), _free_port()
    settings = {
        "Name": "demo",
        "DicomAet": AE_TITLE,
        "DicomPort": port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": True,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [],
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(settings))
    with (
        (folder / "orthanc.log").open("wb") as log,
        httpx.Client(base_url=f"http://127.0.0.1:{http_port}", trust_env=False) as http,
        subprocess.Popen(
            [program, str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process,
    ):
        try:
            _wait(http, process)
            yield _Orthanc("Orthanc", port, http)
        finally:
            process.terminate()


def _wait(http: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            http.get("/system").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("Orthanc did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
