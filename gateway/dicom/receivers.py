"""The receiver processes of a gateway: started, watched, told, stopped.

The parent binds the ports and keeps them, so a receiver that dies refuses nobody: callers wait
in the backlog until its successor is there.  Two on a machine with two cores or three, else one per
two cores up to four: what they do is copying, and the applier and the operators want cores too.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket, socketpair

from gateway.config.applications import AeConfig
from gateway.config.live import CurrentConfig
from gateway.config.settings import GatewaySettings
from gateway.dicom.receiver import HINT, READY, Start
from gateway.dicom.scp import Listeners, bind
from gateway.events import faults
from gateway.monitor.logging import JsonFormatter
from gateway.payloads.intake.intake import Intake
from gateway.payloads.receiving import Outcome

log = logging.getLogger(__name__)

STOP_SECONDS = 15.0
"""How long associations may go on when the gateway stops."""
_START_SECONDS = 30.0
_BACK_OFF = (0.2, 10.0)
_STEADY_SECONDS = 60.0


def how_many() -> int:
    """Receivers for this machine."""
    cores = len(os.sched_getaffinity(0))
    return min(4, max(min(cores, 2), cores // 2))


@dataclass
class _Child:
    """One receiver, alive or to be started."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    control: socket | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    started_at: float = 0.0
    start_at: float = 0.0
    back_off: float = _BACK_OFF[0]
    sending: threading.Lock = field(default_factory=threading.Lock)

    def say(self, message: Mapping[str, object]) -> None:
        """Tell the process; one that is gone is told nothing."""
        control = self.control
        if control is None:
            return
        try:
            with self.sending:
                control.sendall(json.dumps(message).encode("ascii") + b"\n")
        except OSError as error:
            log.warning("a receiver cannot be told", extra={"error": str(error)})


class Receivers:
    """The part of a gateway that listens; methods may be called from any thread."""

    def __init__(
        self, settings: GatewaySettings, data_dir: Path, ae_config: CurrentConfig, intake: Intake
    ) -> None:
        """Start nothing yet; ``intake`` has brought in what an earlier gateway left."""
        self._settings = settings
        self._data_dir = data_dir
        self._ae_config = ae_config
        self._intake = intake
        self._children = [_Child(number) for number in range(intake.receivers)]
        self._listeners: Listeners | None = None
        self._stopping = threading.Event()
        self._selector = selectors.DefaultSelector()
        # Receivers are killed when the thread that started them ends: one thread starts all.
        self._thread = threading.Thread(target=self._watch, name="receivers", daemon=True)
        intake.tell = self.tell

    @property
    def port(self) -> int:
        """The bound TCP port; 0 before :meth:`start`."""
        return self._port(lambda found: found.plain)

    @property
    def tls_port(self) -> int:
        """The bound TCP port of the TLS listener; 0 without one."""
        return self._port(lambda found: found.tls)

    @property
    def active(self) -> int:
        """How many associations are open."""
        return self._intake.board.active()

    @property
    def alive(self) -> int:
        """How many receivers run."""
        return sum(child.ready.is_set() for child in self._children)

    @property
    def wanted(self) -> int:
        """How many receivers are to run."""
        return len(self._children)

    def start(self) -> None:
        """Bind and receive; raises OSError when a port is taken, TlsFault when TLS is bad."""
        self._listeners = bind(self._settings.dicom)
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        for child in self._children:
            child.ready.wait(max(0.0, deadline - time.monotonic()))
        log.info(
            "listening for DICOM",
            extra={"port": self.port, "tls_port": self.tls_port or None, "receivers": self.alive},
        )

    def stop(self) -> None:
        """Let associations end, then stop every receiver."""
        self._stopping.set()
        for child in self._children:
            child.say({"stop": STOP_SECONDS})
        for child in self._children:
            if child.process is not None:
                self._await(child.process)
        if self._thread.is_alive():
            self._thread.join()
        if self._listeners is not None:
            self._listeners.plain.close()
            if self._listeners.tls is not None:
                self._listeners.tls.close()

    def configure(self, config: AeConfig) -> None:
        """Put an AE configuration into force in every receiver."""
        for child in self._children:
            child.say({"config": config.model_dump(mode="json")})

    def tell(self, receiver: int, number: int, outcome: Outcome) -> None:
        """Bring a verdict to the receiver that awaits it."""
        message = {"verdict": [number, int(outcome.status), outcome.comment]}
        self._children[receiver].say(message)

    def _port(self, which: Callable[[Listeners], socket | None]) -> int:
        found = which(self._listeners) if self._listeners is not None else None
        return int(found.getsockname()[1]) if found is not None else 0

    def _watch(self) -> None:
        """Start receivers, hear them, and start them again; the thread."""
        while not self._stopping.is_set() or self._any_open():
            try:
                self._turn()
            except Exception:
                # Boundary of the thread: who watches the receivers must not end.
                log.exception("watching the receivers failed, goes on")
                self._stopping.wait(1.0)
        self._selector.close()

    def _any_open(self) -> bool:
        return any(child.control is not None for child in self._children)

    def _turn(self) -> None:
        now = time.monotonic()
        for child in self._children:
            idle = child.control is None
            if idle and now >= child.start_at and not self._stopping.is_set():
                self._spawn(child)
        for key, _ in self._selector.select(0.5) if self._any_open() else ():
            self._hear(key.data)
        if not self._any_open():
            self._stopping.wait(0.1)

    def _spawn(self, child: _Child) -> None:
        listeners = self._listeners
        if listeners is None:  # pragma: no cover - start() binds first
            return
        ours, theirs = socketpair()
        tls = listeners.tls.fileno() if listeners.tls is not None else -1
        numbers = (theirs.fileno(), self._intake.board.descriptor, listeners.plain.fileno(), tls)
        command = [sys.executable, "-m", "gateway.dicom.receiver", *map(str, numbers)]
        try:
            child.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[n for n in numbers if n >= 0]
            )
        except OSError:
            ours.close()
            child.start_at = time.monotonic() + child.back_off
            raise
        finally:
            theirs.close()
        start = self._start_message(child.number).encode("utf-8")
        ours.sendall(len(start).to_bytes(4, "big") + start)
        child.control, child.started_at = ours, time.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, child)

    def _start_message(self, number: int) -> str:
        root = logging.getLogger()
        as_json = any(isinstance(h.formatter, JsonFormatter) for h in root.handlers)
        return Start(
            receiver=number,
            after=self._intake.applier.position(number),
            data_dir=self._data_dir,
            dicom=self._settings.dicom,
            storage=self._settings.storage,
            config=self._ae_config.current,
            slots=self._intake.board.slots,
            receivers=len(self._children),
            log_form="json" if as_json else "text",
            log_level=root.level,
        ).model_dump_json()

    def _hear(self, child: _Child) -> None:
        control = child.control
        if control is None:  # pragma: no cover - registered only while open
            return
        try:
            said = control.recv(4096)
        except ConnectionResetError:
            said = b""
        if READY in said:
            child.ready.set()
        if HINT in said:
            self._intake.applier.wake()
        if not said:
            self._selector.unregister(control)
            control.close()
            child.control = None
            self._ended(child)

    def _ended(self, child: _Child) -> None:
        """A receiver is gone: bring in what it left, and plan its successor."""
        child.ready.clear()
        process, child.process = child.process, None
        code = process.wait() if process is not None else 0
        if code == -signal.SIGKILL and faults.armed():
            # The test that armed a fault point means the gateway, not one of its processes.
            os.kill(os.getpid(), signal.SIGKILL)
        if self._stopping.is_set() and code == 0:
            return
        log.error("a receiver ended", extra={"receiver": child.number, "exit_code": code})
        self._intake.take_over(child.number, self._stopping)
        if time.monotonic() - child.started_at > _STEADY_SECONDS:
            child.back_off = _BACK_OFF[0]
        child.start_at = time.monotonic() + child.back_off
        child.back_off = min(2 * child.back_off, _BACK_OFF[1])

    @staticmethod
    def _await(process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(STOP_SECONDS + 15.0)
        except subprocess.TimeoutExpired:
            log.error("a receiver does not end, is killed")  # noqa: TRY400 - no trace wanted
            process.kill()
            process.wait()
