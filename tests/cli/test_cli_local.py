from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gateway.cli.dicom import peer_of
from gateway.cli.errors import CliError
from gateway.cli.main import app
from tests.cli.conftest import Gateway
from tests.web.conftest import Site

APPLICATIONS = """
applications:
- ae-title: LUNG_CT
  rules:
  - name: three slices
    when: 'series.exists(s, s.Modality == "CT" && s.instances == 3)'
    pipeline: copy
    destinations: [results]
  - {name: magnetic, when: 'study.modalities == ["MR"]', pipeline: copy, destinations: [results]}
destinations:
- {name: results, folder: results}
"""
PIPELINE = """
api-version: 0.4.0
name: copy
operators:
- name: copy
  container: {image: busybox, command: [cp]}
  input: [{path: /input}]
  output: [{path: /output}]
"""


@pytest.fixture
def settings(home: Path) -> Path:
    (home / "ae_config").mkdir()
    (home / "ae_config" / "all.yaml").write_text(APPLICATIONS)
    (home / "pipelines").mkdir()
    (home / "pipelines" / "copy.yaml").write_text(PIPELINE)
    file = home / "gateway.yaml"
    file.write_text("storage: {watermark-percent: 100, reserve-gb: 0}\n")
    return file


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """DCMTK's receiver on a free port: (port, folder it writes to)."""
    program = shutil.which("storescp")
    if program is None:
        if os.environ.get("GATEWAY_REQUIRE_PEERS") == "1":
            pytest.fail("storescp (DCMTK) is not installed")
        pytest.skip("storescp (DCMTK) is not installed")
    folder = tmp_path / "received"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([program, "-od", str(folder), "-aet", "PACS", str(port)])
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield port, folder
    process.terminate()
    process.wait(10)


def test_help_imports_nothing_heavy(process: Gateway) -> None:
    done = process("--help")
    assert done.returncode == 0
    for words in ("Exit codes:", "4  the gateway cannot be reached", "doctor", "GATEWAY_URL"):
        assert words in done.stdout
    code = (
        "import sys, gateway.cli.main\n"
        "heavy = 'httpx sqlalchemy pydicom pydantic rich numpy yaml fastapi alembic'.split()\n"
        "print(*(n for n in heavy if n in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "\n"


@pytest.mark.parametrize(
    "command",
    ["serve", "demo", "doctor", "send", "echo", "rules explain", "config check", "config show",
     "list payloads", "describe job", "logs job", "cancel job", "rerun job", "retry result",
     "release payload", "version"],
)  # fmt: skip
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="gateway")
    assert done.exit_code == 0
    assert f"gateway {command} " in done.stdout
    assert "[OPTIONS]" in done.stdout


def test_version(process: Gateway) -> None:
    assert process("version").stdout == "0.1.0\n"
    assert json.loads(process("version", "--json").stdout) == {"version": "0.1.0"}


def test_wrong_usage_ends_with_2(gateway: Gateway) -> None:
    for arguments in (["nonsense"], ["list", "nonsense"], ["list", "jobs", "--nonsense"]):
        assert gateway(*arguments).returncode == 2


def test_a_program_on_path_is_a_subcommand(process: Gateway, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "gateway-hello"
    program.write_text('#!/bin/sh\necho "hello $*"\nexit 7\n')
    program.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = process("hello", "--help", "a b", "-x", PATH=path)
    assert done.stdout == "hello --help a b -x\n"
    assert done.returncode == 7
    assert "hello" in process("--help", PATH=path).stdout


def test_a_good_configuration(gateway: Gateway, settings: Path) -> None:
    done = gateway("config", "check")
    assert done.returncode == 0, done.stderr
    assert "ae_config: good, 1 applications, 2 rules" in done.stdout
    assert "pipelines: good, 1: copy" in done.stdout


def test_bad_settings_end_with_2_and_a_line_per_fault(gateway: Gateway, settings: Path) -> None:
    settings.write_text("dicom: {port: 99999}\nhttp:\n  prot: 1\n")
    for command in (["config", "check"], ["config", "show"], ["doctor"]):
        done = gateway(*command)
        assert done.returncode == 2
        first, second = done.stderr.splitlines()
        assert first.startswith("gateway.yaml:1: dicom.port: ")
        assert second.startswith("gateway.yaml:3: http.prot: unknown key; allowed: bind, ")


def test_bad_rules_and_pipelines_are_told_together(
    gateway: Gateway, settings: Path, home: Path
) -> None:
    bad = APPLICATIONS.replace('["MR"]', '["MR"')
    (home / "ae_config" / "all.yaml").write_text(bad)
    (home / "pipelines" / "copy.yaml").write_text(PIPELINE.replace("input:", "inputt:"))
    done = gateway("config", "check")
    assert done.returncode == 2
    assert "all.yaml:9: applications[0].rules[1].when" in done.stderr
    assert "copy.yaml:7: operators[0].inputt: unknown key" in done.stderr
    done = gateway("config", "check", "--json")
    assert done.returncode == 2
    assert {fault["line"] for fault in json.loads(done.stdout)["faults"]} >= {7, 9}


def test_a_rule_of_an_unknown_pipeline_is_named(
    gateway: Gateway, settings: Path, home: Path
) -> None:
    text = APPLICATIONS.replace("pipeline: copy\n", "pipeline: nowhere\n")
    (home / "ae_config" / "all.yaml").write_text(text)
    done = gateway("config", "check")
    assert done.returncode == 2
    assert "'three slices': no file defines the pipeline 'nowhere'; known: copy" in done.stderr


def test_the_settings_in_force_are_shown_without_passwords(
    gateway: Gateway, settings: Path
) -> None:
    done = gateway(
        "config", "show",
        GATEWAY_DICOM__PORT="11113",
        GATEWAY_DATABASE__URL="postgresql+psycopg://me:sesame@db/gateway",
        GATEWAY_MQTT__URL="mqtt://me:sesame@broker",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["dicom"]["port"] == 11113
    assert shown["storage"]["watermark-percent"] == 100
    assert shown["database"]["url"] == "postgresql+psycopg://me:***@db/gateway"
    assert "sesame" not in done.stdout


def test_rules_are_explained_for_files(gateway: Gateway, settings: Path, study: Path) -> None:
    done = gateway("rules", "explain", "--called", "LUNG_CT", study)
    assert done.returncode == 0, done.stderr
    assert "rule 'three slices': MATCHED" in done.stdout
    assert "rule 'magnetic': NOT_MATCHED" in done.stdout
    done = gateway("rules", "explain", "--called", "LUNG_CT", "--json", study)
    (found,) = json.loads(done.stdout)
    assert found["instances"] == 3
    assert [rule["outcome"] for rule in found["rules"]] == ["MATCHED", "NOT_MATCHED"]
    done = gateway("rules", "explain", "--called", "NOBODY", study)
    assert done.returncode == 1
    assert "known: LUNG_CT" in done.stderr


def test_doctor_finds_nothing_wrong(gateway: Gateway, settings: Path, home: Path) -> None:
    (home / "ae_config" / "results").mkdir()
    free = {f"GATEWAY_{name}__PORT": "0" for name in ("DICOM", "HTTP", "GRPC")}
    done = gateway("doctor", "--json", **free)
    findings = {item["check"]: item for item in json.loads(done.stdout)}
    assert done.returncode == 0, findings
    assert {item["status"] for item in findings.values()} == {"ok"}
    expected = {"destination results", "executor process", "disk", "database", "machine", "gpus"}
    assert expected <= set(findings)
    assert not (settings.parent / "gateway-data").exists()


def test_doctor_names_each_problem(gateway: Gateway, settings: Path, home: Path) -> None:
    settings.write_text(
        "storage: {watermark-percent: 0.001}\nresources: {gpus: 99}\nhttp: {port: 0}\n"
    )
    (home / "ae_config" / "more.yaml").write_text(
        "destinations:\n- {name: PACS, ae-title: X, host: 127.0.0.1, port: 1}\n"
    )
    (home / "gateway-data").mkdir()
    (home / "gateway-data" / "gateway.db").write_text("no database " * 100)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = gateway(
            "doctor", "--json", GATEWAY_DICOM__PORT=port, GATEWAY_DICOM__BIND="127.0.0.1"
        )
    assert done.returncode == 1
    problems = {
        item["check"]: item["detail"]
        for item in json.loads(done.stdout)
        if item["status"] == "problem"
    }
    assert set(problems) == {
        "port dicom",
        "disk",
        "database",
        "destination PACS",
        "destination results",
        "gpus",
    }
    assert "in use" in problems["port dicom"]
    assert "not a database" in problems["database"]
    assert "create or mount it" in problems["destination results"]


def test_doctor_knows_the_ports_of_the_running_gateway(
    gateway: Gateway, settings: Path, site: Site
) -> None:
    port = str(site.client.base_url.port)
    done = gateway("doctor", "--json", GATEWAY_DICOM__PORT="0", GATEWAY_HTTP__PORT=port)
    findings = {item["check"]: item for item in json.loads(done.stdout)}
    assert findings["port http"]["status"] == "ok"
    assert "by the running gateway" in findings["port http"]["detail"]


@pytest.mark.peers
def test_echo_and_send_to_dcmtk(gateway: Gateway, storescp: tuple[int, Path], study: Path) -> None:
    port, folder = storescp
    done = gateway("echo", f"PACS@127.0.0.1:{port}")
    assert done.returncode == 0, done.stderr
    assert "answers in" in done.stdout
    done = gateway("send", study, "--to", f"PACS@127.0.0.1:{port}", "--calling", "ME", "--json")
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert (body["instances"], body["success"], body["skipped"]) == (3, 3, 1)
    assert len(list(folder.iterdir())) == 3
    done = gateway("send", study, "--to", f"PACS@127.0.0.1:{port}")
    assert "3 of 3 instances arrived" in done.stdout


@pytest.mark.peers
def test_doctor_calls_a_real_destination(
    gateway: Gateway, settings: Path, home: Path, storescp: tuple[int, Path]
) -> None:
    (home / "ae_config" / "results").mkdir()
    (home / "ae_config" / "more.yaml").write_text(
        f"destinations:\n- {{name: PACS, ae-title: PACS, host: 127.0.0.1, port: {storescp[0]}}}\n"
    )
    done = gateway(
        "doctor", GATEWAY_DICOM__PORT="0", GATEWAY_HTTP__PORT="0", GATEWAY_GRPC__PORT="0"
    )
    assert done.returncode == 0, done.stdout
    assert "answers C-ECHO" in done.stdout


def test_a_peer_that_is_not_there_ends_with_4(gateway: Gateway, study: Path) -> None:
    assert gateway("echo", "X@127.0.0.1:1").returncode == 4
    done = gateway("send", study, "--to", "X@127.0.0.1:1")
    assert done.returncode == 4
    assert "0 of 3 instances arrived" in done.stdout


@pytest.mark.parametrize(
    "peer", ["127.0.0.1:104", "X@host", "X@host:0", "X@host:70000", "SEVENTEEN_LETTERS@h:1"]
)
def test_a_bad_peer_is_wrong_usage(peer: str) -> None:
    with pytest.raises(CliError, match="AE@host:port") as caught:
        peer_of(peer, "ME")
    assert caught.value.code == 2


def test_a_peer_may_have_an_address_of_version_6() -> None:
    peer = peer_of("X@[::1]:104", "ME")
    assert (peer.ae_title, peer.host, peer.port, peer.calling_ae_title) == ("X", "::1", 104, "ME")


def test_a_folder_without_dicom_is_told(gateway: Gateway, study: Path) -> None:
    for path in study.glob("*.dcm"):
        path.unlink()
    done = gateway("send", study, "--to", "X@127.0.0.1:1")
    assert done.returncode == 1
    assert "no DICOM instance" in done.stderr
