"""Services as containers on a real Podman: a network of their own, started again, nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.container import ContainerSettings
from gateway.executors.container.executor import ContainerExecutor
from gateway.jobs.executor import End
from gateway.services.container import LABEL, ContainerRunner, name_of
from tests.support.podman import Podman, running_podman, shell
from tests.support.served import World

pytestmark = [pytest.mark.peers, pytest.mark.prove]

# Answers every connection with its own host name, and looks whether it may leave its network.
SERVE = """
ip route > /tmp/route
say='echo $HOSTNAME; cat /tmp/route; echo end'
while true; do busybox nc -l -p $ANSWER_PORT -e sh -c "$say"; done
"""


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with running_podman() as service:
        service.image("sh:1", shell(), "ENV PATH=/bin")
        yield service


@pytest.fixture
def world(tmp_path: Path, podman: Podman) -> Iterator[World]:
    executor = ContainerExecutor(ContainerSettings(socket=podman.socket))
    made = World(tmp_path, executor=executor, runner=ContainerRunner(executor.engine))
    yield made
    made.close()
    assert podman.api.containers(all=True, filters={"label": LABEL}) == []
    assert podman.api.networks(filters={"label": LABEL}) == []


def container(script: str) -> dict[str, Any]:
    return {"image": "localhost/test/sh", "tag": "1", "command": ["sh", "-c", script]}


def asking(name: str, script: str) -> dict[str, Any]:
    service = {
        "name": "answer",
        "container": container(SERVE),
        "connections": {
            "http": [{"name": "ANSWER"}],
            "volume": [{"name": "SCRATCH", "path": "/scratch"}],
        },
        "requests": {"memory": 64, "cpu": 0.1},
    }
    return {
        "name": name,
        "container": container(script),
        "input": [{"path": "/input"}],
        "output": [{"path": "/output"}],
        "requests": {"memory": 64, "cpu": 0.1},
        "services": [service],
    }


ASK = "busybox nc ${ANSWER%:*} ${ANSWER#*:} < /dev/null > /output/answers; echo $? > $SCRATCH/said"


def test_an_operator_reaches_its_service_and_neither_reaches_more(
    world: World, podman: Podman
) -> None:
    job = world.run(asking("ask", ASK))
    assert job.wait()["ask"].end is End.COMPLETED, job.report.ends
    said = (job.run.folder / "operators" / "ask" / "answers").read_text()
    assert said.endswith("end\n")
    assert "default" not in said
    (record,) = world.records()
    name = name_of(record["id"])
    assert podman.api.inspect_network(name)["Internal"]
    assert (world.root / "services" / record["id"] / "0" / "said").read_text() == "0\n"


PATIENT = """
ask() { busybox timeout 3 busybox nc ${ANSWER%:*} ${ANSWER#*:} < /dev/null > /output/answers; }
until [ -e /output/go ]; do ask && touch /output/asked; done
until ask; do sleep 0.1; done
"""


def test_prove_container_service_comes_back(world: World, podman: Podman) -> None:
    job = world.run(asking("ask", PATIENT))
    folder = job.run.folder / "operators" / "ask"
    world.wait((folder / "asked").exists)
    (record,) = world.records()
    podman.api.kill(name_of(record["id"]))
    world.wait(lambda: world.records()[0]["restarts"] == 1)
    (folder / "go").touch()
    assert job.wait()["ask"].end is End.COMPLETED, job.report.ends
    assert (folder / "answers").read_text().endswith("end\n")


def test_an_image_that_is_not_there_is_named(world: World) -> None:
    missing = asking("ask", ASK)
    missing["services"][0]["container"]["image"] = "localhost/test/none"
    end = world.run(missing).wait()["ask"]
    assert end.end is End.IMAGE_MISSING
    assert "the service answer" in end.reason
    assert "localhost/test/none:1" in end.reason
