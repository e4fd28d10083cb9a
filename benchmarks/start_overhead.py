"""What it costs to start a pipeline: the job's time without the time inside its operators."""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from gateway.config.settings import ImageSettings, JobSettings
from gateway.database import schema
from gateway.database.engine import Database, sqlite_url
from gateway.events.wake import Topic, Wakeups
from gateway.executors.process import ProcessExecutor
from gateway.jobs.creation import JobCreation, NewJob
from gateway.jobs.ledger import Capacity
from gateway.jobs.logs import Logs
from gateway.jobs.payload_files import PayloadFiles
from gateway.jobs.scheduler import Scheduler, Tempo
from gateway.pipelines import registry
from gateway.pipelines.parse import parse

LONG, SHORT = 6, 1
LIMIT_MS = 150.0
LIMIT_RATIO = 1.2
_PROGRAM = """
import json, os, sys, time
import nibabel, numpy, pydicom, SimpleITK

def main(seconds):
    begin = time.time()
    time.sleep(seconds)
    json.dump([begin, time.time()], open("/output/times.json", "w"))

if __name__ == "__main__":
    main(float(sys.argv[1]))
"""


@dataclass(frozen=True)
class Overhead:
    """Of one job, in milliseconds."""

    recorded: float
    """RUNNING to STOPPED minus the operators' recorded times (contract, section 9)."""
    felt: float
    """The same minus the times that the operators' own code ran: imports count here."""


class Line:
    """A scheduler on one executor, and a pipeline of each length."""

    def __init__(self, folder: Path, executor: ProcessExecutor, seconds: float) -> None:
        self._database = Database(sqlite_url(folder / "gateway.db"))
        self._database.create()
        self._wakeups = Wakeups()
        self._files = PayloadFiles(folder)
        (folder / "payloads").mkdir()
        capacity = Capacity(64, 1 << 20)
        self._creation = JobCreation(capacity=capacity, limits=JobSettings())
        self._scheduler = Scheduler(
            database=self._database, wakeups=self._wakeups, executor=executor, capacity=capacity,
            files=self._files, logs=Logs(folder), known_destinations=lambda _name: True,
            tempo=Tempo(),
        )  # fmt: skip
        with self._database.begin() as connection:
            for length in (SHORT, LONG):
                registry.register(connection, definition(length, seconds), f"{length}.yaml")

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the scheduler runs."""
        self._scheduler.recover()
        thread = threading.Thread(target=self._scheduler.run)
        thread.start()
        try:
            yield
        finally:
            self._scheduler.stop()
            thread.join()
            self._database.close()

    def job(self, length: int) -> Overhead:
        """Run one job of ``length`` operators alone."""
        with self._database.begin() as connection:
            job_id = self._creation.create(connection, NewJob("c" * 32, f"chain-{length}"))
        self._wakeups.notify(Topic.JOBS)
        while (job := self._record(job_id)).state != "STOPPED":
            time.sleep(0.02)
        assert job.status == "HEALTHY", job.reason
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(schema.operators).where(schema.operators.c.job_id == job_id)
            ).all()
        whole = job.stopped_at - job.started_at
        recorded = sum(row.stopped_at - row.started_at for row in rows)
        folder = self._files.folder(job.payload_id) / "operators"
        own = [json.loads((folder / row.name / "times.json").read_text()) for row in rows]
        felt = sum(end - begin for begin, end in own)
        return Overhead((whole - recorded) * 1000, (whole - felt) * 1000)

    def _record(self, job_id: str) -> sa.Row:  # type: ignore[type-arg]
        with self._database.read() as connection:
            return connection.execute(
                sa.select(schema.jobs).where(schema.jobs.c.id == job_id)
            ).one()


def definition(length: int, seconds: float) -> str:
    """A chain of operators that take ``seconds`` each."""
    steps = []
    for number in range(length):
        source = f", from: s{number - 1}" if number else ""
        command = json.dumps([sys.executable, "-m", "bench_operator", str(seconds)])
        steps.append(
            f"- name: s{number}\n  container: {{image: bench, command: {command}}}\n"
            f"  input: [{{path: /input{source}}}]\n  output: [{{path: /output}}]\n"
        )
    return f"api-version: 0.4.0\nname: chain-{length}\noperators:\n{''.join(steps)}"


def measure(folder: Path, rounds: int, seconds: float) -> bool:
    """Warm beside cold, one and six operators, in turn; True when the limits are kept."""
    program = folder / "image"
    program.mkdir()
    (program / "bench_operator.py").write_text(_PROGRAM)
    image = ImageSettings(
        command=[sys.executable, "-m", "bench_operator"],
        env={"PYTHONPATH": str(program)},
        warm=True,
    )
    found: dict[tuple[str, int], list[Overhead]] = {}
    executors = {
        word: ProcessExecutor({"bench": image}, warm=word == "warm") for word in ("warm", "cold")
    }
    first = parse(definition(1, seconds), "1.yaml").operators[0]
    assert executors["warm"].warm_up(first, 120), executors["warm"].start_mode
    for word, executor in executors.items():
        place = folder / word
        place.mkdir()
        line = Line(place, executor, seconds)
        with line.running():
            for _ in range(rounds):
                for length in (SHORT, LONG):
                    found.setdefault((word, length), []).append(line.job(length))
        executor.close()
    return _tell(found, seconds)


def _tell(found: dict[tuple[str, int], list[Overhead]], seconds: float) -> bool:
    print(f"start overhead, operators of {seconds * 1000:g} ms each (median, best to worst):")
    recorded: dict[tuple[str, int], float] = {}
    for (word, length), values in found.items():
        times = sorted(each.recorded for each in values)
        felt = statistics.median(each.felt for each in values)
        recorded[word, length] = statistics.median(times)
        print(
            f"  {word}, {length} operators: {statistics.median(times):.0f} ms "
            f"({times[0]:.0f} to {times[-1]:.0f}); with imports {felt:.0f} ms"
        )
    fine = True
    for word in ("warm", "cold"):
        ratio = recorded[word, LONG] / recorded[word, SHORT]
        print(f"  {word}: {LONG} operators cost {ratio:.2f} times one (wanted {LIMIT_RATIO})")
        if word == "warm":
            fine = ratio <= LIMIT_RATIO and recorded[word, LONG] <= LIMIT_MS
    share = recorded["warm", LONG] / recorded["cold", LONG]
    print(f"  warm / cold at {LONG} operators: {share:.2f}")
    return fine
