"""Generates jobs through the platform API, as Clara's ``cpload`` does."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from google.protobuf.message import Message

from gateway.errors import GatewayError, Refused
from gateway.load.plan import Piece
from gateway.load.report import Outcome
from gateway.platform.wire import jobs_pb2, payloads_pb2, pipelines_pb2

PRIORITIES = {
    "low": jobs_pb2.JOB_PRIORITY_LOWER,
    "lower": jobs_pb2.JOB_PRIORITY_LOWER,
    "normal": jobs_pb2.JOB_PRIORITY_NORMAL,
    "high": jobs_pb2.JOB_PRIORITY_HIGHER,
    "higher": jobs_pb2.JOB_PRIORITY_HIGHER,
    "immediate": jobs_pb2.JOB_PRIORITY_IMMEDIATE,
}
"""The words of ``cpload`` and those of the gateway."""
PREFIX = "cpload"
CHUNK = 64 * 1024
LOOK_SECONDS = 0.25
"""How often is asked which jobs have ended: the ends are known no more exactly than this."""

_IDENTIFIER = re.compile(r"\{?[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}\}?")


class Caller(Protocol):
    """Calls the platform API; raises :class:`GatewayError` for every fault.  Any thread."""

    def send(self, method: str, requests: Iterable[Message]) -> Any:
        """The answer of ``Service.Method`` to one request or a stream of them."""

    def stream(self, method: str, request: Message) -> Iterator[Any]:
        """The answers of ``Service.Method`` one by one."""


@dataclass(frozen=True)
class Source:
    """The input of one job: files and the names they get in the payload."""

    files: Sequence[tuple[Path, str]] = ()


def sources(path: Path | None, *, recurse: bool) -> list[Source]:
    """What jobs are made of, as ``cpload`` reads its data path.

    None: jobs without input.  A file: that file each time.  A folder: each entry is the input of
    one job; folders in it count only with ``recurse``.  Raises :class:`Refused`.
    """
    if path is None:
        return [Source()]
    if path.is_file():
        if recurse:
            raise Refused(f"{path} is a file: there is nothing below it to recurse into")
        return [Source([(path, path.name)])]
    if not path.is_dir():
        raise Refused(f"{path} is not there")
    found = []
    for entry in sorted(path.iterdir()):
        if entry.is_file():
            found.append(Source([(entry, entry.name)]))
        elif entry.is_dir() and recurse:
            found.append(Source(list(_below(entry))))
    if not found:
        hint = "" if recurse else " (folders in it count only with --recurse)"
        raise Refused(f"{path} holds no input{hint}")
    return found


def _below(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.relative_to(folder).as_posix()


def pipeline_id(caller: Caller, wanted: str) -> str:
    """The identifier of a pipeline given by it or by its name; raises :class:`Refused`."""
    if _IDENTIFIER.fullmatch(wanted):
        return wanted
    request = pipelines_pb2.PipelinesListRequest()
    for answer in caller.stream("Pipelines.List", request):
        if answer.details.name == wanted:
            return str(answer.details.pipeline_id.value)
    raise Refused(f"there is no pipeline {wanted!r}")


class JobGenerator:
    """Creates, fills and starts jobs; any thread."""

    def __init__(
        self, caller: Caller, name: str, pipeline: str, inputs: Sequence[Source], *, numbered: bool
    ) -> None:
        """Jobs are called ``cpload-<name>``, with ``-<n>`` behind it when ``numbered``."""
        self._caller = caller
        self._name = f"{PREFIX}-{name}"
        self._pipeline = pipeline
        self._inputs = inputs
        self._numbered = numbered
        self._lock = threading.Lock()
        self._started: dict[str, float] = {}

    def prepare(self, piece: Piece) -> Callable[[], Outcome]:
        """There is nothing to do before its time."""
        return lambda: self._generate(piece)

    def _generate(self, piece: Piece) -> Outcome:
        times: dict[str, Sequence[float]] = {}
        began = time.perf_counter()
        size = 0
        try:
            job, payload = self._create(piece)
            times["create"] = [(mark := time.perf_counter()) - began]
            files = self._inputs[piece.source].files
            for path, name in files:
                size += self._upload(payload, path, name)
            if files:
                times["upload"] = [time.perf_counter() - mark]
                mark = time.perf_counter()
            self._start(job)
            times["start"] = [time.perf_counter() - mark]
        except GatewayError as error:
            return Outcome(times, size, str(error).splitlines()[0])
        except OSError as error:
            return Outcome(times, size, f"an input cannot be read: {error.strerror}")
        times["whole"] = [time.perf_counter() - began]
        return Outcome(times, size)

    def _create(self, piece: Piece) -> tuple[str, str]:
        request = jobs_pb2.JobsCreateRequest(
            pipeline_id={"value": self._pipeline},
            name=f"{self._name}-{piece.number}" if self._numbered else self._name,
            priority=PRIORITIES[piece.priority],
        )
        answer = self._caller.send("Jobs.Create", [request])
        return answer.job_id.value, answer.payload_id.value

    def _upload(self, payload: str, path: Path, name: str) -> int:
        sent = 0

        def chunks() -> Iterator[Message]:
            nonlocal sent
            with path.open("rb", buffering=0) as file:
                # An empty file is one message, too.
                data = file.read(CHUNK)
                while data or not sent:
                    yield payloads_pb2.PayloadsUploadRequest(
                        payload_id={"value": payload},
                        details={"name": name, "size": len(data)},
                        data=data,
                    )
                    sent += len(data)
                    if not (data := file.read(CHUNK)):
                        return

        # Opened here first: gRPC tells nothing of what went wrong while it took the messages.
        path.open("rb").close()
        self._caller.send("Payloads.Upload", chunks())
        return sent

    def _start(self, job: str) -> None:
        request = jobs_pb2.JobsStartRequest(job_id={"value": job})
        self._caller.send("Jobs.Start", [request])
        with self._lock:
            self._started[job] = time.perf_counter()

    def wait(
        self, seconds: float, on_look: Callable[[int], None] | None = None
    ) -> tuple[Counter[str], list[float]]:
        """Wait at most ``seconds`` until the started jobs have ended.

        Gives how many ended with each status (``UNFINISHED`` for those that did not) and the
        seconds from each start to its end as seen from here.  ``on_look`` hears how many ended.
        """
        left, took = dict(self._started), list[float]()
        ends: Counter[str] = Counter()
        deadline = time.perf_counter() + seconds
        while left:
            moving = self._moving()
            now = time.perf_counter()
            for job in [job for job in left if job not in moving]:
                ends[self._status(job)] += 1
                took.append(now - left.pop(job))
            if on_look is not None:
                on_look(len(took))
            if left and now >= deadline:
                ends["UNFINISHED"] = len(left)
                break
            if left:
                time.sleep(LOOK_SECONDS)
        return ends, took

    def _moving(self) -> set[str]:
        """Every job of the gateway that has not stopped."""
        states = [jobs_pb2.JOB_STATE_PENDING, jobs_pb2.JOB_STATE_RUNNING]
        request = jobs_pb2.JobsListRequest(filter={"has_state": states})
        return {
            answer.job_details.job_id.value
            for answer in self._caller.stream("Jobs.List", request)
            if answer.HasField("job_details")
        }

    def _status(self, job: str) -> str:
        request = jobs_pb2.JobsStatusRequest(job_id={"value": job})
        status: int = self._caller.send("Jobs.Status", [request]).status
        return jobs_pb2.JobStatus.Name(status).removeprefix("JOB_STATUS_")
