"""Kill -9: what was answered is there, what was not is gone without a trace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.platform.wire import payloads_pb2 as pb
from tests.support.clara import Api, chunks
from tests.support.site import Site, application

pytestmark = pytest.mark.crash


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, applications=[application()], pipelines=[])
    site.start()
    yield site
    site.stop()


def test_a_kill_keeps_what_was_answered(own: Site, definition: Callable[..., str]) -> None:
    whole = bytes(range(256)) * 4000
    going, release = threading.Event(), threading.Event()

    def half() -> Iterator[Any]:
        yield from chunks(pb.PayloadsUploadRequest, payload, "half", whole)
        going.set()
        release.wait(20)

    with grpc.insecure_channel(f"127.0.0.1:{own.ports['grpc']}") as channel:
        api = Api(channel)
        payload = api.Payloads.Create(metadata={"kind": "reference"}).payload_id.value
        api.Payloads.Upload(*chunks(pb.PayloadsUploadRequest, payload, "a/whole", whole))
        pipeline = api.Pipelines.Create(definition={"content": definition()}).pipeline_id
        job = api.Jobs.Create(
            pipeline_id=pipeline, name="kept", input_payloads=[{"value": payload}]
        )
        call = api.Payloads.Upload.call.future(half())
        assert going.wait(10)
        own.wait(lambda: list((own.data / "uploads").iterdir()), 10)
        own.kill()
        release.set()
        assert call.exception() is not None
    own.start()
    with grpc.insecure_channel(f"127.0.0.1:{own.ports['grpc']}") as channel:
        api = Api(channel)
        assert list((own.data / "uploads").iterdir()) == []
        details = list(api.Payloads.Details(payload_id={"value": payload}))
        assert [answer.file.name for answer in details] == ["/a/whole"]
        assert dict(details[0].metadata) == {"kind": "reference"}
        assert api.Jobs.Start(job_id=job.job_id).header.code == 0
        own.wait(lambda: api.Jobs.Status(job_id=job.job_id).state == 3, 60)
        assert api.Jobs.Status(job_id=job.job_id).status == 1
        answers = api.Payloads.Download(payload_id=job.payload_id, name="operators/copy/whole")
        assert b"".join(answer.data for answer in answers) == whole
