"""A whole gateway with services: Triton answers a job, dies in mid-job, the gateway is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.executors import procfs
from gateway.services.process import mark
from tests.support import triton
from tests.support.databases import rows
from tests.support.dicom import slice_
from tests.support.processes import command
from tests.support.programs import program
from tests.support.served import ASK, counter
from tests.support.site import Site, application, operator, pipeline, rule, write

pytestmark = [pytest.mark.peers, pytest.mark.crash]

# Asks Triton until the file that the test makes is there, and fails when it is not answered.
ASKING = """
import os, pathlib, time
import numpy as np, tritonclient.grpc as client
asked = client.InferInput("INPUT", [1], "FP32")
asked.set_data_from_numpy(np.array([1], np.float32))
go = pathlib.Path("/output/go")
with client.InferenceServerClient(os.environ["NVIDIA_TRITON_GRPCURI"]) as triton:
    while True:
        answer = triton.infer("adding", [asked]).as_numpy("OUTPUT")
        pathlib.Path("/output/answer").write_text(str(answer.tolist()))
        if go.exists() or os.environ["ATTEMPT_ENDS"] == "yes":
            break
        time.sleep(0.02)
"""


def asking(name: str, model: str = "adding", ends: str = "no") -> dict[str, Any]:
    variables = {"ATTEMPT_ENDS": ends}
    return pipeline(name, operator("ask", ASKING, models=[{"name": model}], variables=variables))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    images = {"test/python": {"command": [sys.executable]}, **triton.images()}
    counting = operator("ask", ASK, services=[counter()])
    counting["container"]["command"].append("COUNTER")
    made = Site(
        tmp_path / "site",
        applications=[application(rule(pipeline="asking", destinations=[]))],
        pipelines=[asking("asking"), asking("absent", "no-such"), pipeline("counting", counting)],
        settings={"images": images, "services": {"triton": {"memory-mb": 1024}}},
    )
    triton.adding_model(made.root / "models", "adding", 1.0)
    made.start()
    yield made
    made.stop()
    assert left(made) == []


def left(site: Site) -> list[list[str]]:
    """Processes of services of this site, if any."""
    lives = [row[0] for row in rows(site.data, "select id from services")]
    return [
        command(process)
        for process in psutil.process_iter()
        if any(mark(life) in command(process) for life in lives)
    ]


def send(site: Site, folder: Path, pipeline_name: str, study: str) -> None:
    config = site.config
    config["applications"] = [application(rule(pipeline=pipeline_name, destinations=[]))]
    site.configure(**config)
    site.wait(lambda: pipeline_name in json.dumps(site.get("applications")))
    site.send([write(slice_(1, StudyInstanceUID=study), folder / f"{study}.dcm")])


def kill_services(site: Site) -> None:
    for row in rows(site.data, "select id from services"):
        for pid, fd in procfs._marked(mark(row[0]).encode()):
            os.close(fd)
            os.kill(pid, signal.SIGKILL)


def test_triton_dies_in_mid_job_and_then_the_gateway(site: Site, tmp_path: Path) -> None:
    program("bwrap")
    send(site, tmp_path, "asking", "1.2.1")
    payload = site.wait(lambda: [j["payload_id"] for j in site.items("jobs")])[0]
    folder = site.data / "payloads" / payload / "operators" / "ask"
    site.wait((folder / "answer").exists)
    (service,) = site.items("services")
    assert (service["identity"], service["state"]) == ("triton", "READY")
    assert (service["models"], service["jobs"]) == (["adding"], 1)
    kill_services(site)
    site.wait(lambda: site.items("services")[0]["restarts"] == 1)
    # The operator was answered late, or failed and was tried again.
    (folder / "answer").unlink(missing_ok=True)
    site.wait((folder / "answer").exists)
    attempt = site.items("jobs")[0]["attempt"]
    site.kill()
    site.start()
    site.wait(lambda: site.items("jobs")[0]["attempt"] > attempt)
    site.wait((folder / "answer").exists)
    (again,) = site.items("services")
    assert again["id"] != service["id"]
    (folder / "go").touch()
    site.wait(lambda: site.items("jobs")[0]["state"] == "STOPPED")
    (job,) = site.items("jobs")
    assert job["status"] == "HEALTHY", job["reason"]
    assert (folder / "answer").read_text() == "[2.0]"
    # Nothing of the first life is left.
    assert not list(procfs._marked(mark(service["id"]).encode()))


def test_what_people_see(site: Site, tmp_path: Path) -> None:
    send(site, tmp_path, "absent", "1.2.2")
    site.wait(lambda: any(j["state"] == "STOPPED" for j in site.items("jobs")))
    (job,) = site.items("jobs")
    assert job["status"] == "FAULTED"
    repository = site.root / "models"
    assert (
        f"the model 'no-such' cannot be found in the model repository {repository}"
        in (job["reason"])
    )
    send(site, tmp_path, "counting", "1.2.3")
    site.wait(lambda: len(site.items("jobs")) == 2 and site.settled())
    assert {j["status"] for j in site.items("jobs")} == {"FAULTED", "HEALTHY"}
    shown = site.cli("list", "services")
    assert "counter" in shown.stdout, shown.stderr
    assert "READY" in shown.stdout
    (item,) = json.loads(site.cli("list", "services", "--json").stdout)
    assert (item["name"], item["jobs"], item["memory_mb"]) == ("counter", 0, 128)
    assert site.http is not None
    metrics = site.http.get("/metrics").text
    assert 'gateway_services{state="READY"} 1.0' in metrics
    log = site.http.get(f"/api/v1/services/{item['id']}/log").text
    assert "serving" in log
    stopped = site.post(f"services/{item['id']}/stop")
    assert stopped.status_code == 200
    site.wait(lambda: not site.items("services"))
