"""register-results: what it registers, how it is called, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.operators.register_results import command, register

RESULTS = "NVIDIA_CLARA_RESULTS"
INPUTS = "NVIDIA_CLARA_INPUTPATHS"


class Place:
    """Two inputs with files, and the results file."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = folder / "one", folder / "two"
        self.results = folder / "out" / "results.json"
        for path in ("b/2.dcm", "b/10.dcm", "a.dcm"):
            self.put(self.first / path)
        self.put(self.second / "c" / "d" / "x.dcm")

    def put(self, path: Path) -> None:
        """Make a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")

    @property
    def environ(self) -> dict[str, str]:
        """What the gateway tells the operator."""
        return {RESULTS: str(self.results), INPUTS: f"one:{self.first};named:{self.second}"}

    def run(self, *arguments: str) -> int:
        """Call the command; its exit code."""
        return command.main(arguments, self.environ)

    def document(self) -> Any:
        """What was written."""
        return json.loads(self.results.read_text())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return two filled inputs."""
    return Place(tmp_path)


FILES = [
    {"input": "one", "path": "a.dcm"},
    {"input": "one", "path": "b/10.dcm"},
    {"input": "one", "path": "b/2.dcm"},
    {"input": "named", "path": "c/d/x.dcm"},
]


def test_registers_every_file_of_every_input(place: Place) -> None:
    assert place.run() == 0
    assert place.document() == {
        "version": 1,
        "registrations": [{"agent": "ClaraSCU", "parameters": None, "files": FILES}],
    }
    assert sorted(p.name for p in place.results.parent.iterdir()) == ["results.json"]


def test_several_runs_append(place: Place) -> None:
    assert place.run("--agent", "ClaraSCU", "--data", '["PACS"]') == 0
    assert place.run("--agent", "renderserver") == 0
    found = place.document()["registrations"]
    assert [(r["agent"], r["parameters"]) for r in found] == [
        ("ClaraSCU", ["PACS"]),
        ("renderserver", None),
    ]


@pytest.mark.parametrize(
    ("data", "parameters"),
    [
        ('["PACS", "ARCHIVE 2"]', ["PACS", "ARCHIVE 2"]),
        ('"PACS"', ["PACS"]),
        ("PACS", ["PACS"]),
        ("", None),
    ],
)
def test_data_names_destinations(place: Place, data: str, parameters: list[str] | None) -> None:
    assert place.run("--data", data) == 0
    assert place.document()["registrations"][0]["parameters"] == parameters


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("clarascu", "ClaraSCU"),
        ("DICOMWEB", "DICOMweb"),
        ("RenderServer", "renderserver"),
        ("My-own-2", "My-own-2"),
    ],
)
def test_agents(place: Place, given: str, kept: str) -> None:
    assert place.run("--agent", given) == 0
    assert place.document()["registrations"][0]["agent"] == kept


@pytest.mark.parametrize("agent", ["", "2nd", "-a", "a-", "a b", "a_b", "ä", "a" * 65, "a\n"])
def test_bad_agents_are_refused(place: Place, agent: str) -> None:
    assert place.run(f"--agent={agent}") == 2
    assert not place.results.exists()


@pytest.mark.parametrize(
    "data", ["[]", "{", "[1]", '[""]', "null", '{"a": 1}', "a;b", "[[" * 50000]
)
def test_bad_data_is_refused(place: Place, data: str) -> None:
    assert place.run("--data", data) == 2
    assert not place.results.exists()


def test_other_agents_take_any_json(place: Place) -> None:
    assert place.run("--agent", "renderserver", "--data", '[{"preset": "lung"}]') == 0
    assert place.document()["registrations"][0]["parameters"] == [{"preset": "lung"}]


def link_to_file(place: Place) -> None:
    """Put a link to a secret beside the results."""
    (place.second / "c" / "link.dcm").symlink_to("/etc/passwd")


def link_to_folder(place: Place) -> None:
    """Put a link to a folder into an input."""
    (place.first / "more").symlink_to(place.second)


def pipe(place: Place) -> None:
    """Put a pipe into an input, at which a reader would hang."""
    os.mkfifo(place.first / "pipe.dcm")


def bad_name(place: Place) -> None:
    """Name a file in no encoding."""
    place.put(place.first / os.fsdecode(b"\xff.dcm"))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (link_to_file, "LINK"),
        (link_to_folder, "LINK"),
        (pipe, "NOT_A_FILE"),
        (bad_name, "BAD_FILE_NAME"),
    ],
)
def test_odd_files_are_refused_by_name(
    place: Place, spoil: Any, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(place)
    assert place.run() == 3
    assert json.loads(capsys.readouterr().err)["code"] == code
    assert not place.results.exists()


def test_nothing_to_register_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    environ = {RESULTS: str(tmp_path / "r.json"), INPUTS: f"empty:{tmp_path / 'empty'}"}
    assert command.main([], environ) == 3
    assert json.loads(capsys.readouterr().err)["code"] == "NOTHING_TO_REGISTER"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": 2, "registrations": []}', b"\xff"])
def test_a_results_file_of_something_else_is_left_alone(place: Place, content: bytes) -> None:
    place.results.parent.mkdir()
    place.results.write_bytes(content)
    assert place.run() == 3
    assert place.results.read_bytes() == content


def test_a_linked_results_file_is_refused(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "target.json"
    target.write_text('{"version": 1, "registrations": []}')
    place.results.parent.mkdir()
    place.results.symlink_to(target)
    assert place.run() == 3
    assert json.loads(target.read_text())["registrations"] == []


def test_needs_a_results_file_and_inputs(place: Place, tmp_path: Path) -> None:
    assert command.main([], {INPUTS: place.environ[INPUTS]}) == 2
    assert command.main([], {RESULTS: str(place.results)}) == 2
    assert command.main([], {**place.environ, INPUTS: f"gone:{tmp_path / 'gone'}"}) == 2
    alone = ["--input", f"one:{place.first}", "--results", str(place.results)]
    assert command.main(alone, {}) == 0


def test_runs_as_claras_script(place: Place) -> None:
    script = Path(register.__file__)
    arguments = ["--agent", "ClaraSCU", "--data", '["PACS"]']
    done = subprocess.run(
        [sys.executable, "register.py", *arguments],
        cwd=script.parent,
        env={**os.environ, **place.environ},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert place.document()["registrations"][0]["files"] == FILES
