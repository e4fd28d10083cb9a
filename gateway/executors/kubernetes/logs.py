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
_LONGEST_LINE = 1 << 20
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d) ")


class Copy:
    """A thread that copies; it goes on where it was when the API server was away."""

    def __init__(self, cluster: Cluster, pod: str, container: str, path: Path) -> None:
        """Begin to copy into the file at ``path``."""
        self._cluster = cluster
        self._pod = pod
        self._container = container
        self._sink = LogFile(path)
        self._lines = Lines()
        self._lock = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._follow, name="container-log", daemon=True).start()

    @property
    def last_line(self) -> str:
        """The last line that is not empty, so far."""
        return self._sink.last_line

    def end(self, patience: float) -> None:
        """The container ended: copy what is left, trying at most so many seconds."""
        deadline = time.monotonic() + patience
        with self._lock:
            if self._over.is_set():
                return
            # A node takes seconds to end the stream of a container that ended.
            self._over.set()
        while not self._copied(follow=False) and time.monotonic() < deadline:
            time.sleep(_AGAIN_SECONDS)
        self._sink.close()

    def leave(self) -> None:
        """Write nothing more: somebody else copies from now on."""
        with self._lock:
            if not self._over.is_set():
                self._over.set()
                self._sink.close()

    def _follow(self) -> None:
        while not self._copied(follow=True):
            if self._over.wait(_AGAIN_SECONDS):
                return

    def _copied(self, *, follow: bool) -> bool:
        """Copy until the log ends; True when all of it was there."""
        with self._lock:
            since = self._lines.again()
        try:
            with self._cluster.log(
                self._pod, self._container, since_seconds=since, follow=follow
            ) as answer:
                for piece in answer.stream(_CHUNK):
                    if not self._take(piece, follow=follow):
                        return True
            return self._take(None, follow=follow)
        except NotThereError:
            return True
        except (ClusterError, urllib3.exceptions.HTTPError, OSError) as error:
            log.debug("the log of a container broke off: %s", error)
            return False

    def _take(self, piece: bytes | None, *, follow: bool) -> bool:
        """Write what came, None = it ended; False when somebody else does by now."""
        with self._lock:
            if follow and self._over.is_set():
                return False
            for text in self._lines.rest() if piece is None else self._lines.take(piece):
                self._sink.write(text)
        return True


class Lines:
    """Lines with the cluster's stamps taken off, none of them twice.  One thread at a time."""

    def __init__(self) -> None:
        self._rest = b""
        self._last = b""
        """Stamp of the newest line, fit for comparing."""
        self._repeating = False

    def again(self) -> int | None:
        """The log is read anew: how long ago the newest line was written, rounded up.

        None = it is read from its beginning.
        """
        self._rest = b""
        if not self._last:
            return None
        self._repeating = True
        written = time_of(self._last[:19].decode() + "+00:00") or 0.0
        return max(1, math.ceil(time.time() - written) + 1)

    def take(self, data: bytes) -> Iterator[bytes]:
        """The texts of whole lines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from self._text(line + b"\n")
        if len(self._rest) > _LONGEST_LINE:
            yield from self.rest()

    def rest(self) -> Iterator[bytes]:
        """The text of a line that has no end."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._text(rest)

    def _text(self, line: bytes) -> Iterator[bytes]:
        match = _STAMP.match(line)
        if match is None:
            yield line
            return
        stamp = match[1] + (match[2] or b".").ljust(10, b"0")
        if self._repeating and stamp <= self._last:
            return
        self._last, self._repeating = stamp, False
        yield line[match.end() :]
