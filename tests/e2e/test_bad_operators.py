"""Operators that fail, hang, eat memory, write nothing or break out: how their jobs end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.support.counting_pacs import CountingPacs, counting_pacs
from tests.support.dicom import slice_
from tests.support.evidence import kept
from tests.support.processes import command
from tests.support.site import Site, application, operator, pipeline, register, rule, write

WORDS = "print('working on it', flush=True)\n"


@dataclass(frozen=True)
class Case:
    """What an operator does and how its job must end."""

    code: str
    status: str
    reason: str
    """A pattern for the job's reason."""
    exit_code: int | None
    tail: str = "working on it"
    extra: dict[str, Any] = field(default_factory=dict)
    timeout: int = 60


CASES = {
    "EXITS": Case(
        WORDS + "import sys; print('the last words', file=sys.stderr); sys.exit(3)",
        "FAULTED",
        "operator bad ended with exit code 3",
        3,
        "the last words",
    ),
    "HANGS": Case(
        # Deaf to polite words, with a child as deaf as itself.
        WORDS + "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.fork()\ntime.sleep(600)",
        "TERMINATED",
        "2 s.*bad",
        None,
        timeout=2,
    ),
    "EATS": Case(
        WORDS + "eaten = [bytearray(b'x' * (1 << 24)) for _ in range(40)]",
        "FAULTED",
        "operator bad used more than the 128 MB it requests",
        None,
        extra={"requests": {"memory": 128}},
    ),
    "IDLES": Case(WORDS, "FAULTED", "output.*wrote nothing", 0),
    "ESCAPES": Case(
        WORDS + "import os; os.symlink('/etc/passwd', '/output/result.dcm')",
        "FAULTED",
        "output.*link",
        0,
    ),
    "CLIMBS": Case(
        WORDS + "import os; open('/output/a', 'w'); os.symlink('../../..', '/output/up')",
        "FAULTED",
        "output.*link",
        0,
    ),
}


def definition(name: str, case: Case) -> dict[str, Any]:
    bad = operator("bad", case.code, **case.extra)
    return pipeline(name.lower(), bad, register("bad"), timeout=case.timeout)


@pytest.fixture(scope="module")
def pacs() -> Iterator[CountingPacs]:
    with counting_pacs() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pacs: CountingPacs) -> Iterator[Site]:
    made = Site(
        tmp_path_factory.mktemp("operators"),
        applications=[
            application(rule(pipeline=name.lower()), **{"ae-title": name}) for name in CASES
        ],
        pipelines=[definition(name, case) for name, case in CASES.items()],
        destinations=[pacs.destination()],
        settings={"resources": {"cpu": 8}},
    )
    made.start()
    # All of them at once: none may take another with it.
    for number, name in enumerate(CASES):
        file = write(
            slice_(StudyInstanceUID=f"1.9.{number}", SeriesInstanceUID=f"1.9.{number}.1"),
            made.root / "ct" / f"{name}.dcm",
        )
        (sent,) = made.send([file], called=name)
        assert sent.status == 0
    made.wait(lambda: len(made.items("jobs", state="STOPPED")) == len(CASES))
    yield made
    assert made.stop() == 0


@pytest.mark.parametrize("name", CASES)
def test_how_the_job_ends(site: Site, name: str) -> None:
    case = CASES[name]
    (job,) = site.items("jobs", called_ae=name)
    assert (job["state"], job["status"]) == ("STOPPED", case.status), job
    assert re.search(case.reason, job["reason"]), job["reason"]
    described = site.cli("describe", "job", job["id"], "--json")
    assert described.returncode == 0, described.stderr
    found = yaml.safe_load(described.stdout)
    bad = next(o for o in found["operators"] if o["name"] == "bad")
    if case.exit_code is not None:
        assert bad["exit_code"] == case.exit_code
        assert found["exit_code"] == case.exit_code
    assert case.tail in bad["tail"]
    assert found["results"] == []
    # And as a person reads it.
    text = " ".join(site.cli("describe", "job", job["id"]).stdout.split())
    for word in (case.status, job["reason"][:40], case.tail, "register"):
        assert " ".join(word.split()) in text
    if case.exit_code:
        assert re.search(rf"exit.code {case.exit_code} ", text), text
    assert case.tail in site.cli("logs", "job", job["id"], "--operator", "bad").stdout


def test_nothing_of_them_reached_the_pacs(site: Site, pacs: CountingPacs) -> None:
    assert site.items("results") == []
    assert pacs.seen == {}
    assert all(p["state"] == "ROUTED" for p in site.items("payloads"))
    for name in CASES:
        assert len(kept(site, name)) == 1


def test_no_process_of_them_lives(site: Site) -> None:
    assert site.process is not None
    left = psutil.Process(site.process.pid).children(recursive=True)
    names = [" ".join(command(p)) for p in left]
    assert [n for n in names if "working on it" in n] == []
    assert not [p for p in psutil.process_iter(["cmdline"]) if _works(p) and p.pid != os.getpid()]


def _works(process: psutil.Process) -> bool:
    return any(WORDS.strip() in part for part in process.info["cmdline"] or [])


def test_a_faulted_job_runs_again_when_told(site: Site) -> None:
    (job,) = site.items("jobs", called_ae="EXITS")
    assert site.cli("rerun", "job", job["id"]).returncode == 0
    site.wait(lambda: site.get(f"jobs/{job['id']}")["attempt"] == 2)
    again = site.wait(
        lambda: (found := site.get(f"jobs/{job['id']}"))["state"] == "STOPPED" and found
    )
    assert (again["status"], again["exit_code"]) == ("FAULTED", 3)


def test_health_stays_well(site: Site) -> None:
    assert site.http is not None
    assert site.http.get("/health/ready").status_code == 200
    assert Path(site.data / "payloads").is_dir()
