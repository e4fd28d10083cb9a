"""A study goes in, one result comes out: revisions, conflicts, loops, outages, retention."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.counting_pacs import CountingPacs, counting_pacs
from tests.support.dicom import slice_
from tests.support.orthanc import running_orthanc
from tests.support.programs import free_port
from tests.support.site import Site, application, deriving, rule, write


@pytest.fixture
def pacs() -> Iterator[CountingPacs]:
    with counting_pacs() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, pacs: CountingPacs) -> Iterator[Site]:
    made = Site(tmp_path / "site", destinations=[pacs.destination()])
    made.start()
    yield made
    assert made.stop() == 0


def study(folder: Path, count: int = 3, start: int = 0, **changes: Any) -> list[Path]:
    return [
        write(slice_(number, **changes), folder / f"{number}.dcm")
        for number in range(start, start + count)
    ]


def by_state(site: Site, path: str, key: str = "state") -> list[str]:
    return [item[key] for item in site.items(path)]


def test_one_study_one_job_one_result(site: Site, pacs: CountingPacs, tmp_path: Path) -> None:
    sent = site.send(study(tmp_path / "ct"))
    assert [s.status for s in sent] == [0, 0, 0]
    site.wait(lambda: site.items("results") and site.settled())
    (job,) = site.items("jobs")
    assert (job["status"], job["attempt"]) == ("HEALTHY", 1)
    assert len(pacs.seen) == 1
    (digests,) = pacs.seen.values()
    assert len(digests) == 1
    (payload,) = site.items("payloads")
    kinds = [
        e["kind"]
        for e in site.get("where", study=payload["study_instance_uid"])["payloads"][0]["timeline"]
    ]
    for kind in ("association/opened", "payload/completed", "job/stopped", "result/delivered"):
        assert kind in kinds


def test_where_is_my_study_on_the_command_line(site: Site, tmp_path: Path) -> None:
    site.send(study(tmp_path / "ct"))
    site.wait(lambda: site.items("results") and site.settled())
    shown = site.cli("list", "payloads", "--accession", "A1")
    assert shown.returncode == 0, shown.stderr
    assert "delivered" in shown.stdout
    assert site.cli("list", "payloads", "--study", "1.2.3.4").returncode in {0, 3}


def test_late_image_while_the_job_is_queued(tmp_path: Path, pacs: CountingPacs) -> None:
    site = Site(
        tmp_path / "site",
        destinations=[pacs.destination()],
        pipelines=[deriving(6)],
        settings={"resources": {"cpu": 1}},
    )
    site.start()
    try:
        site.send(study(tmp_path / "other", StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1"))
        site.wait(lambda: "RUNNING" in by_state(site, "jobs"))
        site.send(study(tmp_path / "ct"))
        site.wait(lambda: "PENDING" in by_state(site, "jobs"))
        site.send(study(tmp_path / "late", 1, start=7))
        site.wait(lambda: len(site.items("jobs")) == 3)
        site.wait(site.settled)
        ends = sorted(
            (j["revision"], j["status"]) for j in site.items("jobs") if j["rule"] == "all"
        )
        assert ends == [(1, "CANCELED"), (1, "HEALTHY"), (2, "HEALTHY")]
        superseded = next(j for j in site.items("jobs") if j["status"] == "CANCELED")
        assert "superseded" in superseded["reason"]
        assert superseded["attempt"] == 0
        assert len(pacs.seen) == 2
    finally:
        site.stop()


def test_late_image_while_the_job_runs_and_after_delivery(
    tmp_path: Path, pacs: CountingPacs
) -> None:
    site = Site(tmp_path / "site", destinations=[pacs.destination()], pipelines=[deriving(2)])
    site.start()
    try:
        site.send(study(tmp_path / "ct"))
        site.wait(lambda: "RUNNING" in by_state(site, "jobs"))
        site.send(study(tmp_path / "late", 1, start=7))
        site.wait(lambda: len(site.items("results")) == 2 and site.settled())
        site.send(study(tmp_path / "later", 1, start=8))
        site.wait(lambda: len(site.items("results")) == 3 and site.settled())
        ends = sorted((j["revision"], j["status"]) for j in site.items("jobs"))
        assert ends == [(1, "HEALTHY"), (2, "HEALTHY"), (3, "HEALTHY")]
        assert {len(seen) for seen in pacs.seen.values()} == {1}
        # The same images again: acknowledged, nothing new, no revision.
        assert [s.status for s in site.send(study(tmp_path / "again", 0))] == []
        site.send([tmp_path / "ct" / "0.dcm"])
        time.sleep(1)
        assert site.items("payloads")[0]["revision"] == 3
    finally:
        site.stop()


def test_a_late_image_that_no_rule_selects_starts_nothing(
    tmp_path: Path, pacs: CountingPacs
) -> None:
    site = Site(
        tmp_path / "site",
        destinations=[pacs.destination()],
        applications=[application(rule(select='s.Modality == "CT"'))],
    )
    site.start()
    try:
        site.send(study(tmp_path / "ct"))
        site.wait(lambda: site.items("results") and site.settled())
        site.send(study(tmp_path / "mr", 1, start=9, Modality="MR", SeriesInstanceUID="1.8"))
        site.wait(lambda: site.items("payloads")[0]["revision"] == 2 and site.settled())
        assert len(site.items("jobs")) == 1
        outcomes = {d["revision"]: d["outcome"] for d in site.items("decisions")}
        assert outcomes == {1: "MATCHED", 2: "UNCHANGED"}
    finally:
        site.stop()


def test_two_patients_under_one_study_uid(site: Site, pacs: CountingPacs, tmp_path: Path) -> None:
    site.send(study(tmp_path / "one", 2))
    site.send(study(tmp_path / "two", 2, start=5, PatientID="P2"))
    site.wait(lambda: by_state(site, "payloads") == ["CONFLICT"])
    time.sleep(1)
    assert site.items("jobs") == []
    (payload,) = site.items("payloads")
    released = site.cli("release", "payload", payload["id"])
    assert released.returncode == 0, released.stderr
    site.wait(lambda: site.items("results") and site.settled())
    assert len(pacs.seen) == 1


@pytest.mark.peers
def test_orthanc_sends_everything_back(tmp_path: Path) -> None:
    port = free_port()
    with running_orthanc(
        tmp_path, modalities={"gateway": ("AI", port)}, route_to="gateway"
    ) as orthanc:
        site = Site(
            tmp_path / "site",
            destinations=[
                {"name": "PACS", "ae-title": orthanc.aet, "host": "127.0.0.1", "port": orthanc.port}
            ],
            settings={"dicom": {"bind": "127.0.0.1", "port": port}},
        )
        sources = [*site.config["sources"], {"ae-title": orthanc.aet, "hosts": ["127.0.0.1"]}]
        site.configure(**(site.config | {"sources": sources}))
        site.start()
        try:
            site.send(study(tmp_path / "ct"))
            orthanc.wait_for(1)
            site.wait(lambda: "instance/returned" in by_state(site, "events", "kind"))
            time.sleep(1.5)
            (payload,) = site.items("payloads")
            assert (payload["revision"], payload["state"]) == (1, "ROUTED")
            assert len(site.items("jobs")) == 1
            assert len(orthanc.instances()) == 1
        finally:
            site.stop()


def outage(tmp_path: Path, seconds: float) -> None:
    """The PACS is down for a while; the results arrive without a hand."""
    pacs = CountingPacs()
    site = Site(tmp_path / "site", destinations=[pacs.destination()])
    site.start()
    try:
        site.send(study(tmp_path / "ct"))
        site.wait(lambda: by_state(site, "results") == ["WAITING"])
        down_until = time.monotonic() + seconds
        shown = site.cli("list", "results")
        assert "WAITING" in shown.stdout
        assert site.http is not None
        metrics = site.http.get("/metrics").text
        assert 'gateway_results{destination="PACS",state="WAITING"} 1.0' in metrics
        site.wait(
            lambda: (
                site.http and site.http.get("/health").json()["parts"]["delivery"]["status"] != "ok"
            ),
            seconds=max(30, seconds),
        )
        time.sleep(max(0, down_until - time.monotonic()))
        pacs.start()
        site.wait(lambda: by_state(site, "results") == ["DELIVERED"], seconds=180)
        assert [len(seen) for seen in pacs.seen.values()] == [1]
    finally:
        site.stop()
        pacs.stop()


def test_the_pacs_is_down_for_seconds(tmp_path: Path) -> None:
    outage(tmp_path, 4)


@pytest.mark.prove
def test_prove_outage_two_minutes(tmp_path: Path) -> None:
    outage(tmp_path, 120)


def test_retention(tmp_path: Path, pacs: CountingPacs) -> None:
    down = CountingPacs()
    site = Site(
        tmp_path / "site",
        applications=[
            application(rule()),
            application(rule(destinations=["DOWN"]), **{"ae-title": "HELD"}),
        ],
        destinations=[pacs.destination(), down.destination("DOWN")],
        settings={"retention": {"delivered-hours": 0, "failed-hours": 0, "unmatched-hours": 0}},
    )
    site.start(GATEWAY_TEST="")
    try:
        site.send(study(tmp_path / "ct"))
        site.send(study(tmp_path / "held"), called="HELD")
        site.wait(lambda: sorted(by_state(site, "results")) == ["DELIVERED", "WAITING"])
        states = {p["called_ae"]: p["state"] for p in site.items("payloads")}
        assert states["HELD"] == "ROUTED"
        refused = site.cli("delete", "payload", "--yes", _of(site, "HELD"))
        assert refused.returncode != 0
        assert "not finished" in refused.stderr + refused.stdout
        gone = site.cli("delete", "payload", "--yes", _of(site, "AI"))
        assert gone.returncode == 0, gone.stderr
        states = {p["called_ae"]: p["state"] for p in site.items("payloads")}
        assert states == {"AI": "DELETED", "HELD": "ROUTED"}
        assert len(list((site.data / "spool").glob("*/*/*.dcm"))) == 3
    finally:
        site.stop()


def _of(site: Site, called: str) -> str:
    found: str = next(p["id"] for p in site.items("payloads") if p["called_ae"] == called)
    return found
