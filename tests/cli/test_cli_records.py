from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.client import Client
from gateway.cli.main import app
from gateway.database.schema import new_id
from tests.cli.conftest import Gateway
from tests.support import seed
from tests.web.conftest import Site


@pytest.fixture
def url(site: Site) -> str:
    return str(site.client.base_url)


def test_a_list_is_a_table_and_with_json_the_bare_items(
    process: Gateway, site: Site, url: str
) -> None:
    done = process("--url", url, "list", "jobs")
    assert done.returncode == 0, done.stderr
    head, line = done.stdout.splitlines()
    assert head.split()[:3] == ["ID", "NAME", "STATE"]
    assert line.split()[:4] == [site.story.job, "LUNG_CT-lung-density-1", "STOPPED", "HEALTHY"]
    items = json.loads(process("--url", url, "list", "jobs", "--json").stdout)
    assert isinstance(items, list)
    assert items[0]["id"] == site.story.job


def test_every_list_in_singular_and_plural(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for what in (
        "payload", "job", "result", "association", "event", "decision", "pipeline",
        "destination", "source", "application",
    ):  # fmt: skip
        for name in (what, what + "s"):
            done = CliRunner().invoke(app, ["--url", url, "list", name, "--json"])
            assert done.exit_code == 0, (name, done.output)
            assert json.loads(done.stdout), name


def test_a_long_list_is_fetched_over_several_pages(
    site: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        seed.association(site.database, opened_at=float(number))
    monkeypatch.setattr("gateway.cli.client.PAGE", 2)
    with Client(url) as client:
        for limit, wanted in ((1, 1), (3, 3), (4, 4), (600, 5)):
            found = client.items("/api/v1/associations", {}, limit)
            assert len({item["id"] for item in found}) == len(found) == wanted


def test_where_is_my_study(gateway: Gateway, site: Site, url: str) -> None:
    for option in (("--study", seed.STUDY), ("--accession", seed.ACCESSION)):
        done = gateway("--url", url, "list", "payloads", *option)
        assert done.returncode == 0, done.stderr
        words = [
            site.story.payload, "association opened: CT1 (10.1.0.4) to LUNG_CT",
            "complete (quiet): 30 instances", "rule 'lung density': matched", "job started",
            "operator density completed after 7.5 s", "delivered to PACS",
        ]  # fmt: skip
        places = [done.stdout.index(word) for word in words]
        assert places == sorted(places)
    done = gateway("--url", url, "list", "payloads", "--study", seed.STUDY, "--json")
    assert json.loads(done.stdout)[0]["timeline"][-1]["kind"]


def test_an_unknown_study_ends_with_3_and_says_what_was_turned_away(
    gateway: Gateway, site: Site, url: str
) -> None:
    seed.association(site.database, state="REJECTED", called_ae="LUNGS", reason="unknown called AE")
    done = gateway("--url", url, "list", "payloads", "--study", "1.2.3", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout) == []
    assert "nothing of this study was kept" in done.stderr
    assert "to LUNGS: unknown called AE" in done.stderr


def test_a_job_is_described_with_its_operators_and_why_it_started(
    gateway: Gateway, site: Site, url: str
) -> None:
    done = gateway("--url", url, "describe", "job", site.story.job)
    assert done.returncode == 0, done.stderr
    for words in ("HEALTHY", "lung-density version 1", "matched revision 1", "reader is done"):
        assert words in done.stdout
    found = json.loads(gateway("--url", url, "describe", "jobs", site.story.job, "--json").stdout)
    assert found["operators"][0]["exit_code"] == 0


@pytest.mark.parametrize("what", ["payload", "result", "association", "pipeline"])
def test_every_description(site: Site, url: str, what: str) -> None:
    identifier = getattr(site.story, what)
    done = CliRunner().invoke(app, ["--url", url, "describe", what, identifier])
    assert done.exit_code == 0, done.output
    assert identifier in done.stdout
    done = CliRunner().invoke(app, ["--url", url, "describe", what, identifier, "--json"])
    assert json.loads(done.stdout)["id"] == identifier


def test_events_and_destinations_are_described(gateway: Gateway, url: str) -> None:
    events = json.loads(gateway("--url", url, "list", "events", "--json").stdout)
    found = gateway("--url", url, "describe", "event", events[0]["id"])
    assert events[0]["kind"] in found.stdout
    found = gateway("--url", url, "describe", "destination", "pacs", "--json")
    assert json.loads(found.stdout)["port"] == 4242
    assert gateway("--url", url, "describe", "destination", "nowhere").returncode == 3


def test_what_is_not_there_ends_with_3(gateway: Gateway, url: str) -> None:
    done = gateway("--url", url, "describe", "job", new_id())
    assert done.returncode == 3
    assert "There is no job" in done.stderr


def test_a_payload_may_be_one_that_only_the_platform_api_knows(gateway: Gateway, url: str) -> None:
    dead = ("--url", url, "--host", "127.0.0.1:1")
    done = gateway(*dead, "describe", "payload", new_id())
    assert done.returncode == 4
    first, second = done.stderr.splitlines()
    assert "There is no payload" in first
    assert "127.0.0.1:1 cannot be reached" in second


def test_logs_of_a_job(gateway: Gateway, site: Site, url: str) -> None:
    done = gateway("--url", url, "logs", "job", site.story.job, "--operator", "density")
    assert done.stdout == "density begins\ndensity is done\n"
    assert "==> reader <==" in gateway("--url", url, "logs", "job", site.story.job).stdout
    assert gateway("--url", url, "logs", "job", "x").returncode == 3


def test_actions(gateway: Gateway, site: Site, url: str) -> None:
    done = gateway("--url", url, "cancel", "job", site.story.job)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "cancelling asked for: now STOPPED HEALTHY\n"
    assert gateway("--url", url, "retry", "result", site.story.result, "--json").returncode == 0
    assert site.acted == [site.story.job, site.story.result]
    done = gateway("--url", url, "release", "payload", site.story.payload)
    assert done.returncode == 1
    assert "is not in CONFLICT" in done.stderr
    done = gateway("--url", url, "retry", "payload", site.story.payload)
    assert done.returncode == 3
    assert "nothing in quarantine" in done.stderr
    done = gateway("--url", url, "delete", "payload", site.story.payload, "--yes")
    assert done.returncode == 0
    assert site.acted[-1] == site.story.payload


def test_the_address_comes_from_option_variable_or_file(
    gateway: Gateway, url: str, home: Path
) -> None:
    assert gateway("list", "jobs", GATEWAY_URL=url).returncode == 0
    (home / ".config" / "gateway").mkdir(parents=True)
    file = home / ".config" / "gateway" / "config.yaml"
    file.write_text(f"url: {url}\n")
    assert gateway("list", "jobs").returncode == 0
    assert gateway("list", "jobs", GATEWAY_URL="http://127.0.0.1:1").returncode == 4
    assert gateway("--url", url, "list", "jobs", GATEWAY_URL="http://127.0.0.1:1").returncode == 0
    file.write_text("url: nonsense\n")
    assert gateway("list", "jobs").returncode == 2


def test_no_gateway_ends_with_4_in_one_line(process: Gateway) -> None:
    began = time.monotonic()
    done = process("--url", "http://127.0.0.1:1", "list", "jobs")
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "http://127.0.0.1:1 cannot be reached" in done.stderr
    assert time.monotonic() - began < 20


def test_a_peers_words_cannot_drive_the_terminal(gateway: Gateway, site: Site, url: str) -> None:
    seed.association(
        site.database, state="REJECTED", calling_ae="[red]X", reason="bad \x1b]0;x\x07 title"
    )
    done = gateway("--url", url, "list", "associations", "--state", "rejected")
    assert "\x1b" not in done.stdout
    assert "[red]X" in done.stdout
