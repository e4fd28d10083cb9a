"""Callers that mean harm or are broken: clear errors, and a gateway that is afterwards as before.

Each test holds the process to what it had: memory, descriptors, threads, files.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.platform.errors import Code
from gateway.platform.wire import models_pb2, payloads_pb2, pipelines_pb2
from tests.support.clara import Api, chunks
from tests.support.databases import on_postgres
from tests.support.site import Site

MIB = 1024 * 1024
THREADS = 32
POOL = 64
"""Most connections that the gateway keeps to PostgreSQL."""
CREATE = pipelines_pb2.PipelinesCreateRequest
UPDATE = pipelines_pb2.PipelinesUpdateRequest
UPLOAD = payloads_pb2.PayloadsUploadRequest


class Watch:
    """What the gateway's process holds."""

    def __init__(self, site: Site) -> None:
        assert site.process is not None
        self._site = site
        self._proc = Path(f"/proc/{site.process.pid}")
        self._proc.joinpath("clear_refs").write_text("5")
        self.before = self.now()

    def now(self) -> Counter[str]:
        """Open files, sockets and the like, threads, and files on their way in: how many each."""
        found: Counter[str] = Counter()
        for link in (self._proc / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found[re.sub(r"\d+", "N", str(link.readlink()))] += 1
        for name in [name for name in found if "gateway.db" in name]:
            # The database keeps a few connections open for the next call.
            del found[name]
        found["threads"] = len(list((self._proc / "task").iterdir()))
        found["uploads"] = len(list((self._site.data / "uploads").iterdir()))
        return found

    def megabytes(self, *, highest: bool = False) -> float:
        """What is resident, now or the highest since this watch began."""
        wanted = "VmHWM:" if highest else "VmRSS:"
        lines = (self._proc / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(wanted)).split()[1]) / 1024

    def settle(self, seconds: float = 30) -> None:
        """Wait until nothing is left."""
        # A thread that served a call waits for the next one, up to the most calls at once.
        allowed = self.before + Counter(threads=THREADS)
        if on_postgres():
            allowed["socket:[N]"] += POOL
        deadline = time.monotonic() + seconds
        while left := self.now() - allowed:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


@pytest.fixture
def watch(site: Site, api: Api) -> Watch:
    # What any first call makes for good is no leftover.
    for _ in range(3):
        list(api.Pipelines.List())
    return Watch(site)


@pytest.fixture
def payload(api: Api) -> str:
    found: str = api.Payloads.Create().payload_id.value
    return found


def pipelines(api: Api) -> set[str]:
    return {answer.details.name for answer in api.Pipelines.List()}


@pytest.mark.parametrize("method", ["Create", "Update"])
def test_a_definition_of_a_gigabyte_is_refused_early(
    api: Api, definition: Callable[..., str], watch: Watch, site: Site, method: str
) -> None:
    mine = api.Pipelines.Create(definition={"content": definition(f"giant-{method.lower()}")})
    request = CREATE if method == "Create" else UPDATE
    message = request(
        pipeline_id=mine.pipeline_id if method == "Update" else None,
        definition={"path": "giant.yaml", "content": "# " + "x" * (MIB - 2)},
    )
    before, taken = watch.megabytes(), 0

    def giant() -> Iterator[Any]:
        nonlocal taken
        for _ in range(1024):
            taken += 1
            yield message

    answer = getattr(api.Pipelines, method).call(giant(), timeout=30)
    assert answer.header.code == Code.LIMIT
    assert "1048576 bytes" in answer.header.messages[0]
    assert taken < 40
    assert watch.megabytes(highest=True) - before < 100
    watch.settle()


def test_a_definition_of_endless_small_files_is_refused_early(api: Api, watch: Watch) -> None:
    taken = 0

    def endless() -> Iterator[Any]:
        nonlocal taken
        while True:
            taken += 1
            yield CREATE(definition={"path": f"{taken}.yaml", "content": "a: 1"})

    answer = api.Pipelines.Create.call(endless(), timeout=30)
    assert answer.header.code == Code.LIMIT
    assert taken < 100_000


BOMBS = {
    "aliases": "a: &a [x, x]\n"
    + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefghijklm", "bcdefghijklmn", strict=True)
    ),
    "merges": "a: &a {x: 1}\n"
    + "".join(
        f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n"
        for old, new in zip("abcdefghijklm", "bcdefghijklmn", strict=True)
    ),
    "itself": "a: &a [*a]\nname: *a\n",
    "deep lists": "name: " + "[" * 100_000,
    "deep maps": "name: " + "{a: " * 100_000,
    "deep blocks": "\n".join(" " * n + "a:" for n in range(1200)),
    "many operators": "api-version: 0.4.0\nname: x\noperators: [" + "{}, " * 100_000 + "]",
    "many keys": "{" + ", ".join(f"k{n}: 1" for n in range(60_000)) + "}",
    "long number": "api-version: 0.4.0\nname: x\noperators:\n- {name: a, import: 1" + "0" * 500_000,
    "date": "name: 9999-99-99\n",
    "tag": "name: !!python/object/apply:os.system [id]\n",
    "templates": "api-version: 0.4.0\nname: ${{" + "a${{" * 100_000,
    "nothing": "",
    "not text": "\ufffe\x85\u2028",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_definition_that_would_blow_up_does_not(
    api: Api, watch: Watch, site: Site, kind: str
) -> None:
    known, before, started = pipelines(api), watch.megabytes(), time.monotonic()
    answer = api.Pipelines.Create(definition={"path": "bomb.yaml", "content": BOMBS[kind]})
    assert answer.header.code in (Code.INVALID, Code.LIMIT), answer
    assert 1 <= len(answer.header.messages) <= 50
    assert sum(map(len, answer.header.messages)) < 100_000
    assert time.monotonic() - started < 60
    assert watch.megabytes(highest=True) - before < 200
    assert pipelines(api) == known
    watch.settle()


def test_metadata_beyond_all_measure_changes_nothing(
    api: Api, payload: str, definition: Callable[..., str], watch: Watch, site: Site
) -> None:
    keys = {f"key {n}": "v" for n in range(100_000)}
    alike = {"".join(c.upper() if n >> i & 1 else c for i, c in enumerate("abcdefghijklmnop")): ""
             for n in range(50_000)}  # fmt: skip
    text = definition("hostile-metadata")
    known = pipelines(api)
    one = api.Pipelines.Create(definition={"content": definition("hostile-base")}).pipeline_id
    job = api.Jobs.Create(pipeline_id=one, name="mine").job_id
    before = watch.megabytes()
    for _ in range(3):
        refused = [
            (Code.EXISTS, api.Payloads.Create(metadata=alike)),
            (Code.EXISTS, api.Jobs.Create(pipeline_id=one, name="many", metadata=alike)),
            (Code.EXISTS, api.Pipelines.Create(definition={"content": text}, metadata=alike)),
            (Code.EXISTS, api.Payloads.AddMetadata(payload_id={"value": payload}, metadata=alike)),
            (Code.EXISTS, api.Jobs.AddMetadata(job_id=job, metadata=alike)),
            (Code.INVALID, api.Jobs.AddMetadata(job_id=job, metadata={**keys, "a\0b": "v"})),
            (Code.LIMIT, api.Jobs.AddMetadata(job_id=job, metadata={**keys, "x" * 129: "v"})),
            (Code.LIMIT, api.Jobs.AddMetadata(job_id=job, metadata={**keys, "x": "v" * 257})),
        ]
        assert [answer.header.code for _, answer in refused] == [code for code, _ in refused]
    # Removing what is not there is no error, however much of it.
    gone = api.Jobs.RemoveMetadata(job_id=job, keys=list(keys))
    assert gone.header.code == 0
    assert dict(api.Jobs.Status(job_id=job).metadata) == {}
    assert pipelines(api) == known | {"hostile-base"}
    assert watch.megabytes() - before < 150
    watch.settle()


NAMES = {
    "../x": Code.INVALID, "a/../../x": Code.INVALID, "a/..": Code.INVALID, "..": Code.INVALID,
    "a\0b": Code.INVALID, "a\nb": Code.INVALID, "/": Code.INVALID, "": Code.INVALID,
    "x" * 256: Code.LIMIT, "a/" * 512 + "b": Code.LIMIT, "a/" * 65 + "b": Code.LIMIT,
    "\N{LATIN SMALL LETTER E WITH ACUTE}" * 200: Code.LIMIT,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_name_is_refused_by_every_call_that_takes_one(
    api: Api, payload: str, watch: Watch, site: Site, name: str
) -> None:
    owner = {"value": payload}
    answers = [
        api.Payloads.Upload(*chunks(UPLOAD, payload, name, b"data")),
        next(api.Payloads.Download(payload_id=owner, name=name)),
        api.Payloads.Remove(payload_id=owner, name=name),
    ]
    assert {answer.header.code for answer in answers} == {NAMES[name]}
    assert list((site.data / "payloads" / payload).iterdir()) == []
    watch.settle()


def test_an_absolute_name_stays_within(api: Api, payload: str, site: Site) -> None:
    answer = api.Payloads.Upload(*chunks(UPLOAD, payload, "/etc/passwd", b"mine"))
    assert (answer.header.code, answer.details.name) == (0, "/etc/passwd")
    assert (site.data / "payloads" / payload / "etc" / "passwd").read_bytes() == b"mine"


def test_cancelled_streams_leave_nothing(
    api: Api, payload: str, site: Site, watch: Watch, definition: Callable[..., str]
) -> None:
    """Every stream, let go of at every stage, many times over."""
    api.Payloads.Upload(*chunks(UPLOAD, payload, "big", b"x" * 8 * MIB, MIB))
    known, before = pipelines(api), watch.megabytes()
    release = threading.Event()

    def stalled(messages: list[Any], number: int) -> Iterator[Any]:
        yield from messages[:number]
        release.wait(60)

    part = [*chunks(UPLOAD, payload, "part", b"x" * 5 * MIB, MIB)]
    text = definition("cancelled")
    files = [CREATE(definition={"path": f"{n}.yaml", "content": text}) for n in range(5)]
    model = [
        models_pb2.ModelsUploadModelRequest(details={"name": "cancelled"}, data=b"x" * MIB)
        for _ in range(5)
    ]
    owner = payloads_pb2.PayloadsDownloadRequest(payload_id={"value": payload}, name="big")
    for number in range(30):
        calls = [
            api.Payloads.Upload.call.future(stalled(part, number % 6)),
            api.Pipelines.Create.call.future(stalled(files, number % 6)),
            api.Models.UploadModel.call.future(stalled(model, number % 6)),
            api.Payloads.Download.call(owner),
        ]
        next(calls[-1])
        for call in calls:
            call.cancel()
    release.set()
    watch.settle()
    assert watch.megabytes() - before < 100
    assert pipelines(api) == known
    assert [a.file.name for a in api.Payloads.Details(payload_id={"value": payload})] == ["/big"]
    models = {model.name for answer in api.Models.ListModels() for model in answer.models}
    assert "cancelled" not in models


def test_readers_that_take_nothing_hold_up_nobody(
    api: Api, payload: str, site: Site, watch: Watch
) -> None:
    """Of every stream that the gateway sends: it waits, gathers nothing, and serves the others."""
    api.Payloads.Upload(*chunks(UPLOAD, payload, "big", b"x" * 32 * MIB, MIB))
    for number in range(300):
        name = f"{number:03}/" + "long name " * 20
        assert api.Payloads.Upload(*chunks(UPLOAD, payload, name, b"x")).header.code == 0
    before = watch.megabytes()
    owner = {"value": payload}
    with grpc.insecure_channel(f"127.0.0.1:{site.ports['grpc']}") as other:
        slow = Api(other)
        calls = []
        for _ in range(8):
            calls += [
                slow.Payloads.Download(payload_id=owner, name="big", timeout=120),
                slow.Payloads.Details(payload_id=owner, timeout=120),
                slow.Clara.Utilization(watch=True, timeout=120),
            ]
        for call in calls[:2]:
            next(call)
        started = time.monotonic()
        for _ in range(10):
            assert api.Clara.Version().header.code == 0
            assert api.Payloads.Create().header.code == 0
        assert time.monotonic() - started < 60
        assert watch.megabytes(highest=True) - before < 120
    watch.settle()
