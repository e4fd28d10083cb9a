"""Streams that stall, fail in the middle or come in too great a number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from gateway.errors import Permanent
from gateway.platform import calls
from gateway.platform.errors import Code
from gateway.platform.wire import payloads_pb2 as pb
from tests.support.clara import Api, chunks

STALL_SECONDS = 0.5
CALLS = 4


class Service:
    """Payloads, as far as these tests need them."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.sent = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_: Any) -> Any:
            raise ValueError(f"what {name} keeps to itself")

        return fail

    def upload(self, requests: Iterator[pb.PayloadsUploadRequest]) -> pb.PayloadsUploadResponse:
        try:
            size = sum(len(request.data) for request in requests)
        finally:
            self.ended.set()
        return pb.PayloadsUploadResponse(details={"size": size})

    def download(
        self, request: pb.PayloadsDownloadRequest
    ) -> Iterator[pb.PayloadsDownloadResponse]:
        try:
            for _ in range(200):
                self.sent += 1
                yield pb.PayloadsDownloadResponse(data=b"x" * 1_000_000)
        finally:
            self.ended.set()

    def details(self, request: pb.PayloadsDetailsRequest) -> Iterator[pb.PayloadsDetailsResponse]:
        yield pb.PayloadsDetailsResponse()
        raise Permanent("the disk went away")


@pytest.fixture
def served() -> Iterator[tuple[Service, Api]]:
    service, streams = Service(), calls.Streams(STALL_SECONDS)
    with ThreadPoolExecutor(CALLS) as pool:
        server = grpc.server(pool, maximum_concurrent_rpcs=CALLS)
        descriptor = pb.DESCRIPTOR.services_by_name["Payloads"]
        server.add_generic_rpc_handlers((calls.handler(descriptor, service, streams, None),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        watch = threading.Thread(target=streams.run)
        watch.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield service, Api(channel)
        streams.stop()
        watch.join()
        server.stop(None).wait()


def test_an_upload_that_stalls_is_ended(served: tuple[Service, Api]) -> None:
    service, api = served
    release = threading.Event()

    def stalling() -> Iterator[Any]:
        yield from chunks(pb.PayloadsUploadRequest, "p", "n", b"x")
        release.wait(20)

    with pytest.raises(grpc.RpcError) as caught:
        api.Payloads.Upload.call(stalling(), timeout=20)
    release.set()
    assert caught.value.code() == grpc.StatusCode.CANCELLED
    assert service.ended.wait(10)


def test_a_reader_that_stalls_is_ended(served: tuple[Service, Api]) -> None:
    service, api = served
    call = api.Payloads.Download(name="x")
    next(call)
    assert service.ended.wait(10)
    # The server sent what fits on the way and gathered nothing.
    assert service.sent < 100


def test_a_stream_that_moves_is_let_be(served: tuple[Service, Api]) -> None:
    _, api = served
    pause = threading.Event()

    def slow() -> Iterator[Any]:
        for _ in range(6):
            yield from chunks(pb.PayloadsUploadRequest, "p", "n", b"x")
            pause.wait(STALL_SECONDS / 2)

    assert api.Payloads.Upload.call(slow(), timeout=20).details.size == 6


def test_a_fault_in_the_middle_is_a_status(served: tuple[Service, Api]) -> None:
    _, api = served
    answers = api.Payloads.Details()
    assert next(answers).header.code == 0
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert caught.value.code() == grpc.StatusCode.ABORTED
    assert caught.value.details() == "the disk went away"


def test_what_nobody_expected_is_told_in_general(
    served: tuple[Service, Api], caplog: pytest.LogCaptureFixture
) -> None:
    _, api = served
    header = api.Payloads.Create().header
    assert header.code == Code.INTERNAL
    assert list(header.messages) == ["the gateway failed; its log says more"]
    assert "what create keeps to itself" in caplog.text


def test_more_calls_than_allowed_are_refused(served: tuple[Service, Api]) -> None:
    _, api = served
    open_calls = [api.Payloads.Download(name="x") for _ in range(CALLS)]
    for call in open_calls:
        next(call)
    with pytest.raises(grpc.RpcError) as caught:
        api.Payloads.Create()
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    for call in open_calls:
        call.cancel()
