"""kill -9 at random moments and at every fault point of the main way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.delivery import states as delivery
from gateway.dicom import services
from gateway.jobs import states as jobs
from gateway.payloads import states as payloads
from gateway.results import states as results
from gateway.routing import router
from tests.support.campaign import Campaign, random_moments
from tests.support.counting_pacs import counting_pacs
from tests.support.site import Site, deriving

pytestmark = pytest.mark.crash

# Points that a study on its way to the PACS passes.  The others (jobs made by hand, cancel, retry,
# time-out, rerun, deletion, folders) have their crash tests in their rooms.
_ELSEWHERE = (
    "job.queue",
    "cancel",
    "supersede",
    "fault",
    "time-out",
    "evict",
    "retry",
    "give-up",
    "rerun",
)
MAIN_WAY = [
    name
    for name in (
        *payloads.FAULT_POINTS,
        *router.FAULT_POINTS,
        *jobs.FAULT_POINTS,
        *results.FAULT_POINTS,
        *delivery.FAULT_POINTS,
    )
    if not any(word in name for word in (*_ELSEWHERE, "payload.delete", "folder"))
]
SHORT = MAIN_WAY[::5]


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    with counting_pacs() as pacs:
        site = Site(tmp_path / "site", destinations=[pacs.destination()], pipelines=[deriving(0.2)])
        yield Campaign(site, pacs, tmp_path / "modality")
        site.stop()


def walk(campaign: Campaign, names: list[str]) -> None:
    missed = [name for name in names if not campaign.one_fault(name)]
    assert missed == [], "no study passed these fault points"
    campaign.finish(60 + 5 * len(names))


@pytest.mark.timeout(400)
def test_killed_at_fault_points(campaign: Campaign) -> None:
    walk(campaign, SHORT)


@pytest.mark.timeout(200)
def test_killed_at_random_moments(campaign: Campaign) -> None:
    for seconds in random_moments(seed=1, count=2, longest=4):
        campaign.one_kill(seconds)
    campaign.finish()


@pytest.mark.prove
def test_prove_crash_every_fault_point(campaign: Campaign) -> None:
    walk(campaign, MAIN_WAY)


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(2, 5))
def test_prove_crash_random_moments(campaign: Campaign, seed: int) -> None:
    for seconds in random_moments(seed=seed, count=30, longest=4):
        campaign.one_kill(seconds)
    campaign.finish(600)


@pytest.mark.timeout(200)
def test_killed_around_the_answer(campaign: Campaign) -> None:
    walk(campaign, list(services.FAULT_POINTS))


@pytest.mark.timeout(200)
@pytest.mark.parametrize("point", [p for p in payloads.FAULT_POINTS if "payload.delete" in p])
def test_killed_while_a_payload_is_deleted(campaign: Campaign, point: str) -> None:
    site = campaign.site
    campaign.new_study()
    site.start(fault=point)
    campaign.push()
    site.wait(lambda: site.items("results") and site.settled())
    (payload,) = site.items("payloads")
    with pytest.raises(httpx.HTTPError):
        site.delete(f"payloads/{payload['id']}")
    site.kill()
    site.start()
    if point == "payload.delete.before":
        assert site.items("payloads")[0]["state"] == "ROUTED"
        assert site.delete(f"payloads/{payload['id']}").status_code == 200
    (payload,) = site.items("payloads")
    assert payload["state"] == "DELETED"
    site.wait(lambda: not list((site.data / "spool").glob("*/*/*.dcm")))
