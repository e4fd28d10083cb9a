"""Services in sandboxes: shared, watched, started again, closed to whoever does not name them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.database.schema import new_id, services
from gateway.executors import procfs
from gateway.jobs.executor import End
from gateway.services.process import mark
from tests.support.served import ASK, World, counter, operator, python

Make = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def make(**settings: Any) -> World:
        made.append(World(tmp_path, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def processes(life: str) -> list[int]:
    return [pid for pid, fd in procfs._marked(mark(life).encode()) if os.close(fd) is None]


def test_operators_and_jobs_share_a_service(world: Make) -> None:
    here = world()
    asking = {"services": [counter()]}
    first = here.run(
        operator("one", ASK, "COUNTER", **asking),
        operator("two", ASK, "COUNTER", "COUNTER", **asking),
    )
    assert {end.end for end in first.wait().values()} == {End.COMPLETED}
    second = here.run(operator("three", ASK, "COUNTER", **asking))
    assert second.wait()["three"].end is End.COMPLETED
    said = [*first.answers("one"), *first.answers("two"), *second.answers("three")]
    assert len({pid for pid, *_ in said}) == 1
    assert len({count for _, count, *_ in said}) == 4
    (record,) = here.records()
    assert (record["state"], record["restarts"], record["jobs"]) == ("READY", 0, 0)
    assert record["memory_mb"] == 128
    assert "serving" in (here.root / record["log"]).read_text()


def test_other_variables_make_another_service(world: Make) -> None:
    here = world()
    told = {"variables": {"TOLD": "other"}}
    job = here.run(
        operator(
            "ask", ASK, "COUNTER", "OTHER", services=[counter(), counter("other", "OTHER", **told)]
        )
    )
    assert job.wait()["ask"].end is End.COMPLETED
    _, other = job.answers("ask")
    assert other[2:] == ["other"]
    assert len(here.records()) == 2


# Asks until it is answered twice, by what may be two lives of the service.
PATIENT = """
import os, pathlib, socket, time
host, port = os.environ["COUNTER"].rsplit(":", 1)
out = pathlib.Path("/output/answers")
said = []
while len(said) < 2:
    try:
        with socket.create_connection((host, int(port)), 30) as caller:
            line = caller.makefile().readline()
    except OSError:
        line = ""
    if line:
        said.append(line)
        out.write_text("".join(said))
        while len(said) == 1 and not pathlib.Path("/output/go").exists():
            time.sleep(0.02)
"""


def test_a_service_killed_in_mid_job_comes_back(world: Make) -> None:
    here = world()
    job = here.run(operator("ask", PATIENT, services=[counter()]))
    answers = here.root / "payloads" / job.run.job_id / "operators" / "ask" / "answers"
    here.wait(answers.exists)
    (record,) = here.records()
    for pid in processes(record["id"]):
        os.kill(pid, signal.SIGKILL)
    # The sandbox's inner process may live a moment longer, and answer.
    here.wait(lambda: here.records()[0]["state"] != "READY" or here.records()[0]["restarts"])
    (answers.parent / "go").touch()
    assert job.wait()["ask"].end is End.COMPLETED
    # A new life counts from the start.
    assert [int(count) for _, count, *_ in job.answers("ask")] != [1, 2]
    (record,) = here.records()
    assert (record["state"], record["restarts"]) == ("READY", 1)


def test_an_operator_that_fails_with_its_service_is_lost_and_may_be_retried(world: Make) -> None:
    here = world()
    dying = {"variables": {"DIE_AT": "9"}}
    asking = operator("ask", ASK, *["COUNTER"] * 12, services=[counter(**dying)])
    job = here.run(asking)
    end = job.wait()["ask"]
    assert end.end is End.LOST, end
    assert "the service counter ended with exit code 3 while it was connected" in end.reason
    assert "then exit code 1" in end.reason


def test_a_service_that_never_comes_up_is_a_named_fault(world: Make) -> None:
    here = world(**{"start-seconds": 60})
    broken = counter() | {"container": python("import sys; sys.exit('no such weights')")}
    job = here.run(operator("ask", ASK, "COUNTER", services=[broken]))
    end = job.wait()["ask"]
    assert end.end is End.IMAGE_MISSING
    assert "the service counter ended with exit code 1; given up after" in end.reason
    here.wait(lambda: not here.records())


def test_an_unknown_image_is_found_before_anything_starts(world: Make) -> None:
    here = world()
    unknown = counter() | {"container": {"image": "no/such", "tag": "7"}}
    job = here.run(operator("ask", ASK, "COUNTER", services=[unknown]))
    end = job.wait()["ask"]
    assert end.end is End.IMAGE_MISSING
    assert "no command is known for the image no/such:7" in end.reason
    assert here.records() == []


# Says what it can reach: ports of the loopback besides its own, another host, folders.
LOOK = """
import json, os, pathlib, socket
def open_(host, port):
    try:
        socket.create_connection((host, port), 2).close()
        return True
    except OSError:
        return False
found = {
    "gateway": open_("127.0.0.1", int(os.environ["FORBIDDEN"])),
    "listening": [p for p in range(1, 30000) if open_("127.0.0.1", p)],
    "devices": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else [],
    "shared": pathlib.Path(os.environ["SCRATCH"], "from-service").read_text(),
}
pathlib.Path(os.environ["SCRATCH"], "from-operator").write_text("x")
pathlib.Path("/output/found.json").write_text(json.dumps(found))
"""

# Tells of itself in the shared folder, then serves.
TELL = """
import json, os, pathlib, socket, sys
common = pathlib.Path(os.environ["NVIDIA_CLARA_SERVICE_DATA_PATH"])
try:
    (common / "new").write_text("x")
    written = True
except OSError:
    written = False
def open_(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    except OSError:
        return False
told = [sys.argv[1], (common / "weights").read_text(), written, open_(int(os.environ["FORBIDDEN"]))]
scratch = pathlib.Path(os.environ["SCRATCH"])
(scratch / "from-service").write_text(json.dumps(told))
server = socket.create_server(("0.0.0.0", int(os.environ["LOOKED_PORT"])))
while True:
    server.accept()[0].close()
"""


def test_each_sees_the_other_and_nothing_else(world: Make) -> None:
    here = world()
    (here.root / "common" / "weights").write_text("numbers")
    with socket.create_server(("127.0.0.1", 0)) as outside:
        forbidden = {"FORBIDDEN": str(outside.getsockname()[1])}
        service = {
            "name": "looked",
            "container": python(TELL, "$(NVIDIA_CLARA_SERVICE_DATA_PATH)/x"),
            "connections": {
                "http": [{"name": "LOOKED"}],
                "volume": [{"name": "SCRATCH", "path": "/scratch"}],
            },
            "variables": forbidden,
            "requests": {"memory": 128},
        }
        job = here.run(operator("look", LOOK, services=[service], variables=forbidden))
        assert job.wait()["look"].end is End.COMPLETED, job.log("look")
    found = json.loads(
        (here.root / "payloads" / job.run.job_id / "operators" / "look" / "found.json").read_text()
    )
    assert found["gateway"] is False
    # The one port of the service that it names.
    assert found["listening"] == [20000]
    assert json.loads(found["shared"]) == ["/clara/common/x", "numbers", False, False]
    (record,) = here.records()
    assert (here.root / "services" / record["id"] / "0" / "from-operator").exists()
    here.keeper.stop()
    assert not (here.root / "services" / record["id"]).exists()


def test_an_idle_service_ends_and_its_processes_are_gone(world: Make) -> None:
    here = world(**{"idle-seconds": 0.2})
    job = here.run(operator("ask", ASK, "COUNTER", services=[counter()]))
    life = here.wait(here.records)[0]["id"]
    assert job.wait()["ask"].end is End.COMPLETED
    here.wait(lambda: not here.records())
    assert processes(life) == []


def test_a_start_that_fails_keeps_neither_a_record_nor_a_hold(world: Make) -> None:
    here = world(**{"idle-seconds": 0.2})
    asking = operator("ask", ASK, "COUNTER", services=[counter()])
    # As on a full disk: the folder that the service would share cannot be made.
    (here.root / "services").touch()
    with pytest.raises(OSError, match="services"):
        here.run(asking)
    assert here.records() == []
    (here.root / "services").unlink()
    assert here.run(asking).wait()["ask"].end is End.COMPLETED
    here.wait(lambda: not here.records(), 20)


def test_a_service_is_kept_while_a_job_needs_it(world: Make) -> None:
    here = world(**{"idle-seconds": 0})
    waiting = "import time; time.sleep(2.5); open('/output/x', 'w').close()"
    asking = operator("ask", ASK, "COUNTER", services=[counter()])
    asking["input"] = [{"path": "/input", "from": "wait"}]
    job = here.run(operator("wait", waiting), asking)
    life = here.wait(here.records)[0]["id"]
    assert job.wait()["ask"].end is End.COMPLETED
    assert not [r for r in here.records() if r["id"] != life]


def test_a_stop_that_was_asked_for_waits_for_the_job(world: Make) -> None:
    here = world()
    job = here.run(operator("ask", PATIENT, services=[counter()]))
    answers = here.root / "payloads" / job.run.job_id / "operators" / "ask" / "answers"
    here.wait(answers.exists)
    here.keeper.request_stop()
    time.sleep(1.5)
    (answers.parent / "go").touch()
    assert job.wait()["ask"].end is End.COMPLETED
    assert len({pid for pid, *_ in job.answers("ask")}) == 1
    here.wait(lambda: not here.records())


def test_what_a_dead_gateway_left_is_ended_at_the_start(tmp_path: Path, world: Make) -> None:
    left = new_id()
    orphan = subprocess.Popen(["/bin/sh", "-c", "sleep 600; :", mark(left)])
    first = world()
    first.keeper.stop()
    with first.database.begin() as connection:
        connection.execute(
            sa.insert(services).values(
                id=left, identity="x", name="left", image="left:1", owner=new_id(), node="here",
                state="READY", cpu=1, memory_mb=1, gpus=0, devices=[], models=[], jobs=0,
                restarts=0, log="logs/services/left.log", stop_requested=False,
                created_at=0, used_at=0,
            )
        )  # fmt: skip
    second = world()
    assert orphan.wait(20) == -signal.SIGKILL
    assert second.records() == []
