"""The gateway of this machine as a process in the background: who it is, its start, its end.

Who it is, the locks of its roles say (:mod:`gateway.events.lease`): the kernel frees them when the
process ends, so an old file never stands for a process, and a number that the system has given to
another program meanwhile is never signalled.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.app import ENDPOINTS, ROLES
from gateway.cli.errors import FAILURE, CliError
from gateway.config.settings import GatewaySettings
from gateway.events.lease import Lease, holder
from gateway.executors import procfs

LOG = "platform.log"
"""What a gateway in the background prints, in data-dir."""
KEPT = "platform.log.1"
MAX_LOG_BYTES = 64 * 1024 * 1024
"""A larger log is put aside at the next start."""
STARTING = "start"
"""The lock of whoever is starting a gateway, so that two starts come one after the other."""
LOOK_SECONDS = 0.1
TAIL_BYTES = 2000


@dataclass(frozen=True)
class Running:
    """The processes that have a role on one data-dir."""

    roles: dict[str, int]
    """Role to process id; 0 for one that has just begun."""

    @classmethod
    def of(cls, data_dir: Path) -> Running:
        """Look at the locks; changes nothing."""
        found = ((role, holder(data_dir, role)) for role in ROLES)
        return cls({role: pid for role, pid in found if pid is not None})

    @property
    def pids(self) -> list[int]:
        """Every process once."""
        return sorted(set(self.roles.values()))


class Platform:
    """The gateway of one settings file on this machine."""

    def __init__(self, settings: GatewaySettings, config: Path | None) -> None:
        self._settings = settings
        self._config = config
        self._data_dir = settings.data_dir.resolve()

    @property
    def log(self) -> Path:
        """Where it prints when :meth:`start` started it."""
        return self._data_dir / LOG

    def status(self) -> dict[str, Any]:
        """What runs and whether it is ready."""
        running = Running.of(self._data_dir)
        state = "STOPPED"
        down: list[str] = []
        if running.roles:
            state, down = self._health()
        return {
            "state": state,
            "pids": running.pids,
            "roles": running.roles,
            "down": down,
            "endpoints": self._endpoints(running),
            "data_dir": str(self._data_dir),
            "log": str(self.log) if self.log.exists() else None,
        }

    def start(self, seconds: float) -> int:
        """Start it and wait until it is ready; its process id.

        :class:`CliError` when one runs already, when it ends (with its exit code and the end of its
        log), and when it is not ready after ``seconds``: then it goes on starting.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Lease(self._data_dir, STARTING):
            running = Running.of(self._data_dir)
            if running.roles:
                who = ", ".join(map(str, running.pids))
                raise CliError(f"a gateway runs already on {self._data_dir}: process {who}")
            process = self._spawn()
            deadline = time.monotonic() + seconds
            while not self._is_ready(process.pid):
                code = process.poll()
                if code is not None:
                    raise CliError(self._ended(code), code if code > 0 else FAILURE)
                if time.monotonic() > deadline:
                    raise CliError(
                        f"process {process.pid} runs but is not ready after {seconds:g} s; "
                        f"it goes on, see {self.log}"
                    )
                time.sleep(LOOK_SECONDS)
        # It outlives this command; its end is nobody's concern here.
        process.returncode = 0
        return process.pid

    def stop(self, seconds: float) -> list[int]:
        """End every process of it and wait until all are gone; which they were.

        :class:`CliError` when one may not be signalled or has not ended after ``seconds``.
        """
        deadline = time.monotonic() + seconds
        ended: list[int] = []
        while (running := Running.of(self._data_dir)).roles:
            for pid in running.pids:
                if pid and pid not in ended and self._end(pid, deadline):
                    ended.append(pid)
            if time.monotonic() > deadline:
                who = ", ".join(map(str, running.pids))
                raise CliError(
                    f"process {who} still has {self._data_dir} after {seconds:g} s; if it runs on "
                    "another machine or as another user, stop it there"
                )
            time.sleep(LOOK_SECONDS)
        return ended

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.replace(self._data_dir / KEPT)
        command = [sys.executable, "-m", "gateway.cli", "serve", "--log-format", "json"]
        if self._config is not None:
            command += ["--config", str(self._config.resolve())]
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    def _end(self, pid: int, deadline: float) -> bool:
        """Ask one process to end and wait for it; False when it is none of ours any more."""
        process = procfs.open_process(pid)
        if process is None:
            return False
        try:
            if not self._is_ours(pid) or procfs.ended(process, 0):
                return False
            procfs.send(process, signal.SIGTERM)
            if not procfs.ended(process, deadline - time.monotonic()):
                raise CliError(f"process {pid} has not ended in time; it goes on, see {self.log}")
        except PermissionError as error:
            raise CliError(f"process {pid} belongs to another user") from error
        finally:
            os.close(process)
        return True

    def _is_ours(self, pid: int) -> bool:
        """True when the process has a lock file of this data-dir open.

        The number in the file may be of another machine that shares the folder, or of a program
        that got it just now.
        """
        locks = {_identity(self._data_dir / f"{role}.lock") for role in ROLES} - {None}
        return any(_identity(opened) in locks for opened in _opened(pid))

    def _endpoints(self, running: Running) -> dict[str, int]:
        """Where it listens, as the running process itself wrote it."""
        try:
            found = json.loads((self._data_dir / ENDPOINTS).read_text())
        except (OSError, ValueError):
            return {}
        pid = found.pop("pid", None)
        return found if pid in running.pids else {}

    def _health(self) -> tuple[str, list[str]]:
        http = self._settings.http
        port = self._endpoints(Running.of(self._data_dir)).get("http", http.port)
        machine = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.bind, http.bind)  # noqa: S104
        shown = f"[{machine}]" if ":" in machine else machine
        try:
            url = f"http://{shown}:{port}/health/ready"
            answer = httpx.get(url, timeout=5, trust_env=False)
            return ("READY" if answer.is_success else "NOT READY"), list(answer.json()["down"])
        except (httpx.HTTPError, ValueError, KeyError):
            return "NOT READY", []

    def _is_ready(self, pid: int) -> bool:
        running = Running.of(self._data_dir)
        if set(running.roles) != set(ROLES) or running.pids != [pid]:
            return False
        return bool(self._endpoints(running)) and self._health()[0] == "READY"

    def _ended(self, code: int) -> str:
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            tail = file.read().decode("utf-8", "replace").strip().splitlines()[-5:]
        return "\n".join([f"the gateway ended with {code}; the end of {self.log}:", *tail])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _opened(pid: int) -> Iterator[Path]:
    """The files that a process has open; PermissionError for another user's."""
    try:
        yield from Path(f"/proc/{pid}/fd").iterdir()
    except FileNotFoundError:
        return
