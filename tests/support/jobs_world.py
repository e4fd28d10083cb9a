"""A data folder with a received study, registered pipelines and a scheduler on real processes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.config.settings import JobSettings
from gateway.database import schema
from gateway.database.engine import Database
from gateway.events.wake import Topic, Wakeups
from gateway.jobs.creation import JobCreation, NewJob
from gateway.jobs.executor import Executor
from gateway.jobs.ledger import Capacity
from gateway.jobs.logs import Logs
from gateway.jobs.payload_files import PayloadFiles
from gateway.jobs.scheduler import Scheduler, Tempo
from gateway.jobs.transitions import Job, load
from gateway.pipelines import registry
from gateway.results.backoff import Backoff
from tests.support import seed
from tests.support.databases import database_url
from tests.support.local_engine import LocalEngine

STUDY = "1.2.826.0.1.3680043.8.498.7"
SERIES = f"{STUDY}.1"
RULE = "every study"
REGISTER = """printf '%s' '{"version": 1, "registrations": [{"agent": "ClaraSCU",
"parameters": null, "files": [{"input": "/in", "path": "out.txt"}]}]}' > .clara-results.json"""

Step = dict[str, Any]


def step(name: str, script: str, after: Sequence[str] = (), **more: Any) -> Step:
    """An operator that runs a shell script in its output folder."""
    inputs: list[Step] = [{"from": source, "path": f"/{source}"} for source in after]
    if name == "register":
        inputs = [{"from": source, "path": "/in"} for source in after]
    return {
        "name": name,
        "container": {"image": "shell", "command": ["/bin/sh", "-c", script]},
        "input": inputs or [{"path": "/input"}],
        "output": [{"path": "/output"}],
        **more,
    }


def writing(script: str = ":", **more: Any) -> list[Step]:
    """Two operators: one writes a file, the other registers it."""
    trace = "echo begin $ATTEMPT >> $TRACE;"
    return [
        step("write", f"{trace} {script} && echo result > out.txt && echo end >> $TRACE", **more),
        step("register", REGISTER, after=["write"]),
    ]


class World:
    """Everything a test of jobs needs; one per data folder and process."""

    def __init__(self, data_dir: Path, engine: Executor | None = None) -> None:
        self.data_dir = data_dir
        self.database = Database(database_url(data_dir))
        self.database.create()
        self.wakeups = Wakeups()
        self.engine = engine or LocalEngine()
        self.capacity = Capacity(2, 4096, (0, 1))
        self.files = PayloadFiles(data_dir)
        self.logs = Logs(data_dir)
        self.creation = JobCreation(capacity=self.capacity, limits=JobSettings())

    def pipeline(self, name: str, operators: list[Step], **more: Any) -> None:
        """Register a pipeline; the same again changes nothing."""
        document = {"api-version": "0.4.0", "name": name, "operators": operators, **more}
        with self.database.begin() as connection:
            registry.register(connection, json.dumps(document), f"{name}.yaml")

    def received(self, instances: int = 3, patient_id: str = "P 1/2") -> str:
        """A routed payload with one series of stored instances; returns its id."""
        payload = seed.payload(self.database, state="ROUTED", instances=instances)
        for number in range(instances):
            self.arrive(payload, f"{SERIES}.{number + 1}", patient_id=patient_id)
        return payload

    def arrive(
        self, payload: str, uid: str, *, patient_id: str = "P", revision: int = 1,
        series: str = SERIES, removed: int | None = None,
    ) -> Path:  # fmt: skip
        """Store one more instance of the payload."""
        path = self.data_dir / "spool" / f"{schema.new_id()}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_text(uid)
        instance = seed.insert(
            self.database, schema.instances, sop_instance_uid=uid, sop_class_uid="1.2.3",
            transfer_syntax_uid="1.2.840.10008.1.2.1", study_instance_uid=STUDY,
            series_instance_uid=series, patient_id=patient_id, called_ae="LUNG_CT",
            calling_ae="CT1", host="127.0.0.1", association_id="a" * 32,
            path=str(path.relative_to(self.data_dir)), size=len(uid), digest="0" * 64,
            kind="RECEIVED", state="STORED", received_at=time.time(),
        )  # fmt: skip
        seed.insert(
            self.database, schema.payload_instances, payload_id=payload,
            instance_id=int(instance), revision=revision, removed=removed,
        )  # fmt: skip
        return path

    def new(self, pipeline: str, payload: str | None = None, **more: Any) -> NewJob:
        given: dict[str, Any] = {
            "correlation_id": "c" * 32,
            "pipeline_name": pipeline,
            "received_payload_id": payload,
            "revision": 1 if payload else None,
            "rule": RULE if payload else None,
            "called_ae": "LUNG_CT",
            "selected": [SERIES],
            "destinations": ["PACS"],
        }
        return NewJob(**(given | more))

    def create(self, pipeline: str, payload: str | None = None, **more: Any) -> str:
        """Create and queue a job."""
        with self.database.begin() as connection:
            job = self.creation.create(connection, self.new(pipeline, payload, **more))
        self.wakeups.notify(Topic.JOBS)
        return job

    def act(self, action: Callable[..., Any], *args: Any) -> Any:
        """Call ``action(connection, *args)`` in a transaction of its own, and wake."""
        with self.database.begin() as connection:
            answer = action(connection, *args)
        self.wakeups.notify(Topic.JOBS)
        return answer

    def job(self, job_id: str) -> Job:
        with self.database.read() as connection:
            return load(connection, job_id)

    def place(self, job_id: str) -> str:
        job = self.job(job_id)
        return f"{job.state}/{job.status}"

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(query).all())

    def operators(self, job_id: str) -> dict[tuple[int, str], Any]:
        rows = self.rows(sa.select(schema.operators).where(schema.operators.c.job_id == job_id))
        return {(row.attempt, row.name): row for row in rows}

    def events(self, job_id: str) -> list[str]:
        query = sa.select(schema.events.c.kind).where(schema.events.c.job_id == job_id)
        return [row.kind for row in self.rows(query.order_by(schema.events.c.seq))]

    def scheduler(self, **tempo: Any) -> Scheduler:
        pace = {"grace": 0.2, "poll": 0.5, "leave": 5.0, "backoff": Backoff(0.01, 0.02)}
        return Scheduler(
            database=self.database,
            wakeups=self.wakeups,
            executor=self.engine,
            capacity=self.capacity,
            files=self.files,
            logs=self.logs,
            known_destinations=lambda name: name == "PACS",
            tempo=Tempo(**(pace | tempo)),
        )

    @contextmanager
    def scheduling(self, scheduler: Scheduler | None = None) -> Iterator[Scheduler]:
        """Run a scheduler in a thread of its own until the block ends."""
        scheduler = scheduler or self.scheduler()
        scheduler.recover()
        thread = threading.Thread(target=scheduler.run)
        thread.start()
        try:
            yield scheduler
        finally:
            scheduler.stop()
            thread.join(30)
            assert not thread.is_alive()

    def settle(self, *job_ids: str, seconds: float = 30) -> list[str]:
        """Wait until every job has stopped; returns their places."""
        self.wait(lambda: all(self.job(j).state == "STOPPED" for j in job_ids), seconds)
        return [self.place(job_id) for job_id in job_ids]

    def wait(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.01)

    def wait_operator(self, job_id: str, name: str = "write") -> None:
        self.wait(
            lambda: any(
                row.status == "RUNNING" and row.name == name
                for row in self.operators(job_id).values()
            )
        )

    def close(self) -> None:
        self.database.close()


def results_of(connection: Connection, job_id: str) -> list[Any]:
    query = sa.select(schema.results).where(schema.results.c.job_id == job_id)
    return list(connection.execute(query).all())
