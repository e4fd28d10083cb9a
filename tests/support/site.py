"""A whole gateway in a process of its own, with a small pipeline, to be used and killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from gateway.dicom.peer import Peer
from gateway.dicom.scu import Sent, StoreScu
from gateway.errors import GatewayError
from tests.support.databases import database_url, on_postgres

START_SECONDS = 60.0

# Makes one instance per job, with a UID that any attempt of the job would give it.
DERIVE = """
import os, pathlib, time, pydicom
files = sorted(pathlib.Path("/input").rglob("*.dcm"))
ds = pydicom.dcmread(files[0])
job = os.environ["NVIDIA_CLARA_JOBID"]
ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25." + str(int(job, 16))
ds.SeriesInstanceUID = "2.25." + str(int(job, 16) // 7)
ds.InstanceNumber = len(files)
ds.SeriesDescription = "derived"
time.sleep(float(os.environ.get("SECONDS_TO_TAKE", "0")))
ds.save_as("/output/result.dcm")
"""


def operator(name: str, code: str, *, source: str | None = None, **extra: Any) -> dict[str, Any]:
    """One operator that runs Python ``code``; reads /input, writes /output."""
    reads: dict[str, Any] = {"path": "/input"} | ({"from": source} if source else {})
    return {
        "name": name,
        "container": {"image": "test/python", "tag": "1", "command": [sys.executable, "-c", code]},
        "input": [reads],
        "output": [{"path": "/output"}],
    } | extra


def pipeline(name: str, *operators: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """A definition of api-version 0.4.0."""
    return {"api-version": "0.4.0", "name": name, "operators": list(operators)} | extra


def register(source: str) -> dict[str, Any]:
    """The shipped register-results operator, fed by ``source``."""
    return {
        "name": "register",
        "container": {"image": "gateway/register-results"},
        "input": [{"from": source, "path": "/input"}],
        "requests": {"memory": 256},
    }


def deriving(seconds: float = 0, name: str = "derive") -> dict[str, Any]:
    """The standard pipeline of these tests: one derived instance to the rule's destinations."""
    slow = {"variables": {"SECONDS_TO_TAKE": str(seconds)}}
    return pipeline(name, operator("make", DERIVE, **slow), register("make"))


def application(*rules: Mapping[str, Any], **extra: Any) -> dict[str, Any]:
    """The called AE title AI that completes half a second after the last byte."""
    return {
        "ae-title": "AI",
        "complete-when": {"quiet-seconds": 0.5},
        "rules": list(rules),
    } | extra


def rule(name: str = "all", **extra: Any) -> dict[str, Any]:
    """A rule that runs ``derive`` and sends its result to PACS."""
    return {"name": name, "pipeline": "derive", "destinations": ["PACS"]} | extra


class Site:
    """One gateway below ``root``; ``start`` and ``kill`` as often as a test wants."""

    def __init__(
        self,
        root: Path,
        *,
        applications: Sequence[Mapping[str, Any]] | None = None,
        pipelines: Iterable[Mapping[str, Any]] | None = None,
        destinations: Sequence[Mapping[str, Any]] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = root
        for folder in ("ae_config", "pipelines"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for definition in pipelines if pipelines is not None else [deriving()]:
            self.write_pipeline(definition)
        self.configure(
            applications=list(applications or [application(rule())]),
            sources=[{"ae-title": "CT1", "hosts": ["127.0.0.1"]}],
            destinations=list(destinations),
        )
        merged = {
            "dicom": {"bind": "127.0.0.1", "port": 0},
            "http": {"port": 0},
            "grpc": {"port": 0},
            "data-dir": "data",
            "storage": {"watermark-percent": 100, "reserve-gb": 0},
            "jobs": {"grace-seconds": 1},
            "images": {"test/python": {"command": [sys.executable]}},
        } | dict(settings or {})
        self.data = root / merged["data-dir"]
        if on_postgres():
            merged.setdefault("database", {"url": database_url(self.data)})
        (root / "gateway.yaml").write_text(yaml.safe_dump(merged))
        self.process: subprocess.Popen[bytes] | None = None
        self.http: httpx.Client | None = None
        self.ports: dict[str, int] = {}

    def write_pipeline(self, definition: Mapping[str, Any]) -> None:
        """Put a definition into the folder of pipelines."""
        path = self.root / "pipelines" / f"{definition['name']}.yaml"
        path.write_text(yaml.safe_dump(dict(definition), sort_keys=False))

    def configure(self, **config: Any) -> None:
        """Write ``ae_config`` as a whole."""
        self.config = config
        path = self.root / "ae_config" / "test.yaml"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(yaml.safe_dump(config, sort_keys=False))
        temporary.rename(path)

    def start(self, fault: str | None = None, **environ: str) -> None:
        """Start it and wait until it listens, or until an armed fault point killed it."""
        file = self.data / "endpoints.json"
        file.unlink(missing_ok=True)
        armed = {"GATEWAY_FAULT_POINT": fault} if fault else {}
        with (self.root / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve", "--config", "gateway.yaml"],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | armed | environ,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None:
            if file.exists():
                self.ports = json.loads(file.read_text())
                break
            assert time.monotonic() < deadline, "the gateway did not start"
            time.sleep(0.02)
        base = f"http://127.0.0.1:{self.ports.get('http', 9)}"
        self.http = httpx.Client(base_url=base, trust_env=False, timeout=20)

    @property
    def dead(self) -> bool:
        """True when the process ended."""
        return self.process is None or self.process.poll() is not None

    def kill(self) -> None:
        """SIGKILL, as a power cut would end it."""
        assert self.process is not None
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self._ended()

    def _ended(self) -> int:
        assert self.process is not None
        code = self.process.wait(60)
        if self.http is not None:
            self.http.close()
        self.process = self.http = None
        return code

    def get(self, path: str, **params: Any) -> Any:
        """A REST resource below /api/v1, decoded."""
        assert self.http is not None
        answer = self.http.get(f"/api/v1/{path}", params=params)
        answer.raise_for_status()
        return answer.json()

    def items(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """A REST listing, whole."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = self.get(path, **params, **more)
            found += page["items"]
            cursor = page.get("next")
            if cursor is None:
                return found

    def post(self, path: str) -> httpx.Response:
        """An action."""
        assert self.http is not None
        return self.http.post(f"/api/v1/{path}")

    def delete(self, path: str) -> httpx.Response:
        """A deletion."""
        assert self.http is not None
        return self.http.delete(f"/api/v1/{path}")

    def cli(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """The command line, told where this gateway is."""
        return subprocess.run(
            [sys.executable, "-m", "gateway.cli", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.root,
            env=os.environ
            | {
                "GATEWAY_URL": f"http://127.0.0.1:{self.ports['http']}",
                "GATEWAY_HOST": f"127.0.0.1:{self.ports['grpc']}",
            },
        )

    def send(self, paths: Iterable[Path], called: str = "AI", calling: str = "CT1") -> list[Sent]:
        """C-STORE files over one association; what was answered before it broke."""
        answered: list[Sent] = []
        peer = Peer(called, "127.0.0.1", self.ports["dicom"], calling)
        with contextlib.suppress(GatewayError):
            answered.extend(StoreScu(peer).send(list(paths), answered.append))
        return list({sent.path: sent for sent in answered}.values())

    def wait(self, what: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait until ``what`` gives something true; tells the log's end when it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = what()
            if found:
                return found
            time.sleep(0.05)
        tail = (self.root / "gateway.log").read_text()[-3000:]
        if self.http is not None and not self.dead:
            jobs = [(j["state"], j["status"], j["reason"]) for j in self.items("jobs")]
            tail += f"\njobs: {jobs}"
        raise AssertionError(f"waited {seconds} s in vain; the log ends:\n{tail}")

    def settled(self) -> bool:
        """True when nothing is open: no payload, job or result still has work to come."""
        moving = {"RECEIVING", "COMPLETE"}
        return (
            all(p["state"] not in moving for p in self.items("payloads"))
            and all(j["state"] == "STOPPED" for j in self.items("jobs"))
            and all(r["state"] in {"DELIVERED", "FAILED"} for r in self.items("results"))
        )


def write(ds: Dataset, path: Path) -> Path:
    """Save a data set as a file a sender can send."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    return path
