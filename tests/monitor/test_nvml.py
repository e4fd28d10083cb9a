from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.nvml import (
    FUNCTION_NOT_FOUND,
    GIBIBYTE,
    GPU_IS_LOST,
    NOT_SUPPORTED,
    UUIDS,
    VERSION_MISMATCH,
    FakeNvml,
    fake_nvml,
    nvml_library,
)

__all__ = ["fake_nvml", "nvml_library"]
pytestmark = pytest.mark.peers

READ = """
import dataclasses, json
from gateway.monitor.nvml import Nvml
nvml = Nvml()
found = [dataclasses.asdict(reading) for reading in nvml.read()]
print(json.dumps({"gpus": found, "fault": nvml.fault, "absent": nvml.absent}))
"""

# Waits, file in hand, for the test's next words between two looks.
CHANGING = """
import json, os
from pathlib import Path
from gateway.monitor import nvml as module
from gateway.monitor.nvml import Nvml
state = Path(os.environ["FAKE_NVML"])
whole = state.read_text()
nvml, told = Nvml(), []
def look():
    told.append([[r.device.index for r in nvml.read()], nvml.fault])
look()
state.write_text(whole + "error nvmlDeviceGetMemoryInfo 15 0\\n")
look()
state.write_text(whole)
look()
nvml._retry_at = 0.0
look()
state.unlink()
look()
nvml.close()
look()
state.write_text(whole)
look()
nvml._retry_at = 0.0
look()
print(json.dumps(told))
"""


def test_every_figure_of_every_gpu(fake_nvml: FakeNvml) -> None:
    fake_nvml.say("process 0 4711 1000", "process 0 4712 2000", "process 1 4711 30")
    found = fake_nvml.run(READ)
    first, second = found["gpus"]
    assert (found["fault"], found["absent"]) == (None, False)
    assert first.pop("at") > 1e9
    assert first == {
        "device": {
            "index": 0,
            "minor": 1,
            "uuid": UUIDS[0],
            "model": "Big",
            "pcie_id": 0x3B << 8,
        },
        "busy": 0.37,
        "memory_busy": 0.12,
        "memory_total": 80 * GIBIBYTE,
        "memory_used": 20 * GIBIBYTE,
        "memory_free": 60 * GIBIBYTE,
        "bar1_used": 6 << 20,
        "bar1_free": 250 << 20,
        "celsius": 41,
        "watts": 71.5,
        "processes": [{"pid": 4711, "memory": 1000}, {"pid": 4712, "memory": 2000}],
    }
    assert second["device"]["pcie_id"] == 1 << 16 | 0x5E << 8 | 0x1F << 3
    assert (second["device"]["model"], second["busy"]) == ("Small GPU", 0.0)
    assert second["processes"] == [{"pid": 4711, "memory": 30}]


def test_what_a_gpu_does_not_tell_is_no_zero(fake_nvml: FakeNvml) -> None:
    fake_nvml.say(
        "process 0 4711 18446744073709551615",
        f"error nvmlDeviceGetUtilizationRates {NOT_SUPPORTED} 0",
        f"error nvmlDeviceGetPowerUsage {NOT_SUPPORTED} 0",
        f"error nvmlDeviceGetTemperature {NOT_SUPPORTED} 0",
        f"error nvmlDeviceGetBAR1MemoryInfo {NOT_SUPPORTED} 0",
    )
    found = fake_nvml.run(READ)
    first, second = found["gpus"]
    unknown = ("busy", "memory_busy", "watts", "celsius", "bar1_used", "bar1_free")
    assert [first[name] for name in unknown] == [None] * 6
    assert None not in [second[name] for name in unknown]
    assert first["processes"] == [{"pid": 4711, "memory": None}]
    assert found["fault"] is None


def test_a_process_in_several_slices_is_one(fake_nvml: FakeNvml) -> None:
    fake_nvml.say("process 0 4711 1000", "process 0 4711 500")
    assert fake_nvml.run(READ)["gpus"][0]["processes"] == [{"pid": 4711, "memory": 1500}]


def test_an_older_driver_tells_the_processes_too(fake_nvml: FakeNvml) -> None:
    fake_nvml.say(
        "process 0 4711 1000",
        f"error nvmlDeviceGetComputeRunningProcesses_v3 {FUNCTION_NOT_FOUND}",
    )
    assert fake_nvml.run(READ)["gpus"][0]["processes"] == [{"pid": 4711, "memory": 1000}]


def test_a_gpu_that_is_lost_hides_no_other(fake_nvml: FakeNvml) -> None:
    fake_nvml.say(f"error nvmlDeviceGetHandleByIndex_v2 {GPU_IS_LOST} 0")
    found = fake_nvml.run(READ)
    assert [gpu["device"]["uuid"] for gpu in found["gpus"]] == [UUIDS[1]]
    assert found["fault"] == "GPU 0: GPU is lost"


def test_a_driver_that_does_not_fit_its_library_says_so(fake_nvml: FakeNvml) -> None:
    fake_nvml.say(f"error nvmlInitWithFlags {VERSION_MISMATCH}")
    found = fake_nvml.run(READ)
    assert (found["gpus"], found["absent"]) == ([], False)
    assert "version mismatch" in found["fault"]


def test_a_gpu_and_a_driver_may_go_and_come_back(fake_nvml: FakeNvml) -> None:
    assert fake_nvml.run(CHANGING) == [
        [[0, 1], None],
        [[1], "GPU 0: GPU is lost"],
        [[0, 1], "GPU 0: GPU is lost"],  # the fault stays told until all are looked for anew
        [[0, 1], None],
        [[], "GPU 1: Driver Not Loaded"],
        [[], "GPU 1: Driver Not Loaded"],
        [[], "GPU 1: Driver Not Loaded"],
        [[0, 1], None],
    ]


def test_without_a_driver_there_is_no_gpu_and_no_fault() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    script = "import ctypes\nctypes.CDLL('libnvidia-ml.so.1')"
    if not subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine has NVIDIA's driver")
    done = subprocess.run(
        [sys.executable, "-c", READ], capture_output=True, check=True, env=environment
    )
    assert json.loads(done.stdout) == {"gpus": [], "fault": None, "absent": True}
    assert done.stderr == b""
