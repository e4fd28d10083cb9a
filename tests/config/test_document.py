"""YAML with line numbers, and the dangerous corners of YAML closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import Field

from gateway.config.document import (
    MAX_BYTES,
    MAX_DEPTH,
    ConfigError,
    Document,
    Fault,
    dotted,
    parse,
    read,
    validate,
)
from gateway.config.model import Settings


class Inner(Settings):
    """A group."""

    port_number: int = 1
    """A number."""


class Outer(Settings):
    """A document."""

    name: str
    """Required."""
    inner: Inner = Inner()
    items: list[Inner] = Field(default_factory=list)
    maybe: Inner | None = None


def faults(text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        validate(Outer, parse(text, "f.yaml"))
    return [(fault.line, fault.key, fault.message) for fault in caught.value.faults]


def test_values_and_their_lines() -> None:
    document = parse("a: 1\nb:\n- c: x\n- d: [1,\n   2]\n", "f.yaml")
    assert document.data == {"a": 1, "b": [{"c": "x"}, {"d": [1, 2]}]}
    assert document.line(("b", 1, "d")) == 4
    assert document.line(("b", 1, "d", 1)) == 5
    # A key that is not there: its nearest ancestor.
    assert document.line(("b", 0, "absent", "deeper")) == 3
    assert Document("f", None).line(("a",)) is None


def test_every_fault_is_reported_with_line_key_and_what_is_allowed() -> None:
    found = faults("nmae: x\ninner:\n  port-number: many\n  prt: 1\nitems:\n- {port-number: 1.5}\n")
    assert [(line, key) for line, key, _ in found] == [
        (1, "name"),
        (1, "nmae"),
        (3, "inner.port-number"),
        (4, "inner.prt"),
        (6, "items[0].port-number"),
    ]
    messages = [message for _, _, message in found]
    assert messages[0] == "is required"
    assert messages[1] == "unknown key; allowed: inner, items, maybe, name"
    assert "integer" in messages[2]
    assert "'many'" in messages[2]
    assert messages[3] == "unknown key; allowed: port-number"


def test_an_unknown_key_in_an_optional_group_is_found() -> None:
    assert faults("name: a\nmaybe:\n  x: 1\n") == [
        (3, "maybe.x", "unknown key; allowed: port-number")
    ]


def test_a_document_that_is_no_mapping_is_a_fault() -> None:
    ((line, key, message),) = faults("- a\n- b\n")
    assert (line, key) == (1, "")
    assert "dictionary" in message


def test_an_empty_document_is_an_empty_mapping() -> None:
    assert faults("") == [(None, "name", "is required")]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\na: 2\n", 2, "stands here twice, first in line 1"),
        ("x:\n  b: 1\n  c: 1\n  b: 2\n", 4, "first in line 2"),
        ("a: [1\n", 2, "is not YAML"),
        ("a: b: c\n", 1, "is not YAML"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "no duplicate tags"),
        ("a: !custom x\n", 1, "could not determine a constructor"),
        ("? [1, 2]\n: x\n", 1, "must be a plain word"),
        ("a: 1\n---\nb: 2\n", 2, "is not YAML"),
        ("a: \x07\n", None, "is not YAML"),
        ("[" * (MAX_DEPTH + 5) + "]" * (MAX_DEPTH + 5), 1, "nested deeper"),
        ("[" * 20_000, 1, "nested deeper"),
        ("{a: " * 500_000, 1, "nested deeper"),
        ("- " * 1_000_000, 1, "nested deeper"),
    ],
)
def test_what_is_no_document_is_a_fault(text: str, line: int | None, message: str) -> None:
    if "python/object" in text:
        # A tag that makes objects: on a list it is not even looked at, on a word it is refused.
        assert parse(text, "f.yaml").data == {"a": ["id"]}
        text, message = "a: !!python/name:os.system x\n", "could not determine a constructor"
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    (fault,) = caught.value.faults
    assert message in fault.message
    assert line is None or fault.line == line


def test_an_alias_bomb_is_a_fault() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="once aliases are expanded"):
        parse("\n".join(lines), "f.yaml")


def test_a_recursive_alias_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="nested deeper"):
        parse("a: &a [*a]\n", "f.yaml")


def test_aliases_are_copies() -> None:
    data = parse("a: &a {x: 1}\nb: *a\n", "f.yaml").data
    assert data == {"a": {"x": 1}, "b": {"x": 1}}


def test_a_date_stays_text() -> None:
    assert parse("a: 2024-02-29\n", "f").data == {"a": "2024-02-29"}


def test_files_that_cannot_be_read_are_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="no regular file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no regular file"):
        read(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"a: \xfc\n")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read(tmp_path / "latin")
    with (tmp_path / "big").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than"):
        read(tmp_path / "big")


def test_a_fault_reads_as_editors_jump_to_it() -> None:
    assert str(Fault("f.yaml", 3, "a.b", "is bad")) == "f.yaml:3: a.b: is bad"
    assert str(Fault("f.yaml", None, "", "is bad")) == "f.yaml: is bad"
    assert dotted(("applications", 0, "ae-title")) == "applications[0].ae-title"
