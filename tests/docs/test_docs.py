"""The documentation says what the code does: links, tables, commands, examples, named tests."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gateway.cli.main import app
from gateway.config import applications, settings
from gateway.pipelines import parse
from gateway.routing.checks import check_rule

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks(page: Path, language: str) -> Iterator[str]:
    """The fenced blocks of ``language``, without their indentation."""
    for indent, found, text in FENCE.findall(page.read_text("utf-8")):
        if found == language:
            yield re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    text = FENCE.sub("", page.read_text("utf-8"))
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_reference_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/make_reference.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{name_of(page)}: {target}"
        assert place.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(place), f"{name_of(page)}: {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = [target.partition("#")[0] for target in LINK.findall(page.read_text("utf-8"))]
        waiting += [(page.parent / t).resolve() for t in links if t and "://" not in t]
    assert sorted(name_of(p) for p in set(PAGES) - reached) == []


@each_page
def test_named_tests_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for file, name in NAMED_TEST.findall(text):
        assert (ROOT / file).is_file(), f"{name_of(page)}: {file}"
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, (
            f"{name_of(page)}: {file}::{name}"
        )
    if page.name == "what-happens-when.md":
        assert len(set(NAMED_TEST.findall(text))) > 50


def commands(page: Path) -> Iterator[str]:
    """Every call of ``gateway`` in the shell blocks, and those written in the running text."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from re.findall(r"(?:^|&& |\$\()(?:\.venv/bin/)?(gateway .*?)(?: \||$| #)", line)
    prose = FENCE.sub("", page.read_text("utf-8"))
    yield from (c for c in re.findall(r"`(gateway [a-z][^`]*)`", prose) if "…" not in c)


@each_page
def test_commands_exist_with_their_options(page: Path) -> None:
    for text in commands(page):
        command: Any = typer.main.get_command(app)
        context = typer.Context(command, info_name="gateway")
        for word in shlex.split(text)[1:]:
            if word.startswith("--"):
                known = {option for p in command.params for option in (*p.opts, "--help")}
                assert word.split("=")[0] in known, f"{name_of(page)}: {text}"
            elif hasattr(command, "commands"):
                found = command.get_command(context, word)
                if found is None:
                    # Words of a sentence: `gateway list payloads jobs` is none of ours.
                    pytest.fail(f"{name_of(page)}: {text}: there is no {word!r}")
                command = found


@each_page
def test_examples_of_files_are_good(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(page, "yaml")):
        place = tmp_path / str(number)
        place.mkdir()
        if "api-version" in text:
            parse.parse(text, page.name)
        elif re.match(r"# (.*/)?ae_config/|# ae_config/", text):
            (place / "example.yaml").write_text(text)
            applications.load(place, check_rule)
        else:
            file = place / "gateway.yaml"
            file.write_text(text)
            settings.load(file, {})


@each_page
def test_python_compiles(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, page.name, "exec")


def test_a_stale_page_is_found() -> None:
    """The check can fail: an empty block differs, a filled one does not."""
    script = (
        "import sys; sys.path.insert(0, 'scripts'); import make_reference as m;"
        "empty = '<!-- generated: exit-codes -->\\n<!-- /generated -->';"
        "full = m.filled(empty); assert full != empty; assert m.filled(full) == full"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60, check=True)
