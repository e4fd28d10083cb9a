"""Evaluating rules in a process of their own, with a deadline.

The process is long-lived and started when it is first needed.  One that exceeds the deadline is
killed and the next request starts another; one that was killed from outside is replaced and asked
again, so its death costs time and no decision.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.routing.channel import Channel, Closed
from gateway.routing.errors import WorkerError

log = logging.getLogger(__name__)

SECONDS = 5.0
"""Default deadline for all rules of one payload."""
START_SECONDS = 30.0
"""Longest wait for a fresh process to say that it is ready."""
DEADLINE = "deadline"
"""How the error of a rule begins that was not evaluated in time."""

_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")


@dataclass(frozen=True)
class Verdict:
    """The answer for one rule; ``error`` when there is none.

    ``when``, ``select`` and ``prefer`` are as :mod:`gateway.routing.evaluation` describes them.
    """

    when: Sequence[Any] | None = None
    select: Sequence[Sequence[Any]] | None = None
    prefer: Sequence[Sequence[Any] | None] | None = None
    error: str | None = None
    elapsed_ms: float = 0.0


class Engine:
    """Evaluates the rules of one payload at a time; every method may be called from any thread."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def evaluate(self, requests: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        """One verdict per request, within the deadline for all of them together.

        Each rule may use its share of what is left, so that one that hangs does not take the
        others with it.  Raises :class:`WorkerError` when no process can be started.
        """
        with self._lock:
            left = self._seconds
            verdicts = []
            for index, request in enumerate(requests):
                verdict = self._one(request, left / (len(requests) - index))
                left = max(left - verdict.elapsed_ms / 1000, 0.01)
                verdicts.append(verdict)
            return verdicts

    def warm(self) -> None:
        """Start the process, so that the first study need not wait for it.

        One that cannot be started is tried again, and complained of, when it is needed.
        """
        with self._lock, contextlib.suppress(WorkerError):
            self._running()

    @property
    def pid(self) -> int | None:
        """The process that evaluates, None while there is none."""
        process = self._process
        return process.pid if process else None

    def close(self) -> None:
        """End the process; a later :meth:`evaluate` starts another."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        """Return the engine itself; nothing is started yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _one(self, request: Mapping[str, Any], seconds: float) -> Verdict:
        elapsed = 0.0
        for attempt in (1, 2):
            process = self._running()
            begun = time.monotonic()
            try:
                answer = process.ask(request, max(seconds - elapsed, 0.01))
            except TimeoutError:
                self._drop()
                log.warning("a rule exceeded its deadline", extra={"seconds": round(seconds, 2)})
                return Verdict(
                    error=f"{DEADLINE}: not evaluated within {seconds:.2g} s",
                    elapsed_ms=(elapsed + time.monotonic() - begun) * 1000,
                )
            except Closed:
                elapsed += time.monotonic() - begun
                self._drop()
                log.warning("the rule process died", extra={"attempt": attempt})
                continue
            elapsed += time.monotonic() - begun
            return Verdict(**answer, elapsed_ms=elapsed * 1000)
        return Verdict(
            error="the evaluation ended its process twice; does the expression need much memory?",
            elapsed_ms=elapsed * 1000,
        )

    def _running(self) -> _Process:
        if self._process is None:
            self._process = _Process()
        return self._process

    def _drop(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


class _Process:
    """One evaluating process and the channel to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        root = Path(__file__).resolve().parents[2]
        # Nothing of the gateway's environment that may hold a secret reaches the process.
        environment = {k: os.environ[k] for k in _KEPT_ENVIRONMENT if k in os.environ}
        try:
            with theirs:
                self._popen = subprocess.Popen(
                    [sys.executable, "-P", "-m", "gateway.routing.worker", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment | {"PYTHONPATH": str(root)},
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            self._channel.close()
            raise WorkerError(f"the rule process cannot be started: {error}") from error
        try:
            self._channel.receive(time.monotonic() + START_SECONDS)
        except (Closed, TimeoutError) as error:
            self.end()
            raise WorkerError(f"the rule process does not start: {error}") from error

    @property
    def pid(self) -> int:
        return self._popen.pid

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        until = time.monotonic() + seconds
        self._channel.send({"seconds": seconds, "request": request}, until)
        answer: dict[str, Any] = self._channel.receive(until)
        return answer

    def end(self) -> None:
        """Kill the process (it holds nothing that could be lost) and reap it."""
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            self._popen.kill()
        self._popen.wait()
