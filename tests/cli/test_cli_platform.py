"""The verbs that make and run things, against a whole gateway."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Gateway
from tests.support.site import Site, application, operator, pipeline

ECHO = """
import os, pathlib, sys
for path in sorted(pathlib.Path("/input").rglob("*")):
    if path.is_file():
        target = pathlib.Path("/output") / path.relative_to("/input")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        print("copied", path.name, flush=True)
sys.exit(int(os.environ.get("EXIT", "0")))
"""
SLOW = """
import time
for number in range(6):
    print("line", number, "äöü", flush=True)
    time.sleep(0.3)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    definitions = [
        pipeline("echo", operator("echo", ECHO)),
        pipeline("failing", operator("echo", ECHO, variables={"EXIT": "3"})),
        pipeline("slow", operator("talk", SLOW)),
    ]
    made = Site(
        tmp_path_factory.mktemp("site"), pipelines=definitions, applications=[application()]
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a nested file, an empty one and one of several chunks."""
    top = tmp_path / "input"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "deep.txt").write_text("deep")
    (top / "empty").write_bytes(b"")
    (top / "large").write_bytes(os.urandom(3 * 1024 * 1024 + 7))
    return top


@pytest.fixture
def cli(site: Site, gateway: Gateway) -> Gateway:
    """The command line, told where the gateway is."""
    return partial(
        gateway,
        GATEWAY_URL=f"http://127.0.0.1:{site.ports['http']}",
        GATEWAY_HOST=f"127.0.0.1:{site.ports['grpc']}",
    )


def made(cli: Gateway, *arguments: object) -> dict[str, str]:
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    return dict(line.split(":", 1) for line in done.stdout.splitlines())


def told(cli: Gateway, *arguments: object) -> Any:
    done = cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_claras_published_flow(cli: Gateway, folder: Path, tmp_path: Path) -> None:
    definition = pipeline("made-here", operator("echo", ECHO))
    file = tmp_path / "made-here.yaml"
    file.write_text(yaml.safe_dump(definition))
    done = cli("create", "pipelines", "-p", str(file))
    assert done.returncode == 0, done.stderr
    # Scripts take what follows the colon of the first line.
    pipeline_id = done.stdout.splitlines()[0].split(":")[1]
    assert re.fullmatch(r"[0-9a-f]{32}", pipeline_id)
    assert "made-here" in cli("list", "pipelines").stdout

    done = cli("create", "job", "-n", "trial", "-p", pipeline_id, "-f", str(folder))
    assert done.returncode == 0, done.stderr
    job = done.stdout.splitlines()[0].split(":")[1]
    assert told(cli, "describe", "job", "-j", job)["state"] == "PENDING"
    done = cli("start", "job", "-j", job, "--wait")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "started: now STOPPED HEALTHY\n"
    assert "copied deep.txt" in cli("logs", "job", "-j", job).stdout

    payload = told(cli, "describe", "job", job)["payload_id"]
    out = tmp_path / "out"
    done = cli("download", "payload", payload, "/operators", "--to", str(out))
    assert done.returncode == 0, done.stderr
    got = out / "operators" / "echo"
    for name in ("a/b/deep.txt", "empty", "large"):
        assert (got / name).read_bytes() == (folder / name).read_bytes()
    assert not (out / "input").exists()
    assert not list(out.rglob("*.part"))

    assert cli("remove", "pipeline", "made-here").returncode == 0
    assert cli("create", "job", "-p", "made-here").returncode == 3
    assert cli("delete", "payload", payload, "--yes").returncode == 0
    assert cli("describe", "payload", payload).returncode == 3


def test_a_reusable_payload_feeds_jobs_and_goes(
    site: Site, cli: Gateway, folder: Path, tmp_path: Path
) -> None:
    payload = made(cli, "create", "payload", "--metadata", "site=north")["PAYLOAD_ID"]
    sent = told(cli, "upload", "payload", payload, folder, "--to", "things")
    assert sent == {"payload_id": payload, "files": 3, "bytes": 3 * 1024 * 1024 + 11}
    listed = {item["id"]: item for item in told(cli, "list", "reusable-payloads")}
    assert listed[payload]["metadata"] == {"site": "north"}
    found = told(cli, "describe", "payload", payload)
    assert found["type"] == "REUSABLE"
    assert found["metadata"] == {"site": "north"}
    names = {file["name"] for file in found["files"]}
    assert names == {"/things/a/b/deep.txt", "/things/empty", "/things/large"}

    job = told(
        cli, "create", "job", "-p", "echo", "--payload", payload, "--priority", "higher", "--start"
    )
    assert job["status"] == "HEALTHY"
    job_id = job["job_id"]
    site.wait(lambda: told(cli, "describe", "job", job_id)["state"] == "STOPPED")
    assert told(cli, "describe", "job", job_id)["priority"] == "higher"

    assert cli("delete", "payload", payload, "--file", "things/empty", "--yes").returncode == 0
    assert len(told(cli, "describe", "payload", payload)["files"]) == 2
    assert cli("delete", "payload", payload, "-y").returncode == 0
    assert payload not in {item["id"] for item in told(cli, "list", "reusable-payload")}
    assert payload in {i["id"] for i in told(cli, "list", "reusable-payloads", "--deleted")}
    assert cli("describe", "payload", payload).returncode == 3
    assert cli("upload", "payload", payload, str(folder)).returncode == 3


def test_a_download_replaces_nothing_unasked_and_leaves_the_folder_for_nothing(
    cli: Gateway, tmp_path: Path
) -> None:
    source = tmp_path / "x.txt"
    source.write_text("new")
    payload = made(cli, "create", "payload", "-f", source)["PAYLOAD_ID"]
    to = tmp_path / "to"
    to.mkdir()
    (to / "x.txt").write_text("old")
    done = cli("download", "payload", payload, "--to", str(to))
    assert done.returncode == 1
    assert "x.txt is there already" in done.stderr
    assert (to / "x.txt").read_text() == "old"
    assert cli("download", "payload", payload, "-o", str(to), "--overwrite").returncode == 0
    assert (to / "x.txt").read_text() == "new"
    assert cli("download", "payload", payload, "nothing*", "-o", str(to)).returncode == 3

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert cli("upload", "payload", payload, str(source), "--to", "sub").returncode == 0
    (to / "sub").symlink_to(elsewhere)
    done = cli("download", "payload", payload, "sub", "-o", str(to))
    assert done.returncode == 1
    assert "leads out of" in done.stderr
    assert not list(elsewhere.iterdir())


def test_how_commands_end(cli: Gateway, tmp_path: Path) -> None:
    """Every documented exit code, by a command that calls the platform API."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("api-version: 0.4.0\nname: broken\noperators:\n- nonsense: 1\n")
    nobody = "0" * 32
    dead = ("--host", "127.0.0.1:1")
    for code, said, arguments in (
        (0, "PAYLOAD_ID:", ["create", "payload"]),
        (1, "there already", ["create", "payload", "--metadata", "a=1", "--metadata", "A=2"]),
        (2, "broken.yaml:4", ["create", "pipeline", str(broken)]),
        (2, "give one pipeline", ["remove", "pipeline"]),
        (2, "is not KEY=VALUE", ["create", "payload", "--metadata", "nothing"]),
        (2, "neither a file nor", ["create", "payload", "-f", str(tmp_path / "gone")]),
        (2, "no HOST:PORT", ["create", "payload", "--host", "a:b:c"]),
        (3, "there is no job", ["start", "job", nobody]),
        (3, "there is no payload", ["download", "payload", nobody]),
        (3, "there is no pipeline", ["create", "job", "-p", "nothing"]),
        (4, "127.0.0.1:1 cannot be reached", ["create", "payload", *dead]),
        (4, "127.0.0.1:1 cannot be reached", [*dead, "create", "payload"]),
    ):  # fmt: skip
        done = cli(*arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert said in done.stdout + done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


def test_start_waits_for_the_end_and_tells_a_fault(cli: Gateway) -> None:
    job = made(cli, "create", "job", "-p", "failing", "-f", __file__)["JOB_ID"]
    done = cli("start", "job", job, "--wait")
    assert done.returncode == 1
    assert done.stdout == "started: now STOPPED FAULTED\n"


def test_cancel_with_a_reason(cli: Gateway) -> None:
    job = made(cli, "create", "job", "-p", "echo")["JOB_ID"]
    done = cli("cancel", "job", "-j", job, "--reason", "wrong protocol")
    assert done.stdout == "cancelling asked for: now STOPPED CANCELED\n"
    assert "wrong protocol" in told(cli, "describe", "job", job)["reason"]


def test_logs_are_followed_while_they_are_written(cli: Gateway) -> None:
    job = made(cli, "create", "job", "-p", "slow", "-f", __file__, "--start")["JOB_ID"]
    done = cli("logs", "job", job, "--follow")
    assert done.returncode == 0, done.stderr
    assert told(cli, "describe", "job", job)["state"] == "STOPPED"
    wanted = ["==> talk <==", *(f"line {number} äöü" for number in range(6))]
    assert done.stdout.splitlines() == wanted
    assert cli("logs", "job", job, "-f", "--operator", "other").returncode == 3


def test_a_bar_is_drawn_on_a_terminal_only(site: Site, cli: Gateway, folder: Path) -> None:
    payload = made(cli, "create", "payload")["PAYLOAD_ID"]
    quiet = cli("upload", "payload", payload, str(folder))
    assert quiet.stderr == ""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "upload", "payload", payload, str(folder)],
            env=os.environ | {"GATEWAY_HOST": f"127.0.0.1:{site.ports['grpc']}", "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=60,
            check=True,
        )
        os.close(theirs)
        drawn = b""
        try:
            while data := os.read(ours, 65536):
                drawn += data
        except OSError:
            # Linux tells the end of a pseudo terminal so.
            pass
    finally:
        os.close(ours)
    assert b"uploading" in drawn
    assert b"files" in done.stdout


def test_one_place_says_which_gateway(site: Site, gateway: Gateway, home: Path) -> None:
    """An option wins over variable and file, and takes both addresses with it."""
    profile = home / ".config" / "gateway" / "config.yaml"
    profile.parent.mkdir(parents=True)
    host = f"127.0.0.1:{site.ports['grpc']}"
    profile.write_text(f"host: {host}\n")
    assert gateway("create", "payload").returncode == 0
    assert gateway("create", "payload", GATEWAY_HOST="127.0.0.1:1").returncode == 4
    done = gateway("create", "payload", "--host", host, GATEWAY_HOST="127.0.0.1:1")
    assert done.returncode == 0
    done = gateway("list", "jobs", "--host", "127.0.0.2:9", GATEWAY_URL="http://127.0.0.1:1")
    assert "http://127.0.0.2:8080 cannot be reached" in done.stderr
    profile.write_text("hosts: nonsense\n")
    done = gateway("create", "payload")
    assert done.returncode == 2
    assert "config.yaml:1: hosts: unknown key" in done.stderr
    profile.write_text("{}\n")
    done = gateway("create", "payload", "--host", "gateway.invalid:1", GATEWAY_TOKEN="secret")  # noqa: S106
    assert done.returncode == 2
    assert "in the clear" in done.stderr


def test_a_running_gateway_follows_what_is_created(site: Site, cli: Gateway) -> None:
    config = ("--config", str(site.root / "gateway.yaml"))
    done = cli("dicom", "create", "src", "-a", "NEWCOMER", "-i", "10.9.9.9", *config)
    assert done.returncode == 0, done.stderr
    site.wait(lambda: "NEWCOMER" in [s["ae_title"] for s in site.items("sources")])
    assert cli("dicom", "delete", "src", "NEWCOMER", *config).returncode == 0
    site.wait(lambda: "NEWCOMER" not in [s["ae_title"] for s in site.items("sources")])
