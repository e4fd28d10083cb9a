"""A scheduler that hung and goes on must not touch the files of the next attempt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.database.schema import new_id
from gateway.executors import outputs
from gateway.jobs.claim import SupersededError, claimed
from gateway.jobs.executor import JobRun
from gateway.pipelines.parse import parse
from tests.support.jobs_world import World, writing

ONE = """
api-version: 0.4.0
name: x
operators:
- {name: a, container: {image: i}, input: [{path: /input}], output: [{path: /output}]}
"""


def attempt(folder: Path, number: int) -> JobRun:
    return JobRun(
        job_id=new_id(), attempt=number, name="x", payload_id=new_id(), correlation_id=new_id(),
        definition=parse(ONE, "x.yaml"), folder=folder, logs={}, gpus=(), grace_seconds=1,
    )  # fmt: skip


def test_an_older_attempt_does_not_clear_the_outputs_of_the_next(tmp_path: Path) -> None:
    old, new = attempt(tmp_path, 1), attempt(tmp_path, 2)
    operator = new.definition.operators[0]
    outputs.clear(old)
    outputs.clear(new)
    outputs.prepare(new, operator)
    result = tmp_path / "operators" / "a" / "result"
    result.write_text("of the next attempt")
    for change in (lambda: outputs.clear(old), lambda: outputs.prepare(old, operator)):
        with pytest.raises(SupersededError):
            change()
    outputs.discard(old, operator)
    assert result.read_text() == "of the next attempt"
    outputs.discard(new, operator)
    assert not result.exists()


def test_an_older_attempt_does_not_lay_out_the_inputs_of_the_next(world: World) -> None:
    world.pipeline("write", writing())
    job = world.job(world.create("write", world.received()))
    folder = world.files.folder(job.payload_id)
    with claimed(folder, job.attempt + 1):
        pass
    with world.database.read() as connection, pytest.raises(SupersededError):
        world.files.materialise(connection, job)


def test_what_is_claimed_shows_no_file_and_leaves_one_folder(tmp_path: Path) -> None:
    for number in (1, 2, 2, 10):
        with claimed(tmp_path, number):
            pass
    assert [path.name for path in tmp_path.iterdir()] == [".attempt-10"]
    with pytest.raises(SupersededError), claimed(tmp_path, 9):
        pass


def test_an_attempt_that_hangs_in_a_change_is_waited_for(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from gateway.jobs.claim import claimed\n"
        f"with claimed(Path({str(tmp_path)!r}), 1): print(flush=True); time.sleep(600)"
    )
    hung = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert hung.stdout is not None
    hung.stdout.readline()
    os.kill(hung.pid, signal.SIGSTOP)
    claim = threading.Event()

    def next_attempt() -> None:
        with claimed(tmp_path, 2):
            claim.set()

    thread = threading.Thread(target=next_attempt)
    thread.start()
    assert not claim.wait(0.3)
    hung.kill()
    hung.wait()
    hung.stdout.close()
    assert claim.wait(30)
    thread.join()
