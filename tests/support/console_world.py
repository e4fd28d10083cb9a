"""A gateway with the life of a hospital's morning in it, for the tests of the console.

Four called AE titles: LUNG_CT runs the shipped lung-density pipeline on the phantom CT and
delivers to a PACS that is up; ODD runs an operator that logs markup and fails; SLOW runs until
somebody cancels it; AWAY delivers to a PACS that is down.  Beside them: a conflict, a study that
no rule wants, a rejected sender, and names that would run as a script in a careless page.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
import yaml
from pydicom.uid import generate_uid

from gateway.demo.assets import shipped
from gateway.demo.phantom import Identity, Options, write_series
from tests.support.counting_pacs import CountingPacs, counting_pacs
from tests.support.programs import free_port
from tests.support.site import Site, deriving, operator, pipeline

SCRIPT = "<img src=x onerror=alert(1)>"
"""What must be shown as text wherever it stands."""
MARKED_ID = "<b>ODD-1</b>"
"""The same as a patient ID, which lists show."""

_FAIL = f"""
import pathlib, sys
pathlib.Path("/output", {SCRIPT!r} + ".txt").write_text("a file")
print("reading the series")
print({SCRIPT!r} + "<script>document.title = 'stolen'</script>")
sys.exit("cannot tell left from right: the orientation is missing")
"""
_WAIT = """
import itertools, pathlib, time
pathlib.Path("/output/first.txt").write_text("begun")
for step in itertools.count(1):
    print(f"step {step}: still looking", flush=True)
    time.sleep(0.5)
"""


PEOPLE = {"mei": "administrator", "otto": "operator", "vera": "viewer"}
PASSWORD = "correct horse battery staple"  # noqa: S105 - of users that live for a test


@dataclass(frozen=True)
class World:
    """The gateway and the identifiers that tests ask for."""

    site: Site
    pacs: CountingPacs
    study: str
    """Study Instance UID of the phantom CT."""
    accession: str
    files: tuple[Path, ...]

    @property
    def url(self) -> str:
        """Address of the console."""
        return f"http://127.0.0.1:{self.site.ports['http']}"

    def cookies(self, user: str) -> list[dict[str, Any]]:
        """Sign a user in; the cookies as a browser takes them."""
        answer = httpx.post(
            f"{self.url}/api/v1/session",
            json={"user": user, "password": PASSWORD},
            trust_env=False,
            timeout=60,
        )
        answer.raise_for_status()
        return [
            {"name": name, "value": value, "url": self.url, "httpOnly": True, "sameSite": "Strict"}
            for name, value in answer.cookies.items()
        ]

    def add_people(self) -> None:
        """Add a user of each role; from now on everybody signs in, the site by a token."""
        http = self.site.http
        assert http is not None
        http.timeout = httpx.Timeout(60)
        made = http.post("/api/v1/tokens", json={"name": "tests", "role": "administrator"})
        made.raise_for_status()
        http.headers["Authorization"] = f"Bearer {made.json()['token']}"
        for name, role in PEOPLE.items():
            body = {"name": name, "role": role, "password": PASSWORD}
            http.post("/api/v1/users", json=body).raise_for_status()

    def job(self, called: str) -> dict[str, Any]:
        """The newest job of a called AE title."""
        return self.site.items("jobs", called_ae=called)[0]

    def payload(self, called: str) -> dict[str, Any]:
        """The newest payload of a called AE title."""
        return self.site.items("payloads", called_ae=called)[0]


@contextmanager
def console_world(root: Path, *, slices: int = 24, matrix: int = 96) -> Iterator[World]:
    """Start it, send everything, wait until all has ended that will end."""
    with counting_pacs() as pacs:
        site = Site(root, **_site(pacs))
        try:
            site.start()
            world = _fill(site, pacs, root / "sent", slices, matrix)
            yield world
        finally:
            site.stop()


def _site(pacs: CountingPacs) -> dict[str, Any]:
    lung = yaml.safe_load((shipped("pipelines") / "lung-density.yaml").read_text())
    away = {"name": "ARCHIVE", "ae-title": "ARCHIVE", "host": "127.0.0.1", "port": free_port()}
    return {
        "pipelines": [
            lung,
            deriving(),
            pipeline("odd", operator("orient", _FAIL)),
            pipeline("slow", operator("look", _WAIT), operator("after", "pass", source="look")),
        ],
        "applications": [
            _application(
                "LUNG_CT", _rule("lung density", "lung-density", "PACS", prefer="s.instances")
            ),
            _application("ODD", _rule("orientation", "odd", "PACS")),
            _application("SLOW", _rule("long look", "slow", "PACS")),
            _application("AWAY", _rule("derive", "derive", "ARCHIVE")),
            _application("NOBODY", _rule("magnets", "derive", "PACS", when='called == "MR"')),
        ],
        "destinations": [pacs.destination(), away],
    }


def _application(title: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "ae-title": title,
        "complete-when": {"association-released": True, "quiet-seconds": 2},
        "rules": list(rules),
    }


def _rule(name: str, runs: str, to: str, **extra: Any) -> dict[str, Any]:
    when = 'series.exists(s, s.Modality == "CT" && s.instances >= 1)'
    return {"name": name, "when": when, "pipeline": runs, "destinations": [to]} | extra


def _fill(site: Site, pacs: CountingPacs, folder: Path, slices: int, matrix: int) -> World:
    identity = Identity(patient_id="PHANTOM-1", accession_number="ACC-2026-0142")
    series = write_series(folder / "lung", Options(slices=slices, matrix=matrix, identity=identity))
    site.send(series.files, called="LUNG_CT")
    first = series.files[0]
    odd = dict.fromkeys(("PatientName", "SeriesDescription", "StudyDescription"), SCRIPT)
    site.send(_copies(first, folder / "odd", 3, PatientID=MARKED_ID, **odd), "ODD")
    site.send(_copies(first, folder / "slow", 2, PatientID="SLOW-1"), "SLOW")
    site.send(_copies(first, folder / "away", 2, PatientID="AWAY-1"), "AWAY")
    site.send(_copies(first, folder / "nobody", 2, PatientID="NOBODY-1"), "NOBODY")
    mixed = _copies(first, folder / "mixed", 2, PatientID="MIXED-1")
    _change(mixed[1], PatientID="MIXED-2")
    site.send(mixed, "AWAY")
    site.send(series.files[:1], called="LUNG_CT", calling="STRANGER")
    world = World(site, pacs, series.study_uid, identity.accession_number, series.files)
    site.wait(lambda: _ended(world), 170)
    return world


def _copies(source: Path, folder: Path, count: int, **attributes: str) -> list[Path]:
    """A study of its own made of copies of one instance."""
    folder.mkdir(parents=True)
    study, series = generate_uid(), generate_uid()
    paths = []
    for number in range(1, count + 1):
        path = folder / f"{number}.dcm"
        shutil.copyfile(source, path)
        _change(
            path,
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            SOPInstanceUID=generate_uid(),
            InstanceNumber=str(number),
            **attributes,
        )
        paths.append(path)
    return paths


def _change(path: Path, **attributes: str) -> None:
    ds = pydicom.dcmread(path)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)


def _ended(world: World) -> bool:
    jobs = {job["called_ae"]: job for job in world.site.items("jobs")}
    states = {payload["state"] for payload in world.site.items("payloads")}
    lung = jobs.get("LUNG_CT", {"state": "", "status": ""})
    assert lung["state"] != "STOPPED" or lung["status"] == "HEALTHY", lung["reason"]
    results = {result["destination"]: result["state"] for result in world.site.items("results")}
    return (
        {"LUNG_CT", "ODD", "SLOW", "AWAY"} <= set(jobs)
        and jobs["LUNG_CT"]["state"] == jobs["ODD"]["state"] == "STOPPED"
        and jobs["SLOW"]["state"] == "RUNNING"
        and {"CONFLICT", "UNMATCHED"} <= states
        and results.get("PACS") == "DELIVERED"
        and results.get("ARCHIVE") in {"WAITING", "FAILED"}
    )
