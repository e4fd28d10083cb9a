"""One study's trace at a collector, whole although the gateway and the collector were away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.monitor.traces.exporter import NoTraces, endpoint
from tests.support.campaign import Campaign
from tests.support.collector import Collector, collector
from tests.support.counting_pacs import counting_pacs
from tests.support.dicom import slice_
from tests.support.site import Site, deriving

WHOLE = {"association", "payload", "job", "operator make", "operator register", "delivery"}


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
def campaign(tmp_path: Path, received: Collector) -> Iterator[Campaign]:
    with counting_pacs() as pacs:
        site = Site(
            tmp_path / "site",
            destinations=[pacs.destination()],
            pipelines=[deriving(1.5)],
            settings={"traces": {"url": received.url}},
        )
        yield Campaign(site, pacs, tmp_path / "modality")
        site.stop()


@pytest.mark.timeout(200)
def test_a_trace_is_whole_across_a_kill_and_a_collector_that_is_away(
    campaign: Campaign, received: Collector
) -> None:
    site = campaign.site
    received.open = False
    site.start()
    campaign.new_study()
    campaign.push()
    site.wait(lambda: [job for job in site.items("jobs") if job["state"] == "RUNNING"])
    site.wait(lambda: received.refused)
    site.wait(lambda: part(site)["status"] == "degraded")
    assert part(site)["error"]
    site.kill()
    site.start()
    site.wait(lambda: [r for r in site.items("results") if r["state"] == "DELIVERED"])
    assert received.traces == {}
    received.open = True
    site.wait(lambda: {span.name for t in received.traces.values() for span in t.values()} >= WHOLE)
    site.wait(lambda: part(site)["status"] == "ok")

    [(trace_id, trace)] = received.traces.items()
    [payload] = site.items("payloads")
    assert trace_id == payload["correlation_id"]
    assert received.services == {"gateway"}
    roots = [span.name for span in trace.values() if not span.parent_span_id]
    assert roots == ["association"]
    assert all(s.parent_span_id.hex() in trace for s in trace.values() if s.parent_span_id)
    assert all(s.start_time_unix_nano <= s.end_time_unix_nano for s in trace.values())
    ds = slice_(1)
    told = str(list(trace.values()))
    assert "gateway.job_id" in told
    for patient in (ds.PatientID, ds.PatientName):
        assert patient
        assert str(patient) not in told


def part(site: Site) -> dict[str, object]:
    """What ``/health`` says of traces."""
    assert site.http is not None
    found: dict[str, object] = site.http.get("/health").json()["parts"]["traces"]
    return found


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://host:4318", "http://host:4318/v1/traces"),
        ("http://host:4318/", "http://host:4318/v1/traces"),
        ("https://host/otlp/traces", "https://host/otlp/traces"),
    ],
)
def test_the_path_is_the_standard_one_unless_given(url: str, found: str) -> None:
    assert endpoint(url) == found


@pytest.mark.parametrize("url", ["host:4318", "grpc://host:4317", "http://"])
def test_what_is_no_url_of_a_collector_is_refused(url: str) -> None:
    with pytest.raises(NoTraces, match=r"traces\.url must be http"):
        endpoint(url)
