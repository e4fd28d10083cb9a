"""``gateway start|stop|status platform``: one gateway in the background, and never a wrong one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.events.lease import holder
from tests.cli.conftest import Done, Gateway
from tests.support.processes import command
from tests.support.site import Site, application

START = [sys.executable, "-m", "gateway.cli", "start", "platform", "--config"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder with the settings of a gateway; what was started there is ended."""
    root = tmp_path / "site"
    Site(root, pipelines=[], applications=[application()])
    yield root
    pid = holder(root / "data", "api")
    if pid:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A program whose number an old lock file might name."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as made:
        yield made
        made.kill()


@pytest.fixture
def run(gateway: Gateway, root: Path) -> Gateway:
    def run(verb: str, *more: object) -> Done:
        return gateway(verb, "platform", "--config", root / "gateway.yaml", *more)

    return run


def test_start_waits_until_ready_and_stop_until_gone(run: Gateway, root: Path) -> None:
    assert run("status").returncode == 3
    # Of two at the same time one starts it, and the other says so.
    both = [
        subprocess.Popen(
            [*START, str(root / "gateway.yaml"), "--timeout", "60"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=90) for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    done = run("status", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    (pid,) = found["pids"]
    assert found["state"] == "READY"
    assert set(found["roles"]) == {"scp", "scheduler", "api", "delivery"}
    with socket.create_connection(("127.0.0.1", found["endpoints"]["dicom"]), 5):
        pass
    done = run("start")
    assert done.returncode == 1
    assert f"runs already on {root / 'data'}: process {pid}" in done.stderr
    assert (root / "data" / "platform.log").stat().st_mode & 0o777 == 0o600

    done = run("stop")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"stopped: process {pid}\n"
    # An ended process has no command, be it reaped or not.
    assert command(pid) == []
    assert run("status").returncode == 3
    assert run("stop").stdout == "no gateway runs\n"
    last = (root / "data" / "platform.log").read_text().splitlines()[-1]
    assert json.loads(last)["message"] == "gateway stopped"


def test_the_number_in_an_old_file_is_no_process(
    run: Gateway, root: Path, stranger: subprocess.Popen[bytes]
) -> None:
    data = root / "data"
    data.mkdir()
    for role in ("scp", "scheduler", "api", "delivery"):
        (data / f"{role}.lock").write_text(f"{stranger.pid}\n")
    assert run("status").returncode == 3
    assert run("stop").stdout == "no gateway runs\n"
    assert stranger.poll() is None
    done = run("start")
    assert done.returncode == 0, done.stderr
    pid = holder(data, "scp")
    assert pid not in (None, stranger.pid)
    # It ends without a chance to take anything back; nobody is left behind.
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    assert run("stop").returncode == 0
    assert run("status").returncode == 3


def test_a_process_that_only_seems_to_hold_the_folder_is_not_signalled(
    run: Gateway, root: Path, stranger: subprocess.Popen[bytes]
) -> None:
    """As when another machine has the lock on a shared folder."""
    data = root / "data"
    data.mkdir()
    with (data / "api.lock").open("w") as lock:
        lock.write(f"{stranger.pid}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("stop", "--timeout", "0.3")
        assert done.returncode == 1
        assert f"process {stranger.pid} still has {data}" in done.stderr
        assert run("status").returncode == 1
    assert stranger.poll() is None


def test_what_cannot_start_says_why(run: Gateway, root: Path) -> None:
    settings = yaml.safe_load((root / "gateway.yaml").read_text())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings["http"] = {"port": taken.getsockname()[1]}
        (root / "gateway.yaml").write_text(yaml.safe_dump(settings))
        done = run("start")
    assert done.returncode == 1
    assert "in use" in done.stderr
    (root / "gateway.yaml").write_text("nonsense: 1\n")
    done = run("start")
    assert done.returncode == 2
    assert "gateway.yaml:1: nonsense: unknown key" in done.stderr
