"""Files of payloads: what arrives, what is listed, and what hostile or broken callers leave."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.platform.errors import Code
from gateway.platform.wire import payloads_pb2 as pb
from tests.support.clara import Api, chunks
from tests.support.site import Site


@pytest.fixture
def payload(api: Api) -> str:
    """A new reusable payload."""
    made = api.Payloads.Create()
    assert (made.header.code, made.type) == (0, pb.PAYLOAD_TYPE_REUSABLE)
    found: str = made.payload_id.value
    return found


def put(api: Api, payload: str, name: str, data: bytes = b"data") -> Any:
    return api.Payloads.Upload(*chunks(pb.PayloadsUploadRequest, payload, name, data))


def got(api: Api, payload: str, name: str) -> tuple[int, bytes]:
    answers = list(api.Payloads.Download(payload_id={"value": payload}, name=name))
    return answers[0].header.code, b"".join(answer.data for answer in answers)


def listed(api: Api, payload: str) -> list[str]:
    answers = api.Payloads.Details(payload_id={"value": payload})
    return [answer.file.name for answer in answers if answer.HasField("file")]


def uploads(site: Site) -> list[Path]:
    return list((site.data / "uploads").iterdir())


def test_a_file_comes_back_as_it_went(api: Api, payload: str) -> None:
    data = bytes(range(256)) * 20_000
    answer = put(api, payload, "folder/a.bin", data)
    assert (answer.header.code, answer.details.name) == (0, "/folder/a.bin")
    assert answer.details.size == len(data)
    assert got(api, payload, "folder/a.bin") == (0, data)


def test_an_empty_file_is_a_file(api: Api, payload: str) -> None:
    answer = api.Payloads.Upload(payload_id={"value": payload}, details={"name": "none"})
    assert (answer.header.code, answer.details.size) == (0, 0)
    assert got(api, payload, "none") == (0, b"")
    assert listed(api, payload) == ["/none"]


def test_a_second_upload_replaces(api: Api, payload: str) -> None:
    put(api, payload, "a", b"first")
    put(api, payload, "a", b"second")
    assert got(api, payload, "a") == (0, b"second")


def test_cases_live_side_by_side(api: Api, payload: str) -> None:
    put(api, payload, "Scan/A.txt", b"upper")
    assert got(api, payload, "/scan/a.TXT") == (0, b"upper")
    put(api, payload, "scan/a.txt", b"lower")
    assert got(api, payload, "Scan/A.txt") == (0, b"upper")
    assert got(api, payload, "scan/a.txt") == (0, b"lower")
    assert got(api, payload, "SCAN/A.TXT")[0] == Code.EXISTS
    assert api.Payloads.Remove(payload_id={"value": payload}, name="SCAN/a.txt").header.code == (
        Code.EXISTS
    )


def test_removal_takes_empty_folders_along(api: Api, payload: str, site: Site) -> None:
    put(api, payload, "a/b/c.txt")
    put(api, payload, "a/d.txt")
    assert api.Payloads.Remove(payload_id={"value": payload}, name="a/b/c.txt").header.code == 0
    root = site.data / "payloads" / payload
    assert [str(p.relative_to(root)) for p in sorted(root.rglob("*"))] == ["a", "a/d.txt"]


@pytest.mark.parametrize("name", ["../x", "/../x", "a/../../x", "", "a\0b", "..", "a" * 300])
def test_names_never_leave_the_payload(api: Api, payload: str, site: Site, name: str) -> None:
    assert put(api, payload, name).header.code in (Code.INVALID, Code.LIMIT)
    assert got(api, payload, name)[0] in (Code.INVALID, Code.LIMIT)
    answer = api.Payloads.Remove(payload_id={"value": payload}, name=name)
    assert answer.header.code in (Code.INVALID, Code.LIMIT)
    assert listed(api, payload) == []
    assert uploads(site) == []


def test_links_are_never_followed(api: Api, payload: str, site: Site, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    root = site.data / "payloads" / payload
    (root / "file").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    assert listed(api, payload) == []
    for name in ("file", "folder/secret", "FOLDER/secret", "File"):
        assert got(api, payload, name)[0] == Code.NOT_FOUND
    assert put(api, payload, "folder/new").header.code == Code.INVALID
    assert not (tmp_path / "new").exists()
    # An upload over a link replaces the link, not what it leads to.
    assert put(api, payload, "file", b"mine").header.code == 0
    assert (tmp_path / "secret").read_text() == "secret"


def test_files_and_folders_do_not_mix(api: Api, payload: str) -> None:
    put(api, payload, "a/b")
    assert put(api, payload, "a").header.code == Code.EXISTS
    assert put(api, payload, "a/b/c").header.code == Code.INVALID
    assert listed(api, payload) == ["/a/b"]


def test_one_stream_is_one_file(api: Api, payload: str, site: Site) -> None:
    first = pb.PayloadsUploadRequest(
        payload_id={"value": payload}, details={"name": "a"}, data=b"1"
    )
    bare = pb.PayloadsUploadRequest(data=b"2")
    assert api.Payloads.Upload(first, bare).details.size == 2
    other = pb.PayloadsUploadRequest(
        payload_id={"value": payload}, details={"name": "b"}, data=b"3"
    )
    assert api.Payloads.Upload(first, other).header.code == Code.INVALID
    assert got(api, payload, "a") == (0, b"12")
    assert uploads(site) == []


def test_a_cancelled_upload_leaves_nothing(api: Api, payload: str, site: Site) -> None:
    put(api, payload, "kept", b"whole")
    for size in [1, 70_000, 3_000_000] * 8:
        going = threading.Event()

        def endless(size: int = size, going: threading.Event = going) -> Iterator[Any]:
            yield from chunks(pb.PayloadsUploadRequest, payload, "kept", b"x" * size)
            going.set()
            threading.Event().wait(5)

        call = api.Payloads.Upload.call.future(endless())
        assert going.wait(10)
        site.wait(lambda: uploads(site), 10)
        call.cancel()
        site.wait(lambda: not uploads(site), 10)
    assert got(api, payload, "kept") == (0, b"whole")


def test_a_cancelled_download_ends_on_the_server(api: Api, payload: str, site: Site) -> None:
    put(api, payload, "big", b"x")
    # Far more than sender and receiver hold between them, however the windows grow.
    os.truncate(site.data / "payloads" / payload / "big", 1 << 30)
    assert site.process is not None
    descriptors = Path(f"/proc/{site.process.pid}/fd")

    def reading() -> bool:
        found = []
        for link in descriptors.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(str(link.readlink()))
        return any(payload in path for path in found)

    call = api.Payloads.Download.call(
        pb.PayloadsDownloadRequest(payload_id={"value": payload}, name="big"), timeout=30
    )
    next(call)
    # A reader that takes no more: the server waits, it does not gather.
    time.sleep(0.3)
    assert reading()
    call.cancel()
    site.wait(lambda: not reading(), 10)


def test_slow_readers_cost_no_memory(api: Api, payload: str, site: Site) -> None:
    put(api, payload, "big", b"x" * 60_000_000)
    assert site.process is not None
    status = Path(f"/proc/{site.process.pid}/status")

    def resident() -> int:
        line = next(t for t in status.read_text().splitlines() if t.startswith("VmRSS"))
        return int(line.split()[1])

    before = resident()
    request = pb.PayloadsDownloadRequest(payload_id={"value": payload}, name="big")
    calls = [api.Payloads.Download.call(request, timeout=30) for _ in range(8)]
    for call in calls:
        next(call)
    time.sleep(0.5)
    assert resident() - before < 120_000
    for call in calls:
        call.cancel()


def test_a_message_beyond_the_limit_is_refused(api: Api, payload: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        api.Payloads.Upload(
            payload_id={"value": payload}, details={"name": "a"}, data=b"x" * 6_000_000
        )
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert listed(api, payload) == []


def test_many_keys_at_once(api: Api, payload: str) -> None:
    many = {f"key {n}": "v" for n in range(100_000)}
    started = time.monotonic()
    answer = api.Payloads.AddMetadata(payload_id={"value": payload}, metadata=many)
    assert answer.header.code == 0
    assert len(answer.metadata) == 100_000
    again = api.Payloads.AddMetadata(payload_id={"value": payload}, metadata={"KEY 7": "v"})
    assert again.header.code == Code.EXISTS
    more = {f"more {n}": "v" * 100 for n in range(20_000)}
    over = api.Payloads.AddMetadata(payload_id={"value": payload}, metadata=more)
    assert over.header.code == Code.LIMIT
    put(api, payload, "a")
    put(api, payload, "b")
    assert listed(api, payload) == ["/a", "/b"]
    assert time.monotonic() - started < 20


def test_deletion_is_for_good(api: Api, payload: str, site: Site) -> None:
    put(api, payload, "a")
    assert api.Payloads.Delete(payload_id={"value": payload}).header.code == 0
    assert not (site.data / "payloads" / payload).exists()
    assert put(api, payload, "a").header.code == Code.NOT_FOUND
    assert got(api, payload, "a")[0] == Code.NOT_FOUND


def test_input_payloads_are_linked_in_order(
    api: Api, site: Site, definition: Callable[..., str]
) -> None:
    sources = [api.Payloads.Create().payload_id.value for _ in range(2)]
    put(api, sources[0], "x/a", b"one")
    put(api, sources[1], "x/b", b"two")
    pipeline = api.Pipelines.Create(definition={"content": definition("links")}).pipeline_id
    inputs = [{"value": each} for each in sources]
    job = api.Jobs.Create(pipeline_id=pipeline, name="links", input_payloads=inputs)
    assert job.header.code == 0
    # The reusable payload may go: the job has its own names for the files.
    for each in sources:
        assert api.Payloads.Delete(payload_id={"value": each}).header.code == 0
    assert listed(api, job.payload_id.value) == ["/input/x/a", "/input/x/b"]
    assert put(api, job.payload_id.value, "x/a", b"mine").header.code == 0
    assert got(api, job.payload_id.value, "input/x/a") == (0, b"mine")
    # A job's payload stays until the job has stopped.
    refused = api.Payloads.Delete(payload_id=job.payload_id)
    assert refused.header.code == Code.REFUSED
    assert api.Jobs.Cancel(job_id=job.job_id).job_state == 3
    assert api.Payloads.Delete(payload_id=job.payload_id).header.code == 0
    assert not (site.data / "payloads" / job.payload_id.value).exists()
