"""The file that programs write beside those that people write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import managed
from gateway.config.applications import load
from gateway.config.document import ConfigError
from gateway.config.managed import AbsentEntryError, ManagedFile
from gateway.errors import Refused, Transient

WRITTEN = """\
# by a person
sources:
- ae-title: CT1
  hosts: [127.0.0.1]
destinations:
- {name: PACS, ae-title: ORTHANC, host: 127.0.0.1, port: 4242}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "ae_config"
    made.mkdir()
    (made / "site.yaml").write_text(WRITTEN)
    return made


@pytest.fixture
def file(folder: Path) -> ManagedFile:
    return ManagedFile(folder)


def source(name: str) -> dict[str, object]:
    return {"ae-title": name, "hosts": ["10.0.0.1"]}


def names(folder: Path) -> list[str]:
    return [s.ae_title for s in load(folder).sources]


def test_what_is_created_counts_and_is_told_with_its_line(folder: Path, file: ManagedFile) -> None:
    assert file.create("sources", source("CT2")) == folder / "managed.yaml"
    assert sorted(names(folder)) == ["CT1", "CT2"]
    first, second = sorted(file.entries("sources"), key=lambda e: e.managed)
    assert (first.place, first.managed) == (f"{folder / 'site.yaml'}:3", False)
    assert (second.place, second.managed) == (f"{folder / 'managed.yaml'}:3", True)
    file.delete("sources", "CT2")
    assert names(folder) == ["CT1"]
    assert (folder / "site.yaml").read_text() == WRITTEN
    left = {path.name for path in folder.iterdir()}
    assert left == {"site.yaml", "managed.yaml", managed.LOCK}


def test_an_entry_of_another_file_is_refused_with_file_and_line(
    folder: Path, file: ManagedFile
) -> None:
    place = f"{folder / 'site.yaml'}:3"
    with pytest.raises(Refused, match=f"'CT1' stands already in {place}"):
        file.create("sources", source("CT1"))
    with pytest.raises(Refused, match=f"'CT1' stands already in {place}"):
        file.create("sources", source("CT1"), replace=True)
    with pytest.raises(Refused, match=f"'CT1' stands in {place}"):
        file.delete("sources", "CT1")
    # Names of destinations know no case.
    with pytest.raises(Refused, match=r"stands already in .*site\.yaml:6"):
        file.create("destinations", {"name": "pacs", "folder": "out"})
    with pytest.raises(AbsentEntryError):
        file.delete("sources", "CT9")
    assert not (folder / "managed.yaml").exists()


def test_a_managed_entry_is_replaced_only_when_that_is_asked_for(
    folder: Path, file: ManagedFile
) -> None:
    file.create("sources", source("CT2"))
    with pytest.raises(Refused, match=r"managed\.yaml:3; --replace"):
        file.create("sources", source("CT2"))
    file.create("sources", {**source("CT2"), "port": 104}, replace=True)
    found = next(s for s in load(folder).sources if s.ae_title == "CT2")
    assert found.port == 104


def test_nothing_is_replaced_when_the_whole_would_be_wrong(folder: Path, file: ManagedFile) -> None:
    file.create("destinations", {"name": "SHARE", "folder": "out"})
    before = (folder / "managed.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"managed\.yaml:\d+: sources\[0\]\.ae-title"):
        file.create("sources", source("A TITLE THAT IS MUCH TOO LONG"))
    rule = {"name": "all", "pipeline": "p", "destinations": ["share"]}
    (folder / "other.yaml").write_text(f"applications:\n- ae-title: AI\n  rules:\n  - {rule!r}\n")
    with pytest.raises(ConfigError, match=r"other\.yaml:4: .*no destination is named 'share'"):
        file.delete("destinations", "SHARE")
    (folder / "other.yaml").write_text("nonsense: 1\n")
    with pytest.raises(ConfigError, match=r"other\.yaml:1"):
        file.create("sources", source("CT3"))
    assert (folder / "managed.yaml").read_bytes() == before


def test_a_write_that_breaks_off_leaves_the_file_as_it_was(
    folder: Path, file: ManagedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.create("sources", source("CT2"))
    before = (folder / "managed.yaml").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(managed.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            file.create("sources", source("CT3"))
    assert (folder / "managed.yaml").read_bytes() == before
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*.tmp"))
    file.create("sources", source("CT3"))


CREATE = """
import sys, pathlib
from gateway.config.managed import ManagedFile
file = ManagedFile(pathlib.Path(sys.argv[1]))
for number in range(8):
    file.create("sources", {"ae-title": f"S{sys.argv[2]}-{number}", "hosts": ["10.0.0.1"]})
"""


@pytest.fixture
def writers(folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    made = [subprocess.Popen([sys.executable, "-c", CREATE, str(folder), str(n)]) for n in range(3)]
    yield made
    for process in made:
        process.kill()
        process.wait()


def test_changes_at_the_same_time_are_all_there(
    folder: Path, writers: list[subprocess.Popen[bytes]]
) -> None:
    while any(process.poll() is None for process in writers):
        # Whoever reads meanwhile never sees half a file.
        load(folder)
    assert [process.returncode for process in writers] == [0, 0, 0]
    assert len(names(folder)) == 1 + 3 * 8


def test_a_change_that_does_not_end_is_not_waited_for_without_end(
    file: ManagedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "PATIENCE_SECONDS", 0.1)
    with file._locked(), pytest.raises(Transient, match="another change"):
        file.create("sources", source("CT2"))
