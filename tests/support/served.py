"""A keeper of services on an engine, with jobs to call them: everything but the scheduler."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.config.services import ServiceSettings
from gateway.config.settings import ImageSettings
from gateway.database.engine import Database
from gateway.database.schema import new_id, services
from gateway.executors.process import ProcessExecutor
from gateway.jobs.executor import JobRun, OperatorEnd, Stop
from gateway.pipelines.parse import parse
from gateway.services.keeper import Keeper, Membership, Places
from gateway.services.process import ProcessRunner
from gateway.services.records import Owner
from tests.support.databases import database_url

# Answers each connection with what it is: its pid, and how many it has had.
COUNTER = """
import os, socket, sys
host, port = os.environ[sys.argv[1]].rsplit(":", 1)
server = socket.create_server((host, int(port)))
print("serving", flush=True)
count = 0
while True:
    caller, _ = server.accept()
    count += 1
    if os.environ.get("DIE_AT") == str(count):
        os._exit(3)
    caller.sendall(f"{os.getpid()} {count} {os.environ.get('TOLD', '')}\\n".encode())
    caller.close()
"""

# Asks a service once for each argument, a name of a variable; writes what it said.
ASK = """
import os, pathlib, socket, sys
out = pathlib.Path("/output/answers")
for name in sys.argv[1:]:
    host, port = os.environ[name].rsplit(":", 1)
    with socket.create_connection((host, int(port)), 30) as caller:
        said = caller.makefile().readline()
    with out.open("a") as file:
        file.write(said)
    if not said:
        sys.exit("no answer")
"""


def python(code: str, *arguments: str) -> dict[str, Any]:
    """A container that runs ``code``."""
    return {
        "image": "test/python",
        "tag": "1",
        "command": [sys.executable, "-c", code, *arguments],
    }


def counter(name: str = "counter", connection: str = "COUNTER", **extra: Any) -> dict[str, Any]:
    """A service that counts its callers."""
    return {
        "name": name,
        "container": python(COUNTER, connection),
        "connections": {"http": [{"name": connection}]},
        "requests": {"cpu": 0.1, "memory": 128},
    } | extra


def operator(name: str, code: str, *arguments: str, **extra: Any) -> dict[str, Any]:
    """An operator that runs ``code``, reads the payload's input, writes /output."""
    return {
        "name": name,
        "container": python(code, *arguments),
        "input": [{"path": "/input"}],
        "output": [{"path": "/output"}],
        "requests": {"cpu": 0.1, "memory": 256},
    } | extra


class Reported:
    """How operators ended."""

    def __init__(self) -> None:
        self.ends: dict[str, OperatorEnd] = {}

    def operator_started(self, operator: str, at: float, image: str | None = None) -> None:
        """Nothing to keep."""

    def operator_stopped(self, operator: str, at: float, end: OperatorEnd) -> None:
        self.ends[operator] = end


class Job:
    """A started attempt."""

    def __init__(self, run: JobRun, report: Reported) -> None:
        self.run, self.report = run, report
        self.handle: Any = None
        self.done = threading.Event()

    def wait(self, seconds: float = 90) -> dict[str, OperatorEnd]:
        assert self.done.wait(seconds), "the job did not end"
        return self.report.ends

    def answers(self, name: str) -> list[list[str]]:
        """What the operator ``name`` was told, line by line."""
        path = self.run.folder / "operators" / name / "answers"
        return [line.split() for line in path.read_text().splitlines()]

    def log(self, name: str) -> str:
        return self.run.logs[name].read_text()


class World:
    """An executor, the process one if none is given, with services below ``root``; close it."""

    def __init__(
        self,
        root: Path,
        images: Mapping[str, Any] | None = None,
        owner: Owner | None = None,
        executor: Any = None,
        runner: Any = None,
        **settings: Any,
    ) -> None:
        self.root = root
        self.owner = owner or Owner(new_id(), "here")
        self.database = Database(database_url(root))
        self.database.create()
        told = {"test/python": {"command": [sys.executable]}, **(images or {})}
        self.executor = executor or ProcessExecutor(
            {name: ImageSettings.model_validate(each) for name, each in told.items()}
        )
        self.models = root / "models"
        self.keeper = Keeper(
            runner or ProcessRunner(self.executor.engine),
            self.database,
            Membership(lambda: self.owner, lambda _: lambda _: True),
            Places(root, root / "common", self.models),
            ServiceSettings.model_validate({"idle-seconds": 60, **settings}),
            grace=2,
        )
        self.executor.serve(self.keeper)
        self.keeper.start()
        self.jobs: list[Job] = []

    def run(self, *operators: dict[str, Any], **extra: Any) -> Job:
        """Start a job of these operators."""
        text = json.dumps(
            {"api-version": "0.4.0", "name": "test", "operators": list(operators)} | extra
        )
        definition = parse(text, "test.yaml")
        job_id = new_id()
        folder = self.root / "payloads" / job_id
        (folder / "input").mkdir(parents=True)
        (folder / "input" / "image").write_bytes(b"image")
        run = JobRun(
            job_id=job_id,
            attempt=1,
            name="test-job",
            payload_id=job_id,
            correlation_id=job_id,
            definition=definition,
            folder=folder,
            logs={o.name: self.root / f"{job_id}-{o.name}.log" for o in definition.operators},
            gpus=(),
            grace_seconds=1,
        )
        report = Reported()
        job = Job(run, report)
        job.handle = self.executor.start(run, report, job.done.set)
        self.jobs.append(job)
        return job

    def records(self) -> list[dict[str, Any]]:
        """The services there are."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(services).order_by(services.c.created_at))
            return [dict(row._mapping) for row in rows]

    def wait(self, what: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait until ``what`` gives something true."""
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, f"waited in vain; {self.records()}"
            time.sleep(0.05)
        return found

    def close(self) -> None:
        for job in self.jobs:
            job.handle.stop(Stop.CANCEL)
            job.handle.join(30)
        self.keeper.stop()
        self.database.close()
