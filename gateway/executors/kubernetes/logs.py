"""The log of one container, copied into the operator's log file while it grows."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import urllib3

from gateway.executors.kubernetes.api import Cluster, ClusterError, NotThereError
from gateway.executors.kubernetes.status import time_of
from gateway.executors.logfile import LogFile

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0
_CHUNK = 1 << 16
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d) ")
_LONGEST_STAMP = 40


class Copy:
    """A thread that copies; it goes on where it was when the API server was away."""

    def __init__(self, cluster: Cluster, pod: str, container: str, path: Path) -> None:
        """Begin to copy into the file at ``path``, which is the thread's alone from now on."""
        self._cluster = cluster
        self._pod = pod
        self._container = container
        self._sink = LogFile(path)
        self._lines = _Lines()
        self._over = threading.Event()
        self._left = False
        self._thread = threading.Thread(target=self._run, name="container-log", daemon=True)
        self._thread.start()

    @property
    def last_line(self) -> str:
        """The last line that is not empty, so far."""
        return self._sink.last_line

    def end(self, patience: float) -> None:
        """The container ended: wait for what is still on its way, at most so many seconds."""
        self._over.set()
        self._thread.join(patience)

    def leave(self) -> None:
        """Write nothing more: somebody else copies from now on."""
        self._left = True
        self._over.set()

    def _run(self) -> None:
        try:
            while not self._tried() and not self._over.wait(_AGAIN_SECONDS):
                pass
            if self._over.is_set() and not self._left:
                # Once more: what was missed, after the copy broke off at the very end.
                self._tried()
        finally:
            self._sink.close()

    def _tried(self) -> bool:
        """Copy until the log ends; True when there is no more to come."""
        if self._lines.complete:
            return True
        try:
            since = self._lines.since()
            with self._cluster.log(self._pod, self._container, since) as answer:
                for piece in answer.stream(_CHUNK):
                    for text in self._lines.take(piece):
                        self._write(text)
            for text in self._lines.flush():
                self._write(text)
        except NotThereError:
            return True
        except (ClusterError, urllib3.exceptions.HTTPError, OSError) as error:
            log.debug("the log of a container broke off: %s", error)
            return False
        return True

    def _write(self, text: bytes) -> None:
        if not self._left:
            self._sink.write(text)


class _Lines:
    """Lines with the cluster's stamps taken off, none of them twice."""

    def __init__(self) -> None:
        self._rest = b""
        self._within = False
        self._last = b""
        """Stamp of the newest line, fit for comparing."""
        self._repeating = False
        self._skip = False

        self.complete = False
        """True once the log ended, and not only the connection."""

    def since(self) -> int | None:
        """How long ago the newest line was written, rounded up; what is older is not needed."""
        self._rest, self._within = b"", False
        if not self._last:
            return None
        self._repeating = True
        written = time_of(self._last[:19].decode() + "+00:00") or 0.0
        return max(1, math.ceil(time.time() - written) + 1)

    def take(self, data: bytes) -> Iterator[bytes]:
        """Texts of ``data`` without stamps, as soon as they are there."""
        self._rest += data
        while self._rest:
            if not self._within:
                if b" " not in self._rest and len(self._rest) < _LONGEST_STAMP:
                    return
                self._begin()
            head, newline, tail = self._rest.partition(b"\n")
            self._rest = tail
            self._within = not newline
            if not self._skip:
                yield head + newline

    def flush(self) -> Iterator[bytes]:
        """What is left at the end."""
        self.complete = True
        if self._rest:
            rest, self._rest = self._rest, b""
            yield rest

    def _begin(self) -> None:
        """Take the stamp off; skip lines that were there before the copy broke off."""
        self._within = True
        match = _STAMP.match(self._rest)
        if match is None:
            self._skip = False
            return
        self._rest = self._rest[match.end() :]
        stamp = match[1] + (match[2] or b".").ljust(10, b"0")
        self._skip = self._repeating and stamp <= self._last
        if not self._skip:
            self._last, self._repeating = stamp, False
