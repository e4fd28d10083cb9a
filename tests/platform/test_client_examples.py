"""The examples for NVIDIA's client run as they stand, and leave out no call it has."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.peers
PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "nvidia-client.md"
TARGET = '"127.0.0.1:50051"'
CLIENTS = {
    "jobs": "jobs_client.JobsClient",
    "payloads": "payloads_client.PayloadsClient",
    "pipelines": "pipelines_client.PipelinesClient",
    "models": "models_client.ModelsClient",
    "clara": "clara_client.ClaraClient",
}
# What the clients call for themselves.
INTERNAL = {
    "check_response_header", "get_request_header", "get_timestamp", "upload_request_iterator",
}  # fmt: skip
METHODS = """
import importlib, inspect, json, sys
found = {}
for name in sys.argv[1:]:
    module, _, kind = name.partition(".")
    client = getattr(importlib.import_module("nvidia_clara." + module), kind)
    members = inspect.getmembers(client, inspect.isfunction)
    found[name] = [member for member, _ in members if not member.startswith("_")]
print(json.dumps(found))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def told(
    fresh_site: Callable[..., Any],
    client_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str]:
    """The folder the examples ran in, and what they printed."""
    folder = tmp_path_factory.mktemp("examples")
    definition = next(text for text in blocks("yaml") if text.startswith("api-version"))
    (folder / "pipeline.yaml").write_text(definition)
    (folder / "study" / "dcm").mkdir(parents=True)
    (folder / "study" / "dcm" / "1.dcm").write_bytes(b"d" * 100_000)
    (folder / "model.pt").write_bytes(b"weights" * 1000)
    images = {"example/copy": {"command": ["sh"]}}
    with fresh_site(tmp_path_factory.mktemp("site"), images=images) as site:
        script = "\n".join(blocks("python"))
        assert script.count(TARGET) == 1
        script = script.replace(TARGET, f'"127.0.0.1:{site.ports["grpc"]}"')
        (folder / "examples.py").write_text(script)
        done = subprocess.run(
            [client_python, "-W", "error::SyntaxWarning", "examples.py"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return folder, done.stdout


def test_the_examples_do_what_they_say(told: tuple[Path, str]) -> None:
    folder, printed = told
    copied = folder / "results" / "operators" / "copy" / "dcm" / "1.dcm"
    assert copied.read_bytes() == (folder / "study" / "dcm" / "1.dcm").read_bytes()
    assert (folder / "downloaded.pt").read_bytes() == (folder / "model.pt").read_bytes()
    lines = printed.splitlines()
    assert lines[:2] == ["copy", "good morning"]
    assert lines[2].startswith("refused: job ")
    for line in (
        "{'owner': 'radiology'}",
        "/atlas/labels.txt 11 {'kind': 'atlas'}",
        "with-atlas 3 3 ['cancelled: no longer wanted']",
        "{'requested-by': 'example'}",
        "gateway 0 1 0",
        "2 jobs",
    ):
        assert line in lines, printed


def test_no_call_is_left_out(client_python: Path) -> None:
    script = "\n".join(blocks("python"))
    prose = re.sub(r"^```.*?^```", "", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    broken = re.search(r"For the rest \((.*?)\)", prose, re.DOTALL)
    assert broken is not None
    stubbed = set(re.findall(r"`(\w+)`", broken[1]))
    found = subprocess.run(
        [client_python, "-c", METHODS, *CLIENTS.values()],
        capture_output=True,
        check=True,
        timeout=60,
    )
    methods: dict[str, list[str]] = json.loads(found.stdout)
    missing = [
        f"{variable}.{method}"
        for variable, name in CLIENTS.items()
        for method in set(methods[name]) - INTERNAL - {"close", "reconnect"}
        if f"{variable}.{method}(" not in script
        and not (variable == "models" and method in stubbed)
    ]
    assert missing == []
    for method in stubbed:
        stub = "".join(word.capitalize() for word in method.split("_"))
        assert f"stub.{stub}(" in script, f"{method} has no example"
    assert "client.close()" in script
    assert ".reconnect()" in script
