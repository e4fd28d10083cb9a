"""One container, from its creation until nothing of it is left.

The program is process 1 of its namespace, or the engine's small init is: when it ends the kernel
ends whatever it left running.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.executors.container.api import Api, EngineError, NotThereError, RefusedError
from gateway.executors.container.attached import Attached
from gateway.executors.container.plan import ATTEMPT, JOB, Plan, options
from gateway.executors.logfile import LogFile
from gateway.executors.stopping import StopFlag
from gateway.executors.verdict import Outcome

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 180.0
"""How long an engine may be away while a container runs before the container is called lost."""
_AGAIN_SECONDS = 1.0
_DRAIN_SECONDS = 10.0
_KILLED = 128 + signal.SIGKILL
_NO_INIT = ("container-init", "catatonit", "docker-init", "init binary")
_INIT_SAYS = re.compile(r"catatonit.*failed to exec pid1: (.+)|tini.*\] exec (.+)")
_INIT_CODES = (1, 126, 127)
_NOT_FOUND = ("executable file not found", "no such file or directory", "not found in $path")
_NOT_ALLOWED = ("permission denied", "exec format error")


@dataclass(frozen=True)
class Guard:
    """What watches over one container: its log, its stop flag, seconds of grace, its signal."""

    log: LogFile
    stop: StopFlag
    grace: float
    stop_signal: str = "SIGTERM"


def execute(api: Api, plan: Plan, guard: Guard, started: Callable[[float], None]) -> Outcome:
    """Run ``plan``; returns when its container is gone.

    Raises :class:`EngineError` when the engine fails or goes away for long.  Then the container may
    be there still: :func:`purge` before anything of the job is started again.
    """
    with _created(api, plan) as container:
        try:
            attached = Attached(api.socket, api.facts().version, container)
        except RefusedError as error:
            return _not_executed(error, guard.log)
        with _copying(api, container, attached, guard.log):
            if guard.stop.is_set:
                return Outcome(_KILLED, ran=False, stopped=True, out_of_memory=False)
            try:
                with api.session() as client:
                    client.start(container)
            except RefusedError as error:
                return _not_executed(error, guard.log)
            started(time.time())
            waiting = _Wait(api, container, guard)
            waiting.run()
        return _as_shell(waiting.outcome(), plan, guard.log)


def purge(api: Api, job_id: str, attempt: int | None = None) -> int:
    """Remove every container of a job, or of one attempt of it; returns how many there were.

    Raises :class:`EngineError` when one of them may still be there.
    """
    labels = [f"{JOB}={job_id}"] + ([] if attempt is None else [f"{ATTEMPT}={attempt}"])
    with api.session() as client:
        found = client.containers(all=True, filters={"label": labels})
    for container in found:
        _remove(api, str(container["Id"]))
    return len(found)


@contextlib.contextmanager
def _created(api: Api, plan: Plan) -> Iterator[str]:
    """A container that is made, and removed in the end."""
    # What an earlier try of the same operator left, because the engine went away.
    _remove(api, plan.name)
    container = _create(api, plan)
    try:
        for network in plan.networks:
            with api.session() as client:
                client.connect_container_to_network(container, network)
        yield container
    finally:
        _remove(api, container)


def _create(api: Api, plan: Plan) -> str:
    facts = api.facts()
    try:
        with api.session() as client:
            return str(client.create_container(**options(plan, facts, init=True))["Id"])
    except RefusedError as error:
        if not any(word in str(error).lower() for word in _NO_INIT):
            raise
    with api.session() as client:
        return str(client.create_container(**options(plan, facts, init=False))["Id"])


def _remove(api: Api, container: str) -> None:
    """Remove a container, running or not; returns when it is gone."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with api.session() as client:
                client.remove_container(container, v=True, force=True)
                # Podman says that it is done; only that it is not there any more is proof.
                client.inspect_container(container)
        except NotThereError:
            return
        except EngineError as error:
            if time.monotonic() > deadline:
                raise
            log.warning("a container cannot be removed yet: %s", error)
        time.sleep(_AGAIN_SECONDS / 10)


def _not_executed(error: RefusedError, sink: LogFile) -> Outcome:
    """An engine tells only in words that there is no such program in the image."""
    text = str(error).lower()
    for code, sentences in ((127, _NOT_FOUND), (126, _NOT_ALLOWED)):
        if "exec" in text and any(sentence in text for sentence in sentences):
            sink.write(f"operator: exec: {error}\n".encode())
            return Outcome(code, ran=True, stopped=False, out_of_memory=False)
    raise error


def _as_shell(outcome: Outcome, plan: Plan, sink: LogFile) -> Outcome:
    """The engine's small init finds out that there is no such program, in words of its own."""
    said = _INIT_SAYS.search(sink.last_line)
    if outcome.exit_code not in _INIT_CODES or said is None:
        return outcome
    why = ": ".join([*plan.command[:1], said[1] or said[2]])
    sink.write(f"operator: exec: {why}\n".encode())
    code = 126 if any(word in why.lower() for word in _NOT_ALLOWED) else 127
    return dataclasses.replace(outcome, exit_code=code)


@contextlib.contextmanager
def _copying(api: Api, container: str, attached: Attached, sink: LogFile) -> Iterator[None]:
    """Copy what the container writes into its log, until it ends."""
    copy = _Copy(api, container, attached, sink)
    try:
        yield
    except BaseException:
        copy.end(0)
        raise
    copy.end(_DRAIN_SECONDS)


class _Copy:
    """The thread that copies; it attaches anew when an engine was away."""

    def __init__(self, api: Api, container: str, attached: Attached, sink: LogFile) -> None:
        self._api = api
        self._container = container
        self._attached = attached
        self._sink = sink
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="container-log", daemon=True)
        self._thread.start()

    def end(self, patience: float) -> None:
        """The container ended: take what is still on its way, ``patience`` seconds at most."""
        self._over.set()
        self._thread.join(patience)
        while self._thread.is_alive():
            # Again and again: the thread may just have attached anew.
            self._attached.interrupt()
            self._thread.join(_AGAIN_SECONDS)
        self._attached.close()

    def _run(self) -> None:
        while True:
            while data := self._attached.read():
                self._sink.write(data)
            if self._over.wait(_AGAIN_SECONDS):
                return
            self._again()

    def _again(self) -> None:
        try:
            attached = Attached(self._api.socket, self._api.facts().version, self._container)
        except EngineError as error:
            log.debug("the output of a container cannot be had yet: %s", error)
            return
        self._sink.write(b"\n[gateway] the engine was away; lines may be missing here\n")
        self._attached.close()
        self._attached = attached


class _Wait:
    """The wait for one container's end."""

    def __init__(self, api: Api, container: str, guard: Guard) -> None:
        self._api = api
        self._container = container
        self._guard = guard
        self._stopped = False
        self._kill_at: float | None = None
        self._fault: EngineError | None = None
        self._state: dict[str, Any] = {}
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC)

    def run(self) -> None:
        """Wait, pass on the wish to end; :class:`EngineError` when the container is lost."""
        thread = threading.Thread(target=self._watch, name="container-wait", daemon=True)
        thread.start()
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(self._guard.stop.fileno(), select.POLLIN)
        try:
            while self._reader not in (ready := {fd for fd, _ in poll.poll(self._timeout())}):
                if self._guard.stop.fileno() in ready:
                    poll.unregister(self._guard.stop.fileno())
                    self._stopped = True
                    self._signal(self._guard.stop_signal)
                    self._kill_at = time.monotonic() + self._guard.grace
                elif self._kill_at is not None and time.monotonic() >= self._kill_at:
                    # Until it ends: the engine may have been away when it was asked.
                    self._signal("SIGKILL")
                    self._kill_at = time.monotonic() + _AGAIN_SECONDS
        finally:
            thread.join()
            os.close(self._reader)
        if self._fault is not None:
            raise self._fault
        if self._state.get("ExitCode") is None:
            raise EngineError("the engine does not say how its container ended")

    def outcome(self) -> Outcome:
        """How it ended."""
        code = int(self._state["ExitCode"])
        memory = bool(self._state.get("OOMKilled"))
        if code == _KILLED and not self._stopped and self._api.facts().podman:
            # Podman up to 4.3 does not tell.  Nobody else sends this signal into a container:
            # neither we, who did not, nor the operator itself with any sense.
            memory = True
        return Outcome(code, ran=True, stopped=self._stopped, out_of_memory=memory)

    def _timeout(self) -> float | None:
        if self._kill_at is None:
            return None
        return max(0.0, self._kill_at - time.monotonic()) * 1000 + 1

    def _signal(self, name: str) -> None:
        try:
            with self._api.session() as client:
                client.kill(self._container, name)
        except EngineError as error:
            # It ended a moment ago, most often.
            log.debug("a container took no signal: %s", error)

    def _watch(self) -> None:
        deadline: float | None = None
        try:
            while True:
                try:
                    with self._api.session(timeout=None) as client:
                        client.wait(self._container)
                        self._state = dict(client.inspect_container(self._container)["State"])
                except NotThereError:
                    self._fault = EngineError("its container was removed by somebody else")
                    return
                except EngineError as error:
                    deadline = deadline or time.monotonic() + PATIENCE_SECONDS
                    if time.monotonic() > deadline:
                        self._fault = error
                        return
                    time.sleep(_AGAIN_SECONDS)
                    continue
                if not self._state.get("Running"):
                    return
        finally:
            os.close(self._writer)
