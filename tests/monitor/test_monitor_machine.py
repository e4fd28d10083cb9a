from __future__ import annotations

from pathlib import Path

import psutil

from gateway.monitor import machine


def test_the_machine_is_what_psutil_says(tmp_path: Path) -> None:
    found = machine.look(devices=tmp_path, cgroup=tmp_path)
    assert found.cpu == len(psutil.Process().cpu_affinity())
    assert found.memory_mb == psutil.virtual_memory().total // 2**20
    assert found.gpus == 0


def test_gpus_are_the_numbered_devices(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        (tmp_path / name).touch()
    assert machine.look(devices=tmp_path, cgroup=tmp_path).gpus == 2


def test_the_cgroup_caps_the_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert machine.look(devices=tmp_path, cgroup=tmp_path).memory_mb == 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.look(devices=tmp_path, cgroup=tmp_path).memory_mb > 1024


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    found = machine.disk(tmp_path / "not" / "yet")
    assert 0 < found.free <= found.total
    assert 0 <= found.used_percent <= 100
