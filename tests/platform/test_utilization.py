"""GPUs as a whole gateway tells of them, on a machine whose NVML is a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.dicom.receivers import how_many
from tests.support import clara
from tests.support.nvml import GIBIBYTE, UUIDS, VERSION_MISMATCH, FakeNvml, fake_nvml, nvml_library
from tests.support.site import Site, application, operator, pipeline

__all__ = ["fake_nvml", "nvml_library"]
pytestmark = pytest.mark.peers

DRIVER = Path(__file__).resolve().parents[1] / "support" / "clara_gpu_driver.py"
MEBIBYTE = 1 << 20
WATCHING = pytest.StashKey[Any]()
"""A stream that is followed until the gateway ends."""
# The SDK of a real operator would hold the GPU; here the stand-in says that its process does.
INFER = """
import time
held = bytearray(b"x") * (64 << 20)
while time.process_time() < 1: pass
time.sleep(120)
"""


def using(name: str, gpus: int) -> dict[str, Any]:
    """A pipeline whose one operator asks for GPUs."""
    return pipeline(name, operator("infer", INFER, requests={"gpu": gpus, "memory": 512}))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, nvml_library: FakeNvml) -> Iterator[Site]:
    nvml_library.say()
    made = Site(
        tmp_path_factory.mktemp("gpus"),
        applications=[application()],
        pipelines=[using("one", 1), using("x", 3)],
    )
    made.start(**nvml_library.environment)
    yield made
    # It ends though somebody still watches.
    assert made.stop() == 0


@pytest.fixture(scope="module")
def api(site: Site) -> Iterator[clara.Api]:
    with grpc.insecure_channel(f"127.0.0.1:{site.ports['grpc']}") as channel:
        yield clara.Api(channel)


def started(site: Site, api: clara.Api, name: str) -> Any:
    """The answer to creating a job of a pipeline; it is started when there is one."""
    (found,) = [p["id"] for p in site.items("pipelines") if p["name"] == name]
    made = api.Jobs.Create(pipeline_id={"value": found}, name="gpu")
    if not made.header.code:
        assert api.Jobs.Start(job_id=made.job_id).header.code == 0
    return made


def program_of(job_id: str) -> psutil.Process | None:
    """The process of the job's operator."""
    for process in psutil.process_iter():
        try:
            named = process.environ().get("NVIDIA_CLARA_JOBID") == job_id
            if named and process.cmdline()[0] == sys.executable:
                return process
        except (psutil.Error, IndexError):
            continue
    return None


def figures(site: Site) -> dict[tuple[str, ...], float]:
    """The metrics, by name and values of labels in the order of their names."""
    assert site.http is not None
    text = site.http.get("/metrics").text
    return {
        (sample.name, *(sample.labels[k] for k in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_who_uses_which_gpu_and_how_much(
    site: Site, api: clara.Api, fake_nvml: FakeNvml, client_run: Callable[..., dict[str, Any]]
) -> None:
    job = started(site, api, "one").job_id.value
    process = site.wait(lambda: program_of(job))
    assert process.environ()["CUDA_VISIBLE_DEVICES"] == UUIDS[0]
    assert process.environ()["NVIDIA_VISIBLE_DEVICES"] == UUIDS[0]
    assert site.process is not None
    fake_nvml.say(
        f"process 0 {process.pid} {5 * GIBIBYTE}",
        f"process 0 {site.process.pid} {GIBIBYTE}",
        f"process 1 {os.getpid()} {GIBIBYTE}",
    )

    def users() -> list[list[tuple[str, str]]]:
        (answer,) = api.Clara.Utilization()
        return [
            [(p.name, p.job_id.value) for p in gpu.process_details] for gpu in answer.gpu_metrics
        ]

    test = psutil.Process().name()
    expected = [sorted([("infer", job), ("gateway all", "")]), [(test, "")]]
    site.wait(lambda: [sorted(gpu) for gpu in users()] == expected)

    (snapshot,) = api.Clara.Utilization()
    first, second = snapshot.gpu_metrics
    assert first.node_id
    assert (first.pcie_id, second.pcie_id) == (0x3B00, 0x15EF8)
    assert first.compute_utilization == pytest.approx(0.37)
    assert first.memory_utilization == 0.25
    assert (first.memory_used, first.memory_free) == (20 * 1024, 60 * 1024)
    assert abs(first.timestamp.value - 62135596800 - time.time()) < 30
    assert second.compute_utilization == 0

    stream = api.Monitor.GpuMetrics()
    details = next(stream).gpu_details
    stream.cancel()
    assert [d.device_id for d in details] == [0, 1]
    data = details[0].data
    assert data.gpu_utilization == pytest.approx(0.37)
    assert (data.used_bar_1, data.free_bar_1) == (6, 250)
    assert (data.used_gpu_memory, data.free_gpu_memory) == (20 * 1024, 60 * 1024)

    seen = client_run(DRIVER, f"127.0.0.1:{site.ports['grpc']}")
    assert sorted(seen["listed"][0][0]["processes"]) == [["gateway all", None], ["infer", job]]
    # The client's stream would end at a process without a job.
    assert [[g["processes"] for g in s] for s in seen["streamed"]] == [[[["infer", job]], []]] * 2
    assert seen["streamed"][0][0]["memory"] == [20 * 1024, 60 * 1024, 0.25]

    mine = ("infer", "one")
    site.wait(lambda: figures(site).get(("gateway_operator_cpu_seconds_total", *mine), 0) > 0.9)
    site.wait(lambda: figures(site)["gateway_operator_memory_bytes", *mine] > 64 * MEBIBYTE)
    found = figures(site)
    assert found["gateway_operators_running", *mine] == 1
    assert found["gateway_operator_gpu_memory_bytes", *mine] == 5 * GIBIBYTE
    assert found["gateway_operator_memory_peak_bytes", *mine] < 512 * MEBIBYTE
    assert found[("gateway_gpus",)] == 2
    assert found["gateway_gpu_info", "1", "Small GPU", UUIDS[1]] == 1
    assert found["gateway_gpu_busy_ratio", "0"] == 0.37
    assert found["gateway_gpu_memory_used_bytes", "0"] == 20 * GIBIBYTE
    assert found["gateway_gpu_processes", "0"] == 2
    assert found["gateway_processes", "all"] == 1
    assert found["gateway_processes", "receiver"] == how_many()
    assert found["gateway_process_memory_bytes", "receiver"] > 10 * MEBIBYTE
    assert not [labels for labels in found if job in labels]

    assert api.Jobs.Cancel(job_id={"value": job}).header.code == 0
    site.wait(lambda: figures(site)["gateway_operators_running", *mine] == 0)
    ended = figures(site)
    assert ended["gateway_operator_memory_bytes", *mine] == 0
    assert ended["gateway_operator_cpu_seconds_total", *mine] > 0.9


def test_a_stream_follows_the_gpus_and_jobs_get_as_many_as_there_are(
    site: Site, api: clara.Api, fake_nvml: FakeNvml, request: pytest.FixtureRequest
) -> None:
    refused = started(site, api, "x")
    assert "needs 3 GPUs at once, the machine has 2" in refused.header.messages[0]
    stream = api.Clara.Utilization(watch=True)
    assert next(stream).gpu_metrics[1].compute_utilization == 0
    fake_nvml.say(gpus=[f"gpu {UUIDS[1]} 0 00000001:5E:1F.0 88 0 {GIBIBYTE} 0 {GIBIBYTE} Small"])
    busy = [[gpu.compute_utilization for gpu in next(stream).gpu_metrics] for _ in range(4)]
    assert [pytest.approx(0.88)] in busy  # the first place is another GPU's now, the second is gone
    request.config.stash[WATCHING] = stream


def doctor(folder: Path, fake: FakeNvml, *settings: str) -> tuple[int, dict[str, tuple[str, str]]]:
    (folder / "gateway.yaml").write_text("\n".join(settings))
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=os.environ | fake.environment,
    )
    items = json.loads(done.stdout)
    return done.returncode, {i["check"]: (i["status"], i["detail"]) for i in items}


def test_doctor_shows_every_gpu(tmp_path: Path, fake_nvml: FakeNvml) -> None:
    _, found = doctor(tmp_path, fake_nvml, "resources: {gpus: 2}")
    used = "20480 of 81920 MB in use, 37% busy"
    assert found["gpu 0"] == ("ok", f"Big, {UUIDS[0]}, {used}")
    assert found["gpu 1"][1].startswith("Small GPU")
    assert found["gpus"] == ("ok", "2 GPUs; the setting resources.gpus is 2")


def test_doctor_says_why_there_are_fewer(tmp_path: Path, fake_nvml: FakeNvml) -> None:
    fake_nvml.say(f"error nvmlInitWithFlags {VERSION_MISMATCH}")
    code, found = doctor(tmp_path, fake_nvml, "resources: {gpus: 1}")
    status, detail = found["gpus"]
    assert (code, status) == (1, "problem")
    assert detail.startswith("0 GPUs, NVML says: RM has detected an NVML/RM version mismatch")
