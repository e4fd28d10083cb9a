from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from gateway.monitor import machine, proc

MEBIBYTE = 1 << 20


def test_the_machine_is_what_psutil_says(tmp_path: Path) -> None:
    found = machine.look(cgroup=tmp_path)
    assert found.cpu == len(psutil.Process().cpu_affinity())
    assert found.memory_mb == psutil.virtual_memory().total // MEBIBYTE


def test_device_files_are_the_numbered_ones(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        (tmp_path / name).touch()
    assert machine.device_files(tmp_path) == 2


def test_the_cgroup_caps_the_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert machine.look(cgroup=tmp_path).memory_mb == 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.look(cgroup=tmp_path).memory_mb > 1024


@pytest.mark.parametrize(
    ("limit", "used", "stat", "cached"),
    [
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ],
)
def test_what_a_container_has_left(
    tmp_path: Path, limit: str, used: str, stat: str, cached: str
) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / limit).write_text(f"{512 * MEBIBYTE}\n")
    (tmp_path / used).write_text(f"{400 * MEBIBYTE}\n")
    (tmp_path / stat).write_text(f"anon 5\n{cached} {100 * MEBIBYTE}\nother 7\n")
    assert machine.memory(tmp_path) == machine.Memory(512 * MEBIBYTE, 212 * MEBIBYTE)


def test_the_memory_of_a_machine_without_limit(tmp_path: Path) -> None:
    found, said = machine.memory(tmp_path), psutil.virtual_memory()
    assert found.total == said.total
    assert abs(found.available - said.available) < said.total / 10


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    found = machine.disk(tmp_path / "not" / "yet")
    assert 0 < found.free <= found.total
    assert 0 <= found.used_percent <= 100


def test_the_cores_are_what_psutil_says() -> None:
    before, found, after = psutil.cpu_times(), proc.cpu_times(), psutil.cpu_times()
    assert before.user + before.nice <= found.user <= after.user + after.nice
    assert before.system <= found.system
    assert found.idle > 0


def test_the_traffic_of_a_disk_grows_by_what_is_written(tmp_path: Path) -> None:
    before = proc.disk_traffic(tmp_path)
    if before is None:
        pytest.skip("the kernel tells nothing of the disk below the temporary folder")
    with (tmp_path / "file").open("wb") as file:
        file.write(os.urandom(8 * MEBIBYTE))
        os.fsync(file.fileno())
    after = proc.disk_traffic(tmp_path)
    assert after is not None
    assert after.written - before.written >= 8 * MEBIBYTE


def test_a_file_system_without_a_disk_of_its_own_tells_nothing() -> None:
    assert proc.disk_traffic(Path("/proc")) is None


def test_a_process_and_one_that_is_gone() -> None:
    deadline = time.process_time() + 0.05
    while time.process_time() < deadline:
        pass
    mine = os.getpid()
    assert mine in proc.pids()
    used = psutil.Process().cpu_times()
    assert abs(proc.cpu_seconds(mine) - used.user - used.system) < 0.05
    assert proc.parent(mine) == os.getppid()
    assert proc.threads(mine) == psutil.Process().num_threads()
    assert proc.resident(mine) > MEBIBYTE
    gone = 2**22 + 1  # beyond the highest number a process can have
    assert (proc.cpu_seconds(gone), proc.parent(gone), proc.resident(gone)) == (0, 0, 0)
    assert (proc.threads(gone), proc.arguments(gone), proc.program(gone)) == (0, [], "")
    assert proc.environment(gone) == []
