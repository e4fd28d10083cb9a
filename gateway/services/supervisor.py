"""One service: started, watched, started again when it dies, ended when it is not wanted."""

from __future__ import annotations

import contextlib
import http.client
import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import GatewayError, Permanent
from gateway.services import triton
from gateway.services.errors import ServiceFault, ServiceLost
from gateway.services.records import Condition, Records
from gateway.services.running import Life, Runner, Running
from gateway.services.spec import Spec

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.1
"""Between two looks whether it still runs."""
_PROBE_SECONDS = 2.0
"""Longest wait for the answer of one probe."""
_NOTICED_SECONDS = 5.0
"""Until its death is noticed by all."""
_HEALTH_SECONDS = 5.0
"""Between two probes of a service that is ready."""
_DEAF = 6
"""Probes in a row without an answer after which it is taken for dead."""
_MOST_FAILURES = 5
"""Deaths in a row, soon after it was ready, after which it is given up."""
_MOST_VAIN = 3
"""Starts in a row after which one that never was ready is given up."""
_STEADY_SECONDS = 60.0
"""A service that was ready for so long has not failed."""
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.25, 30.0


@dataclass(frozen=True)
class Care:
    """How a keeper looks after a service."""

    runner: Runner
    records: Records
    start_seconds: float
    renew: Callable[[Running], None]
    """Called when it is up, before it is called ready; raises GatewayError when that fails."""
    over: Callable[[bool], None]
    """Called at its end: True when nothing of it is left."""


class Supervisor:
    """A thread that cares for one service from its first start to its end."""

    def __init__(self, care: Care, life: Life) -> None:
        self.life = life
        self._care = care
        self._changed = threading.Condition()
        self._running: Running | None = None
        self._deaths = 0
        self._why = "it was not started yet"
        self._fault: GatewayError | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"service-{life.spec.service.name[:24]}", daemon=True
        )

    @property
    def spec(self) -> Spec:
        """What it runs."""
        return self.life.spec

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """Begin to end it."""
        self._stopping.set()

    def join(self, timeout: float) -> bool:
        """Wait until nothing of it is left."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """False when it ended or was given up: whoever needs it needs another."""
        return self._thread.is_alive() and self._fault is None and not self._stopping.is_set()

    @property
    def deaths(self) -> int:
        """How often it died after it was ready."""
        return self._deaths

    def running(self) -> Running | None:
        """Its program, while it is ready."""
        return self._running

    def last_words(self) -> str:
        """How it died last."""
        return self._why

    def died_since(self, deaths: int) -> str | None:
        """How it died after it had died ``deaths`` times, or None.

        An operator may end sooner than its service's death is noticed, so it is asked.
        """
        running = self._running
        if self._deaths == deaths and running is not None and answers(self.spec, running):
            return None
        with self._changed:
            self._changed.wait_for(
                lambda: self._deaths > deaths or not self.alive, _NOTICED_SECONDS
            )
        if self._deaths == deaths and self.alive:
            return "did not answer"
        return self._why

    def wait_ready(self, timeout: float) -> bool:
        """Wait until it is ready; :class:`GatewayError` when it was given up or is ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._running is not None or not self.alive, timeout)
            if self._fault is not None:
                raise self._fault
            if not self.alive:
                raise ServiceLost(f"the service {self.spec.service.name} is being stopped")
            return self._running is not None

    def _run(self) -> None:
        try:
            self._care_for()
        except Exception as error:  # a thread's boundary: those who wait must hear of it
            log.exception("a service's thread failed", extra={"service": self.life.id})
            self._give_up(ServiceLost(f"the gateway failed ({type(error).__name__})"))
        finally:
            self._tidy()

    def _care_for(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            since = time.monotonic()
            try:
                why, ready_for = self._live()
            except Permanent as error:
                self._give_up(error)
                return
            except GatewayError as error:
                why, ready_for = str(error), 0.0
                self._why = why
            if self._stopping.is_set():
                return
            failures = 1 if ready_for > _STEADY_SECONDS else failures + 1
            name = self.spec.service.name
            log.warning("the service %s %s", name, why, extra={"service": self.life.id})
            if failures >= (_MOST_FAILURES if self._deaths else _MOST_VAIN):
                self._give_up(
                    ServiceFault(f"the service {name} {why}; given up after {failures} starts")
                )
                return
            self._record(state=Condition.RESTARTING, reason=why, ready_at=None)
            pause = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 4.0 ** (failures - 1))
            self._stopping.wait(max(0.0, pause - (time.monotonic() - since)))

    def _live(self) -> tuple[str, float]:
        """One start and what came of it: how it ended, and how long it had been ready."""
        running = self._care.runner.start(self.life)
        since = 0.0
        why: str | None = None
        try:
            why = self._await_ready(running)
            if why is None:
                since = time.monotonic()
                self._announce(running)
                why = self._watch(running)
        finally:
            self._hide(since > 0, why or "was ended")
            running.stop()
        return why, time.monotonic() - since if since else 0.0

    def _await_ready(self, running: Running) -> str | None:
        """Wait until it answers; why it did not, or None."""
        deadline = time.monotonic() + self._care.start_seconds
        while not answers(self.spec, running):
            if (how := running.ended()) is not None:
                return how
            if self._stopping.wait(WATCH_SECONDS):
                return "was ended"
            if time.monotonic() > deadline:
                return f"was not ready within {self._care.start_seconds:g} seconds"
        try:
            self._care.renew(running)
        except GatewayError as error:
            return str(error)
        return None

    def _watch(self, running: Running) -> str:
        """Wait for its end; how it came."""
        deaf = 0
        probe_at = time.monotonic() + _HEALTH_SECONDS
        while not self._stopping.wait(WATCH_SECONDS):
            if (how := running.ended()) is not None:
                return how
            if time.monotonic() >= probe_at:
                deaf = 0 if answers(self.spec, running) else deaf + 1
                if deaf >= _DEAF:
                    return "did not answer any more"
                probe_at = time.monotonic() + _HEALTH_SECONDS
        return "was ended"

    def _announce(self, running: Running) -> None:
        self._record(state=Condition.READY, ready_at=time.time(), restarts=self._deaths)
        with self._changed:
            self._running = running
            self._changed.notify_all()
        log.info("the service %s is ready", self.spec.service.name, extra={"service": self.life.id})

    def _hide(self, was_ready: bool, why: str) -> None:
        with self._changed:
            self._running, self._why = None, why
            if was_ready and not self._stopping.is_set():
                self._deaths += 1
            self._changed.notify_all()

    def _give_up(self, error: GatewayError) -> None:
        log.error("%s", error, extra={"service": self.life.id})
        with self._changed:
            self._fault = error
            self._changed.notify_all()

    def _record(self, **values: object) -> None:
        """Write what people see; a database that is away must not end a service."""
        try:
            self._care.records.change(self.life.id, **values)
        except SQLAlchemyError as error:
            log.warning("a service's record was not written (%s)", type(error).__name__)

    def _tidy(self) -> None:
        clean = True
        try:
            self._care.runner.reap(self.life.id)
        except (GatewayError, OSError) as error:
            clean = False
            log.warning("a service may have left something: %s", error)
        self.life.log.close()
        shutil.rmtree(self.life.volumes, ignore_errors=True)
        with self._changed:
            self._changed.notify_all()
        self._care.over(clean)


def answers(spec: Spec, running: Running) -> bool:
    """True when every port is open and, where the service tells of its health, it is well."""
    try:
        for port in sorted(set(spec.ports.values())):
            running.dial(port, _PROBE_SECONDS).close()
        if spec.ready is None:
            return running.ended() is None
        port, path = spec.ready
        return triton.ask(running.dial(port, _PROBE_SECONDS), path)[0] == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def folder(base: Path, identifier: str) -> Path:
    """Where a life keeps what it shares with operators."""
    return base / identifier


def make_volumes(path: Path, count: int) -> None:
    """Make the folders of a life's volume connections, empty."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
    for number in range(count):
        (path / str(number)).mkdir(parents=True, mode=0o700)
