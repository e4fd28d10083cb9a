"""Nothing that names a patient stands in logs, metrics, events, job names or messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.counting_pacs import CountingPacs, counting_pacs
from tests.support.dicom import slice_
from tests.support.mosquitto import Mosquitto, Subscriber
from tests.support.site import (
    Site,
    application,
    deriving,
    operator,
    pipeline,
    register,
    rule,
    write,
)

MARKED = {
    "PatientName": "ZQNAME^ZQGIVEN",
    "PatientID": "ZQPATIENT7",
    "PatientBirthDate": "19010203",
    "AccessionNumber": "ZQACCESSION",
    "StudyDescription": "ZQSTUDYTEXT",
    "SeriesDescription": "ZQSERIESTEXT",
    "ProtocolName": "ZQPROTOCOL",
    "PatientComments": "ZQCOMMENT",
    "ReferringPhysicianName": "ZQDOCTOR",
}
WORDS = ("ZQ", "19010203")
TALKS = """
import pathlib, sys, pydicom
ds = pydicom.dcmread(next(pathlib.Path("/input").rglob("*.dcm")))
pathlib.Path("/output", str(ds.PatientName)).symlink_to("/etc")
print(ds.PatientName, ds.PatientID, flush=True)
raise ValueError(f"cannot work on {ds.PatientName}")
"""
pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def pacs() -> Iterator[CountingPacs]:
    with counting_pacs() as running:
        yield running


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mosquitto, Subscriber]]:
    broker = Mosquitto(tmp_path_factory.mktemp("mqtt"))
    broker.start()
    subscriber = Subscriber(broker.port, "gateway/#")
    yield broker, subscriber
    subscriber.close()
    broker.stop()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    pacs: CountingPacs,
    heard: tuple[Mosquitto, Subscriber],
) -> Iterator[Site]:
    """A gateway after a marked patient went every way there is, good and bad."""
    titles = {
        "AI": rule(),
        "TALKS": rule("talks", pipeline="talks"),
        # The error's text quotes the value that is no number.
        "ERRS": rule("errs", when="int(study.PatientID) > 3"),
        "NOBODY": rule("never", when='study.PatientID == "somebody else"'),
        "DOWN": rule("down", destinations=["DOWN"]),
    }
    down = CountingPacs()
    made = Site(
        tmp_path_factory.mktemp("privacy"),
        applications=[application(found, **{"ae-title": name}) for name, found in titles.items()],
        pipelines=[deriving(), pipeline("talks", operator("bad", TALKS), register("bad"))],
        destinations=[pacs.destination(), down.destination("DOWN")],
        settings={"mqtt": {"url": heard[0].url}, "images": {"test/python": python()}},
    )
    made.start()
    try:
        for title in titles:
            assert [s.status for s in made.send(images(made.root, title), title)] == [0, 0]
        other = write(
            slice_(9, **study("NOBODY"), **(MARKED | {"PatientID": "ZQPATIENT8"})),
            made.root / "other.dcm",
        )
        made.wait(lambda: states(made).get("NOBODY") == "UNMATCHED")
        assert made.send([other], "NOBODY")[0].status == 0
        broken = write(slice_(8, **MARKED, StudyInstanceUID=None), made.root / "broken.dcm")
        assert made.send([broken], "AI")[0].status == 0xC000
        made.wait(lambda: len(made.items("jobs", state="STOPPED")) == 3)
        made.wait(lambda: states(made).get("NOBODY") == "CONFLICT")
        made.wait(lambda: states(made).get("ERRS") == "UNMATCHED")
        made.wait(lambda: made.items("results", state="DELIVERED"))
        made.wait(lambda: made.items("results", state="WAITING"))
        yield made
    finally:
        assert made.stop() == 0


def python() -> dict[str, Any]:
    return {"command": [sys.executable]}


def study(title: str) -> dict[str, str]:
    uid = f"1.9.{sum(map(ord, title))}"
    return {"StudyInstanceUID": uid, "SeriesInstanceUID": uid + ".1"}


def images(root: Path, title: str) -> list[Path]:
    return [
        write(slice_(n, **study(title), **MARKED), root / "ct" / title / f"{n}.dcm")
        for n in range(2)
    ]


def states(site: Site) -> dict[str, str]:
    return {p["called_ae"]: p["state"] for p in site.items("payloads")}


def clean(text: str) -> bool:
    return not any(word in text for word in WORDS)


def test_the_run_was_what_it_should_be(site: Site) -> None:
    """Else the other tests would look for words that nothing could have said."""
    outcomes = {d["rule"]: d["outcome"] for d in site.items("decisions") if d["revision"] == 1}
    assert outcomes["errs"] == "ERROR"
    ends = {j["called_ae"]: j["status"] for j in site.items("jobs")}
    assert ends == {"AI": "HEALTHY", "TALKS": "FAULTED", "DOWN": "HEALTHY"}
    spooled = b"".join(f.read_bytes() for f in (site.data / "spool").rglob("*.dcm"))
    assert all(value.encode() in spooled for value in MARKED.values())


def test_the_log(site: Site) -> None:
    lines = (site.root / "gateway.log").read_text().splitlines()
    assert len(lines) > 30
    assert [line for line in lines if not clean(line)] == []
    assert all(json.loads(line)["message"] for line in lines)


def test_metrics_and_health(site: Site) -> None:
    assert site.http is not None
    for path in ("/metrics", "/health"):
        assert clean(site.http.get(path).text)


def test_events(site: Site) -> None:
    found = site.items("events")
    assert len(found) > 20
    assert [event for event in found if not clean(json.dumps(event))] == []


def test_job_names_and_reasons(site: Site) -> None:
    for job in site.items("jobs"):
        assert clean(f"{job['name']} {job['reason']}")


def test_messages(site: Site, heard: tuple[Mosquitto, Subscriber]) -> None:
    _, subscriber = heard
    site.wait(lambda: len(subscriber.heard) >= len(site.items("events")) - 5)
    assert {"gateway/job/stopped", "gateway/result/delivered"} <= set(subscriber.topics())
    assert [m for m in subscriber.heard if not clean(m[0] + json.dumps(m[1]))] == []


def test_folders_and_files_name_nobody(site: Site) -> None:
    """Paths reach logs and listings of other programs; patients are named inside files only.

    The raw payload is the exception that the contract fixes: ``dcm/<patient>/…``.
    """
    names = [str(path.relative_to(site.data)) for path in site.data.rglob("*")]
    loud = [n for n in names if not clean(n)]
    assert [n for n in loud if "/input/" not in n and "/operators/" not in n] == []
