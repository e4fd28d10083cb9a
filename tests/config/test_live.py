"""The configuration in force: swapped as a whole, and never for a bad one."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.config import live as live_module
from gateway.config.applications import AeConfig
from gateway.config.document import ConfigError
from gateway.config.live import LiveAeConfig
from gateway.routing.checks import check_rule


def write(folder: Path, title: str, name: str = "a.yaml") -> None:
    """Replace the file at once, as an editor does."""
    fresh = folder / "fresh.tmp"
    fresh.write_text(f"applications: [{{ae-title: {title}}}]\n")
    fresh.replace(folder / name)


def titles(live: LiveAeConfig) -> list[str]:
    return [a.ae_title for a in live.current.applications]


def until(condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + 10
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
    return condition()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveAeConfig]:
    """A configuration whose files are followed every 20 ms."""
    monkeypatch.setattr(live_module, "POLL_SECONDS", 0.02)
    write(tmp_path, "ONE")
    live = LiveAeConfig(tmp_path, check_rule)
    thread = threading.Thread(target=live.watch)
    thread.start()
    yield live
    live.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_bad_configuration_from_the_start_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "'BAD TITLE THAT IS TOO LONG'")
    with pytest.raises(ConfigError):
        LiveAeConfig(tmp_path)


def test_a_change_is_taken_over(watched: LiveAeConfig, tmp_path: Path) -> None:
    write(tmp_path, "TWO")
    assert until(lambda: titles(watched) == ["TWO"])
    write(tmp_path, "THREE", "b.yaml")
    assert until(lambda: titles(watched) == ["TWO", "THREE"])
    (tmp_path / "a.yaml").unlink()
    assert until(lambda: titles(watched) == ["THREE"])


def test_a_bad_file_never_replaces_a_good_one(
    watched: LiveAeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    good = watched.current
    (tmp_path / "a.yaml").write_text("applications: [{ae-title: TWO, when: 1}]\n")
    assert until(lambda: watched.fault is not None)
    assert watched.current is good
    assert until(lambda: any("stays in force" in record.message for record in caplog.records))
    write(tmp_path, "THREE")
    assert until(lambda: titles(watched) == ["THREE"])
    assert watched.fault is None


@pytest.mark.parametrize(
    "text",
    [
        "applications: [\n",
        "applications: [{ae-title: A, rules: [{name: r, pipeline: p, when: '1 +'}]}]\n",
        "applications: [{ae-title: A, rules: [{name: r, pipeline: p, when: 'study.Foo == 1'}]}]\n",
        "\0\0\0",
    ],
)
def test_every_kind_of_fault_keeps_the_last_good_one(tmp_path: Path, text: str) -> None:
    write(tmp_path, "ONE")
    live = LiveAeConfig(tmp_path, check_rule)
    (tmp_path / "a.yaml").write_text(text)
    assert live.reload() is False
    assert titles(live) == ["ONE"]
    assert live.fault is not None
    assert live.fault.faults[0].file.endswith("a.yaml")
    write(tmp_path, "ONE")
    assert live.reload() is True
    assert live.fault is None


def test_a_folder_that_vanishes_keeps_the_last_good_one(tmp_path: Path) -> None:
    folder = tmp_path / "ae"
    folder.mkdir()
    write(folder, "ONE")
    live = LiveAeConfig(folder)
    folder.rename(tmp_path / "away")
    assert live.reload() is False
    assert titles(live) == ["ONE"]


def test_a_file_that_vanishes_while_it_is_read_keeps_the_last_good_one(tmp_path: Path) -> None:
    write(tmp_path, "ONE")
    live = LiveAeConfig(tmp_path)
    (tmp_path / "b.yaml").symlink_to(tmp_path / "absent")
    assert live.reload() is False
    assert titles(live) == ["ONE"]


def test_the_callback_hears_of_real_changes_only(tmp_path: Path) -> None:
    heard: list[AeConfig] = []
    write(tmp_path, "ONE")
    live = LiveAeConfig(tmp_path, changed=heard.append)
    os.utime(tmp_path / "a.yaml")
    assert live.reload() is True
    assert heard == []
    write(tmp_path, "TWO")
    live.reload()
    assert [c.applications[0].ae_title for c in heard] == ["TWO"]
    assert live.current is heard[0]


def test_a_listener_that_fails_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_module, "POLL_SECONDS", 0.02)
    heard: list[str] = []

    def fail(config: AeConfig) -> None:
        heard.append(config.applications[0].ae_title)
        raise RuntimeError("a bug elsewhere")

    write(tmp_path, "ONE")
    live = LiveAeConfig(tmp_path, changed=fail)
    thread = threading.Thread(target=live.watch)
    thread.start()
    write(tmp_path, "TWO")
    assert until(lambda: heard == ["TWO"])
    write(tmp_path, "THREE")
    assert until(lambda: heard == ["TWO", "THREE"])
    live.stop()
    thread.join(10)
    assert any("following ae_config failed" in record.message for record in caplog.records)


def test_a_file_that_is_being_written_is_left_to_rest(
    watched: LiveAeConfig, tmp_path: Path
) -> None:
    seen: set[tuple[str, ...]] = set()
    writing = time.monotonic() + 0.5
    with (tmp_path / "a.yaml").open("w") as file:  # empty now: a valid configuration of nothing
        while time.monotonic() < writing:
            file.write("# slowly\n")
            file.flush()
            time.sleep(0.002)
            seen.add(tuple(titles(watched)))
        file.write("applications: [{ae-title: TWO}]\n")
    assert until(lambda: titles(watched) == ["TWO"])
    assert seen == {("ONE",)}
