"""The engine of ``gateway send``: folders in, instances out, several associations if wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.dicom.errors import NotDicom
from gateway.dicom.files import Instance, find, read_instance
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.peer import Peer
from gateway.dicom.scu import SendOutcome, Sent, StoreScu
from gateway.errors import GatewayError


@dataclass(frozen=True)
class Progress:
    """Where a transfer stands; given to the callback after each instance."""

    total: int
    done: int
    total_bytes: int
    done_bytes: int
    latest: Sent


@dataclass
class Summary:
    """How a transfer ended."""

    total: int = 0
    bytes: int = 0
    seconds: float = 0.0
    success: int = 0
    warnings: list[Sent] = field(default_factory=list)
    failures: list[Sent] = field(default_factory=list)
    """Refused by status or by context, or not readable any more."""
    skipped: list[Path] = field(default_factory=list)
    """Files that hold no DICOM instance."""
    unsent: list[Path] = field(default_factory=list)
    """Instances without an answer because an association could not be opened or broke."""
    errors: list[GatewayError] = field(default_factory=list)
    """Why associations could not be opened or broke."""

    @property
    def complete(self) -> bool:
        """Whether the peer has every instance."""
        return not (self.failures or self.unsent or self.errors) and self.total > 0


def send(
    paths: Iterable[Path],
    peer: Peer,
    progress: Callable[[Progress], None] | None = None,
    *,
    associations: int = 1,
    timeouts: RequestorTimeouts | None = None,
) -> Summary:
    """Send every DICOM instance in ``paths`` (files and folders) to ``peer``.

    ``progress`` is called from the sending threads, one call at a time.  Never raises for a
    peer's fault: the summary says what was not sent and why.
    """
    summary = Summary()
    instances = _look(paths, summary)
    summary.total = len(instances)
    job = _Transfer(_Target(peer, timeouts), instances, summary, progress)
    began = time.perf_counter()
    count = max(1, associations)
    shares = [instances[i::count] for i in range(count)]
    threads = [
        threading.Thread(target=job.run, args=(share,), name=f"dicom-send-{i}")
        for i, share in enumerate(shares[1:], 1)
        if share
    ]
    for thread in threads:
        thread.start()
    job.run(shares[0])
    for thread in threads:
        thread.join()
    summary.seconds = time.perf_counter() - began
    return summary


@dataclass(frozen=True)
class _Target:
    """Whom to send to and how patiently."""

    peer: Peer
    timeouts: RequestorTimeouts | None


class _Transfer:
    """Counts the results of several sending threads."""

    def __init__(
        self,
        settings: _Target,
        instances: Sequence[Instance],
        summary: Summary,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._settings = settings
        self._sizes = {instance.path: instance.length for instance in instances}
        self._total_bytes = sum(self._sizes.values())
        self._summary = summary
        self._progress = progress
        self._done = 0
        self._done_bytes = 0
        self._lock = threading.Lock()

    def run(self, instances: Sequence[Instance]) -> None:
        """Send one share over its own association."""
        left = dict.fromkeys(instance.path for instance in instances)
        scu = StoreScu(self._settings.peer, timeouts=self._settings.timeouts)
        try:
            for sent in scu.send_instances(instances):
                left.pop(sent.path, None)
                self._note(sent)
        except GatewayError as error:
            with self._lock:
                self._summary.errors.append(error)
                self._summary.unsent.extend(left)

    def _note(self, sent: Sent) -> None:
        with self._lock:
            size = self._sizes[sent.path]
            self._done += 1
            self._done_bytes += size
            if sent.stored:
                self._summary.bytes += size
            if sent.outcome is SendOutcome.SUCCESS:
                self._summary.success += 1
            elif sent.outcome is SendOutcome.WARNING:
                self._summary.warnings.append(sent)
            else:
                self._summary.failures.append(sent)
            if self._progress is not None:
                self._progress(
                    Progress(
                        len(self._sizes), self._done, self._total_bytes, self._done_bytes, sent
                    )
                )


def _look(paths: Iterable[Path], summary: Summary) -> list[Instance]:
    """Look into every file once; what is no DICOM instance is skipped and listed."""
    found: dict[Path, Instance] = {}
    for path in find(paths):
        try:
            found[path] = read_instance(path)
        except NotDicom:
            summary.skipped.append(path)
        except OSError as error:
            why = str(error)
            summary.failures.append(Sent(path, "", "", None, why, SendOutcome.FAILURE))
    return list(found.values())
