"""A delivery worker over a :class:`~tests.support.job_payload.JobPayload`, with quick numbers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import yaml

from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.delivery.agent import Agent
from gateway.delivery.dicom_agent import DicomAgent
from gateway.delivery.folder_agent import FolderAgent
from gateway.delivery.policy import Policy
from gateway.delivery.worker import DeliveryWorker
from gateway.dicom.limits import RequestorTimeouts
from gateway.events.wake import Wakeups
from gateway.results.backoff import Backoff
from tests.support.job_payload import JobPayload

QUICK = Policy(backoff=Backoff(0.05, 0.2), poll_seconds=0.02, stop_seconds=10)
"""Seconds of the real thing become hundredths."""
TIMEOUTS = RequestorTimeouts(connect_seconds=2, associate_seconds=2, response_seconds=2)


def peer(name: str, port: int, aet: str | None = None) -> dict[str, Any]:
    """A DICOM destination on loopback as ``ae_config`` writes it."""
    return {"name": name, "ae-title": aet or name, "host": "127.0.0.1", "port": port}


class AeFolder:
    """An ``ae_config`` folder with nothing but destinations."""

    def __init__(self, folder: Path, destinations: Sequence[dict[str, Any]]) -> None:
        folder.mkdir(exist_ok=True)
        self._file = folder / "destinations.yaml"
        self.write(destinations)
        self.live = LiveAeConfig(folder)

    def write(self, destinations: Sequence[dict[str, Any]]) -> None:
        self._file.write_text(yaml.safe_dump({"destinations": list(destinations)}))

    def change(self, destinations: Sequence[dict[str, Any]]) -> None:
        """Swap the destinations, as an edit of the file does."""
        self.write(destinations)
        assert self.live.reload()


def worker(
    database: Database,
    data_dir: Path,
    config: LiveAeConfig,
    policy: Policy = QUICK,
    dicom: Agent | None = None,
) -> DeliveryWorker:
    """A worker with the real agents."""
    return DeliveryWorker(
        database,
        Wakeups(),
        config,
        data_dir,
        dicom=dicom or DicomAgent(TIMEOUTS),
        folder=FolderAgent(),
        policy=policy,
    )


@contextmanager
def delivering(subject: DeliveryWorker) -> Iterator[DeliveryWorker]:
    """``subject`` recovered and running; stopped, and seen to have stopped, on leaving."""
    subject.recover()
    thread = threading.Thread(target=subject.run, name="delivery")
    thread.start()
    try:
        yield subject
    finally:
        subject.stop()
        thread.join(30)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    """Return when ``condition()`` is true; fails after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@contextmanager
def program(
    name: str, *arguments: Path | int, fault: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A program of this folder that dies at the point ``fault``, or is killed on leaving."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name(name)), *map(str, arguments)],
        env={**os.environ, "GATEWAY_FAULT_POINT": fault},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def delivering_process(
    house: JobPayload, ae_dir: Path, fault: str = ""
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A delivery worker in a process of its own."""
    return program("deliver_process.py", house.data_dir, ae_dir, fault=fault)


def positive_on_disk(house: JobPayload) -> set[str]:
    """Instances whose positive answer is recorded."""
    return {f.sop_instance_uid for f in house.files() if f.state in ("SENT", "WARNING")}
