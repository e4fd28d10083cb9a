from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.pipelines.parse import parse

SEED = Path(__file__).parent / "seed"
MAIN = "api-version: 0.4.0\nname: p\noperators: [{import: {path: r.yaml}}]\n"


@pytest.fixture
def gateway(tmp_path):
    def call(*words):
        command = [sys.executable, "-m", "gateway.cli", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return call


def test_a_definition_is_checked_and_expanded(gateway, tmp_path):
    (tmp_path / "p.yaml").write_text(MAIN)
    bad = gateway("compile", "-p", "p.yaml")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("p.yaml:3: operators[0].import.path: no file 'r.yaml'")
    (tmp_path / "r.yaml").write_text("name: r\ncontainer: {image: i}\n")
    good = gateway("compile", "-p", "p.yaml", "--resolve-imports", "-o", "out.yaml")
    assert (good.returncode, good.stdout) == (0, ""), good.stderr
    assert parse((tmp_path / "out.yaml").read_text(), "out.yaml").operators[0].name == "r"
    lost = gateway("compile", "-p", "p.yaml", "-o", "no/such/folder")
    assert lost.returncode == 1


def test_a_graph_is_printed_and_drawn(gateway, tmp_path):
    path = SEED / "denovo-assembly.yaml"
    shown = gateway("graph", "-p", path)
    assert shown.stdout.splitlines()[-1] == "3  racon    after miniasm, mapper"
    drawn = gateway("graph", "-p", path, "--svg", "out.svg")
    assert drawn.returncode == 0
    assert (tmp_path / "out.svg").read_text().startswith("<svg ")
    as_json = gateway("graph", "-p", path, "--json")
    assert '"after": [' in as_json.stdout


def test_without_a_file_the_gateway_is_asked(gateway):
    found = gateway("--url", "http://127.0.0.1:1", "graph", "-p", "lung-density")
    assert found.returncode == 4
