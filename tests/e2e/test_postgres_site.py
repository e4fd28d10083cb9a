"""A gateway on PostgreSQL walks the whole way, is killed, and keeps what it had."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.platform.wire import payloads_pb2 as pb
from tests.support.clara import Api, chunks
from tests.support.counting_pacs import CountingPacs, counting_pacs
from tests.support.dicom import slice_
from tests.support.postgres import fresh_database
from tests.support.site import Site, deriving, write

pytestmark = pytest.mark.peers


@pytest.fixture
def pacs() -> Iterator[CountingPacs]:
    with counting_pacs() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, postgres_server: str, pacs: CountingPacs) -> Iterator[Site]:
    url = fresh_database(postgres_server, f"site{time.time_ns()}")
    site = Site(
        tmp_path / "site",
        pipelines=[deriving(0.5)],
        destinations=[pacs.destination()],
        settings={"database": {"url": url}},
    )
    site.start()
    yield site
    assert site.stop() == 0


def test_a_study_and_a_job_by_hand_outlive_a_kill(
    site: Site, pacs: CountingPacs, tmp_path: Path
) -> None:
    files = [write(slice_(n), tmp_path / f"{n}.dcm") for n in range(4)]
    assert {sent.status for sent in site.send(files)} == {0}
    job, payload = _by_hand(site, files[0].read_bytes())
    site.wait(lambda: site.items("jobs", state="RUNNING"))
    site.kill()
    site.start()
    site.wait(lambda: site.items("payloads") and site.items("results") and site.settled())

    # One study, one job by rule, one by hand; each result at the PACS once per what it is.
    (received,) = site.items("payloads")
    assert (received["state"], received["instances"]) == ("ROUTED", 4)
    jobs = {one["id"]: one for one in site.items("jobs")}
    assert len(jobs) == 2
    (ruled,) = (one for one in jobs.values() if one["id"] != job)
    assert (ruled["status"], ruled["received_payload_id"]) == ("HEALTHY", received["id"])
    assert [len(seen) for seen in pacs.seen.values()] == [1]
    assert jobs[job]["status"] == "FAULTED", "made by hand, it names no destination"
    assert "destination" in jobs[job]["reason"]
    with grpc.insecure_channel(f"127.0.0.1:{site.ports['grpc']}") as channel:
        details = Api(channel).Payloads.Details(payload_id={"value": payload})
        assert "/input/0.dcm" in [answer.file.name for answer in details]
    kinds = [entry["kind"] for entry in site.get(f"payloads/{received['id']}/timeline")["items"]]
    assert kinds[0] == "association/opened"
    assert "result/delivered" in kinds
    assert not (site.data / "gateway.db").exists()


def _by_hand(site: Site, content: bytes) -> tuple[str, str]:
    """A job over the platform API with one uploaded file; its id and its payload's."""
    with grpc.insecure_channel(f"127.0.0.1:{site.ports['grpc']}") as channel:
        api = Api(channel)
        (pipeline,) = (answer.details.pipeline_id for answer in api.Pipelines.List())
        made: Any = api.Jobs.Create(pipeline_id=pipeline, name="by hand")
        assert made.header.code == 0, made.header.messages
        upload = chunks(pb.PayloadsUploadRequest, made.payload_id.value, "0.dcm", content)
        assert api.Payloads.Upload(*upload).header.code == 0
        assert api.Jobs.Start(job_id=made.job_id).header.code == 0
        return made.job_id.value, made.payload_id.value
