"""Help of every command, completion by a real shell, and programs on PATH."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gateway.cli import errors
from gateway.cli.main import app
from tests.cli.conftest import Done, Gateway

EXAMPLE = re.compile(r"^\s+(gateway .*)$", re.MULTILINE)


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", {})
    if not below:
        yield name, command
    for word, found in below.items():
        if not found.hidden:
            yield from commands(found, f"{name} {word}")


EVERY = dict(commands(typer.main.get_command(app), "gateway"))


@pytest.mark.parametrize("name", EVERY)
def test_help_says_what_how_and_shows_it(name: str, tmp_path: Path) -> None:
    """What it does, every argument and option, and examples that the command itself takes."""
    command = EVERY[name]
    assert command.help.splitlines()[0].rstrip().endswith((".", ":", "?", ")")), name
    with typer.Context(command, info_name=name) as context:
        for parameter in command.params:
            record = parameter.get_help_record(context)
            assert parameter.hidden or (record and len(record[1]) > 3), (name, parameter.name)
    shown = command.help.partition("Example")[2]
    examples = [text.partition(" > ")[0] for text in EXAMPLE.findall(shown)]
    assert examples, name
    (tmp_path / "study").mkdir()
    for file in ("pipeline.yaml", "lung-density.yaml", "weights.bin"):
        (tmp_path / file).touch()
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        for example in examples:
            parse(shlex.split(example)[1:])
    finally:
        os.chdir(before)


def parse(words: list[str]) -> None:
    """As the command line reads it, without running it."""
    command: Any = typer.main.get_command(app)
    context = typer.Context(command, info_name="gateway")
    while getattr(command, "commands", None):
        word = words.pop(0)
        command = command.get_command(context, word)
        assert command is not None, word
    command.make_context("gateway", words, parent=context)


def test_exit_codes_are_those_of_the_reference_and_the_help(gateway: Gateway) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "exit-codes.md"
    documented = {int(n) for n in re.findall(r"^\| `(\d+)` \|", page.read_text(), re.MULTILINE)[:5]}
    ours = {errors.DONE, errors.FAILURE, errors.USAGE, errors.NOT_FOUND, errors.UNREACHABLE}
    assert documented == ours
    text = gateway("--help").stdout
    assert {int(n) for n in re.findall(r"^\s+(\d)  \w", text, re.MULTILINE)} == ours
    for code, arguments in (
        (0, ["version"]),
        (2, ["nonsense"]),
        (2, ["list", "nonsense"]),
        (2, ["list", "jobs", "--nonsense"]),
        (2, ["config", "check", "--config", "gone.yaml"]),
        (4, ["list", "jobs", "--url", "http://127.0.0.1:1"]),
    ):
        assert gateway(*arguments).returncode == code, arguments


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for PATH that holds ``gateway`` itself."""
    made = tmp_path / "bin"
    made.mkdir()
    program(made / "gateway", f'exec {sys.executable} -m gateway.cli "$@"')
    return made


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(folder: Path, *arguments: str, cwd: Path, path: str | None = None) -> Done:
    done = subprocess.run(
        [str(folder / "gateway"), *arguments],
        env=os.environ | {"PATH": path or f"{folder}:/usr/bin:/bin"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_programs_on_path_are_commands_and_ours_win(folder: Path, tmp_path: Path) -> None:
    program(folder / "gateway-hello", 'echo "hello $*"; exit 7')
    program(folder / "gateway-version", "echo not ours")
    (folder / "gateway-plain").write_text("no program")
    done = run(folder, "hello", "--flag", "-x", "two words", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, "hello --flag -x two words\n")
    assert "not ours" not in run(folder, "version", cwd=tmp_path).stdout
    assert run(folder, "plain", cwd=tmp_path).returncode == 2


def test_the_current_folder_is_searched_only_when_path_names_it(
    folder: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    program(here / "gateway-planted", "echo planted")
    usual = f"{folder}:/usr/bin:/bin"
    for path in (usual, f":{folder}::/usr/bin:/bin:"):
        assert run(folder, "planted", cwd=here, path=path).returncode == 2, path
        assert "planted" not in run(folder, "--help", cwd=here, path=path).stdout
    assert run(folder, "./planted", cwd=here, path=usual).returncode == 2
    assert run(folder, "planted", cwd=here, path=f"{usual}:.").stdout == "planted\n"


BASH = """
source <("$1" completion bash)
shift
function=$(complete -p gateway | sed 's/.*-F \\([^ ]*\\).*/\\1/')
for COMP_LINE; do
    read -ra COMP_WORDS <<< "$COMP_LINE"
    if [[ "$COMP_LINE" == *' ' ]]; then COMP_WORDS+=(''); fi
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMP_POINT=${#COMP_LINE}
    COMPREPLY=()
    $function gateway
    printf '%s ' "${COMPREPLY[@]}"
    echo
done
"""


def test_bash_completes_commands_options_and_programs(folder: Path, tmp_path: Path) -> None:
    """What bash itself offers, by the script that the command prints."""
    program(folder / "gateway-hello", "echo hello")
    lines = ("gateway ", "gateway desc", "gateway list pip", "gateway create job --priority ")
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", str(folder / "gateway"), *lines],
        env=os.environ | {"PATH": f"{folder}:/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    offered = [set(line.split()) for line in done.stdout.splitlines()]
    assert {"list", "hello", "version"} <= offered[0]
    assert offered[1:3] == [{"describe"}, {"pipelines"}]
    assert offered[3] == {"lower", "normal", "higher", "immediate"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_that_they_can_read(
    shell: str, folder: Path, tmp_path: Path
) -> None:
    done = run(folder, "completion", shell, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gateway" in done.stdout
    if shutil.which(shell) is not None:
        script = tmp_path / "script"
        script.write_text(done.stdout)
        subprocess.run([shell, "-n", str(script)], check=True, timeout=60)
