"""The gateway's own Triton, a real one: models loaded for jobs, and what goes wrong with them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.executors import procfs
from gateway.jobs.executor import End
from gateway.services.process import mark
from tests.support import triton
from tests.support.served import World, operator

pytestmark = pytest.mark.peers

# Asks each model named for a sum over gRPC and over HTTP; says also what it may not do.
INFER = """
import json, os, pathlib, sys, urllib.request
import numpy as np, tritonclient.grpc as client
assert os.environ["NVIDIA_TRITON_HTTPURI"] == os.environ["NVIDIA_CLARA_TRTISURI"]
assert os.environ["NVIDIA_TRITON_HTTPURI"] == os.environ["CLARA_TRITON_URI"]
out = []
with client.InferenceServerClient(os.environ["NVIDIA_TRITON_GRPCURI"]) as triton:
    for model in sys.argv[1:]:
        asked = client.InferInput("INPUT", [2], "FP32")
        asked.set_data_from_numpy(np.array([1, 2], np.float32))
        out.append(triton.infer(model, [asked]).as_numpy("OUTPUT").tolist())
base = "http://" + os.environ["NVIDIA_TRITON_HTTPURI"]
body = {"inputs": [{"name": "INPUT", "shape": [1], "datatype": "FP32", "data": [5]}]}
request = urllib.request.Request(f"{base}/v2/models/{sys.argv[1]}/infer", json.dumps(body).encode())
with urllib.request.urlopen(request, timeout=30) as answer:
    out.append(json.load(answer)["outputs"][0]["data"])
try:
    unload = f"{base}/v2/repository/models/{sys.argv[1]}/unload"
    urllib.request.urlopen(urllib.request.Request(unload, b"{}"), timeout=30)
    out.append("unloaded")
except urllib.error.HTTPError as error:
    out.append(error.code)
pathlib.Path("/output/out.json").write_text(json.dumps(out))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    own = {"model-limit": 2, "memory-mb": 2048, "load-seconds": 60}
    made = World(tmp_path_factory.mktemp("world"), images=triton.images(), triton=own)
    for name, add in (("one", 1.0), ("two", 2.0), ("three", 3.0)):
        triton.adding_model(made.models, name, add)
    triton.python_model(made.models, "broken", triton.ADDING, "raise RuntimeError('no weights')")
    yield made
    made.close()


def infer(name: str, *models: str, code: str = INFER, **extra: Any) -> dict[str, Any]:
    return operator(name, code, *models, models=[{"name": m} for m in models], **extra)


def said(world: World, job: Any, name: str) -> str:
    path: Path = world.root / "payloads" / job.run.job_id / "operators" / name / "out.json"
    return path.read_text()


def test_models_are_loaded_and_answer(world: World) -> None:
    job = world.run(infer("ask", "one", "two"))
    assert job.wait()["ask"].end is End.COMPLETED, job.log("ask")
    assert said(world, job, "ask") == "[[2.0, 3.0], [3.0, 4.0], [6.0], 403]"
    (record,) = world.records()
    assert (record["identity"], record["models"]) == ("triton", ["one", "two"])


def test_the_same_instance_serves_others_and_the_longest_unused_makes_room(world: World) -> None:
    lives = {record["id"] for record in world.records()}
    job = world.run(infer("ask", "three"))
    assert job.wait()["ask"].end is End.COMPLETED, job.log("ask")
    (record,) = world.records()
    assert len(record["models"]) == 2
    assert "three" in record["models"]
    assert not lives or lives == {record["id"]}


def test_a_missing_model_names_itself_and_the_repository(world: World) -> None:
    job = world.run(infer("ask", "one", "absent"))
    end = job.wait()["ask"]
    assert end.end is End.IMAGE_MISSING
    assert end.reason == (
        f"the model 'absent' cannot be found in the model repository {world.models}, "
        "which holds: broken, one, three, two"
    )


def test_a_model_that_does_not_load_is_told_in_tritons_words(world: World) -> None:
    job = world.run(infer("ask", "broken"))
    end = job.wait()["ask"]
    assert end.end is End.IMAGE_MISSING
    assert "Triton cannot load the model 'broken'" in end.reason
    assert "no weights" in end.reason


def test_too_many_models_for_one_operator(world: World) -> None:
    job = world.run(infer("ask", "one", "two", "three"))
    end = job.wait()["ask"]
    assert "it wants 3 models at once, and `services.triton.model-limit` allows 2" in end.reason


# Asks again and again until it was answered both before and after Triton's death.
PATIENT = """
import os, pathlib, time
import numpy as np, tritonclient.grpc as client
asked = client.InferInput("INPUT", [1], "FP32")
asked.set_data_from_numpy(np.array([1], np.float32))
before = after = False
while not after:
    try:
        with client.InferenceServerClient(os.environ["NVIDIA_TRITON_GRPCURI"]) as triton:
            triton.infer("two", [asked])
    except client.InferenceServerException:
        time.sleep(0.1)
        continue
    if before and pathlib.Path("/output/killed").exists():
        after = True
    before = True
    pathlib.Path("/output/asked").touch()
    time.sleep(0.02)
"""


def test_killed_in_mid_job_it_comes_back_with_its_models(world: World) -> None:
    job = world.run(infer("ask", "two", code=PATIENT))
    folder = world.root / "payloads" / job.run.job_id / "operators" / "ask"
    world.wait((folder / "asked").exists)
    (record,) = world.records()
    for pid, fd in procfs._marked(mark(record["id"]).encode()):
        os.close(fd)
        os.kill(pid, signal.SIGKILL)
    (folder / "killed").touch()
    assert job.wait()["ask"].end is End.COMPLETED, job.log("ask")
    # The operator may have its answer before the record says that the service is back.
    world.wait(lambda: [(r["state"], r["restarts"]) for r in world.records()] == [("READY", 1)])
