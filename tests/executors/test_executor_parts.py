from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gateway.config.settings import ImageSettings
from gateway.executors import interpreter, limits
from gateway.executors.gpus import Devices, binds
from gateway.executors.images import Images
from gateway.executors.logfile import LogFile
from gateway.executors.procfs import memory_of
from gateway.pipelines.model import Operator


def find(images, image, tag="latest", command=()):
    return Images(images).find(Operator("o", image, tag, command=command))


@pytest.mark.parametrize(
    ("image", "tag", "first"),
    [
        ("site/edge", "2", "two"),
        ("site/edge", "3", "any"),
        ("nvcr.io/site/edge", "2", "two"),
        ("localhost:5000/site/edge", "3", "any"),
        ("nvcr.io/nvidia/clara/edge", "1", "clara"),
        ("gateway/lung-density", "1", "mine"),
    ],
)
def test_image_names_are_found(image, tag, first):
    settings = {
        "site/edge:2": ImageSettings(command=["two"], env={"A": "1"}),
        "site/edge": ImageSettings(command=["any"]),
        "edge": ImageSettings(command=["clara"]),
        "gateway/lung-density": ImageSettings(command=["mine"]),
    }
    program = find(settings, image, tag)
    assert program is not None
    assert program.command == (first,)
    assert find(settings, image, tag, ("run", "it")).command == ("run", "it")


@pytest.mark.parametrize("image", ["edge", "site/other", "nvcr.io/edge:2"])
def test_other_names_are_not(image):
    assert find({"site/edge": ImageSettings(command=["any"])}, image) is None


@pytest.mark.parametrize(
    "name", ["dicom-reader", "lung-density", "dicom-writer", "register-results"]
)
def test_shipped_operators_are_preset(name):
    program = find(None, f"gateway/{name}", "0.1.0")
    assert program.command == (sys.executable, "-m", f"gateway.operators.{name.replace('-', '_')}")


@pytest.mark.parametrize(
    "image", ["nvcr.io/nvidia/clara/register-results", "mirror/register-results"]
)
def test_register_results_of_clara_runs_where_register_py_is(image):
    command = ("python", "register.py", "--agent", "ClaraSCU")
    program = find(None, image, "0.7.4", command)
    assert program.command == command
    assert program.folder.endswith("/gateway/operators/register_results")


def test_paths_of_a_configured_command_are_shown(tmp_path):
    script = tmp_path / "edge.py"
    script.touch()
    program = find({"e": ImageSettings(command=["python", str(script), "/no/such"])}, "e")
    assert program.visible == (script,)
    program = find({"e": ImageSettings(command=["x"], env={"PYTHONPATH": str(tmp_path)})}, "e")
    assert program.visible == (tmp_path,)
    venv = find({"e": ImageSettings(command=[sys.executable])}, "e").visible
    assert any(Path(sys.executable).is_relative_to(folder) for folder in venv)


def test_only_the_outermost_folders_are_shown():
    paths = [Path("/a/b"), Path("/a"), Path("/a/b/c"), Path("/ab"), Path("/a")]
    assert interpreter.outermost(paths) == [Path("/a"), Path("/ab")]
    assert not any(p.is_relative_to("/usr") for p in interpreter.visible())


def test_log_ends_at_its_limit(tmp_path):
    log = LogFile(tmp_path / "deep" / "log", limit=10)
    for _ in range(5):
        log.write(b"abcd\n")
    log.write(b"the end\n\n")
    log.close()
    text = (tmp_path / "deep" / "log").read_text()
    assert text.startswith("abcd\nabcd\n\n[the log ends here")
    assert text.count("the log ends") == 1
    assert log.last_line == "the end"


def test_full_disk_does_not_stop_the_log():
    log = LogFile(Path("/dev/full"))
    log.write(b"lost\n")
    log.write(b"also lost\n")
    log.close()
    assert log.last_line == "also lost"


def test_devices_are_shared_out():
    devices = Devices((3, 5, 7))
    first = devices.take(2)
    assert first == (3, 5)
    assert devices.take(2) == (7,)
    devices.give_back(first)
    assert devices.take(9) == (3, 5)
    assert binds((), {}) == []


def test_version_2_groups_are_used_where_they_can_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_own", lambda controller: None if controller else "/svc")
    base = tmp_path / "svc"
    base.mkdir()
    (base / "cgroup.controllers").write_text("cpu memory pids\n")
    # A plain folder cannot be removed while it holds files; a control group can.
    removed = []
    monkeypatch.setattr(limits, "_remove", removed.append)
    limiter = limits.detect(tmp_path)
    assert "version 2" in limiter.mode
    assert (base / "cgroup.subtree_control").read_text() == "+memory +pids"
    cage = limiter.cage("job", 100)
    folder = base / "job"
    assert (folder / "memory.max").read_text() == str(100 << 20)
    cage.enter(42)
    assert (folder / "cgroup.procs").read_text() == "42"
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 0\n")
    assert not cage.exceeded("")
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert cage.exceeded("")
    limiter.sweep("jo")
    assert removed[-1] == folder


def test_watch_is_used_where_no_group_can_be_made(tmp_path):
    assert isinstance(limits.detect(tmp_path), limits.Watch)


def test_memory_of_a_process():
    assert memory_of(os.getpid()) > 10 << 20
    assert memory_of(2**22 + 1) == 0
