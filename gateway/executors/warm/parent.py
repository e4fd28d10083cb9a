"""One warm parent as the gateway sees it: its start, its forks, its end.

A thread of its own starts the keeper and stays until that ended: the kernel kills the keeper's
sandbox, and with it parent and forks, when the thread that made it ends (see
:mod:`gateway.executors.launch`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.executors import procfs
from gateway.executors.descriptors import memory_file, packed
from gateway.executors.limits import common_limits
from gateway.executors.sandbox import Bind, Bubblewrap, Plan, SandboxError, passwd_files
from gateway.executors.stopping import StopFlag
from gateway.executors.warm import keeper, seccomp
from gateway.executors.warm.messages import sender_of, socket_pair

log = logging.getLogger(__name__)

IMPORT_SECONDS = 120.0
"""Longest import of an operator's module."""
KEEP_SECONDS = 2.0
"""For how long files that were found unchanged count as unchanged."""
_INSIDE = "/run/gateway/zygote.py"
_MARK = "gateway-warm"
# Its user is not 0 inside, for the kernel lets nobody without rights map that once more.
_KEEPER = (
    "--unshare-user", "--unshare-pid", "--uid", "1000", "--gid", "1000", "--dev-bind", "/", "/",
    "--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--die-with-parent", "--unsetenv", _MARK,
)  # fmt: skip
_WORDS_MS = 2000
_TOLD_BYTES = 16 << 20
_MOST_MAPS = 1 << 24


@dataclass(frozen=True)
class Recipe:
    """What a parent is made of; equal recipes share one."""

    interpreter: str
    kind: str
    name: str
    """Module or script, as :class:`gateway.executors.warm.spec.Spec` says."""
    folder: str
    environ: tuple[tuple[str, str], ...]
    visible: tuple[Path, ...]
    """Files and folders that it sees besides ``/usr``, read-only."""

    def plan(self) -> Plan:
        """The parent's sandbox."""
        shown = [Bind(path, str(path)) for path in self.visible]
        shown.append(Bind(Path(__file__).with_name("zygote.py"), _INSIDE))
        return Plan(
            command=(self.interpreter, _INSIDE, "3", self.kind, self.name),
            folder=self.folder,
            environ=dict(self.environ),
            binds=tuple(shown),
            network=False,
            memory_mb=64,
            own_processes=False,
        )


class Parent:
    """A parent that starts, is ready, and ends; any thread may call it."""

    def __init__(self, bwrap: Bubblewrap, recipe: Recipe, idle_seconds: float) -> None:
        """Begin to start it and return at once."""
        self.recipe = recipe
        self.bwrap = bwrap
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._settled = threading.Event()
        self._ready = False
        self._retired = False
        self._stop = StopFlag()
        self._runs = 0
        self._used = time.monotonic()
        self._files: dict[str, tuple[int, int, int] | None] = {}
        self._looked = 0.0
        self._said = b""
        self._heard: IO[bytes]
        self.trouble: str | None = None
        """Why it did not start."""
        self._control, self._control_inside = socket_pair(socket.SOCK_SEQPACKET)
        self._orders, self._orders_inside = socket_pair(socket.SOCK_SEQPACKET)
        self._thread = threading.Thread(target=self._live, name="warm-parent", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """True while it can fork."""
        return self._ready

    @property
    def over(self) -> bool:
        """True when it ended or is about to."""
        return self._stop.is_set or self.trouble is not None or not self._thread.is_alive()

    @property
    def idle_since(self) -> float | None:
        """On the monotonic clock; None while a fork of it runs."""
        with self._lock:
            return None if self._runs else self._used

    def wait(self, timeout: float) -> bool:
        """Wait until it is ready or will never be; True if it is ready."""
        self._settled.wait(timeout)
        return self._ready

    def stop(self) -> None:
        """End it with all its forks; returns at once."""
        self._ready = False
        self._stop.set()

    def retire(self) -> None:
        """End it when its last fork has ended."""
        self._ready = False
        self._retired = True

    def join(self) -> None:
        """Wait until no process of it is left."""
        self._thread.join()

    def fresh(self) -> bool:
        """True while what it imported is what lies on disk."""
        now = time.monotonic()
        if now - self._looked > KEEP_SECONDS:
            if any(_identity(name) != known for name, known in self._files.items()):
                return False
            self._looked = now
        return True

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """While a fork of it is wanted: it does not end for being idle."""
        with self._lock:
            self._runs += 1
        try:
            yield
        finally:
            with self._lock:
                self._runs -= 1
                self._used = time.monotonic()

    def make_sandbox(self, command: Sequence[str], fds: Sequence[int]) -> None:
        """Have the keeper execute ``command`` where forks can enter what it makes."""
        self._send(self._control, keeper.SANDBOX + packed(command), fds)

    def fork(self, fds: Sequence[int]) -> None:
        """Ask for one fork; see :mod:`.zygote` for the descriptors."""
        self._send(self._orders, b"fork", fds)

    def _send(self, channel: socket.socket, message: bytes, fds: Sequence[int]) -> None:
        try:
            socket.send_fds(channel, [message], fds)
        except OSError as error:
            raise SandboxError(f"its warm parent ended: {error.strerror}") from error

    # --- the thread ----------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                for each in (self._control, self._orders):
                    stack.enter_context(each)
                self._serve(stack)
        except (OSError, SandboxError, ValueError) as error:
            self._fail(str(error))
        except Exception:  # a thread's boundary: without its parent an operator starts cold
            log.exception("a warm parent failed")
            self._fail("it failed")
        finally:
            self._ready = False
            self._settled.set()
            self._stop.close()

    def _serve(self, stack: contextlib.ExitStack) -> None:
        reader, writer = (
            stack.enter_context(os.fdopen(fd, "rb", 0)) for fd in os.pipe2(os.O_CLOEXEC)
        )
        self._heard = reader
        with self._orders_inside, writer:
            process = self._start_keeper(stack, writer)
            self._start_parent(writer.fileno())
        poll = select.poll()
        ended = os.pidfd_open(process.pid)
        stack.callback(os.close, ended)
        for fd in (self._stop.fileno(), self._orders.fileno(), reader.fileno(), ended):
            poll.register(fd, select.POLLIN)
        deadline = time.monotonic() + IMPORT_SECONDS
        while True:
            for fd, _ in poll.poll(1000):
                if fd == reader.fileno():
                    self._listen(reader.fileno(), poll)
                elif fd == self._orders.fileno() and not self._ready:
                    poll.unregister(fd)
                    self._become_ready()
                else:
                    if not self._ready and not self._stop.is_set:
                        self._fail(self._last_words())
                    return
            if not self._ready and time.monotonic() > deadline:
                raise SandboxError(f"it took longer than {IMPORT_SECONDS:g} seconds to import")
            idle = self.idle_since
            if idle is not None and (self._retired or time.monotonic() - idle > self._idle_seconds):
                self.stop()

    def _start_keeper(
        self, stack: contextlib.ExitStack, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        with self._control_inside:
            fd, script = self._control_inside.fileno(), keeper.__file__
            process = subprocess.Popen(
                [self.bwrap.path, *_KEEPER, "--", sys.executable, "-I", "-S", script, str(fd)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={},
                pass_fds=(fd,),
            )
        stack.callback(_end, process)
        return process

    def _start_parent(self, output: int) -> None:
        """Send the keeper what a parent's sandbox is made of."""
        plan = self.recipe.plan()
        with contextlib.ExitStack() as stack:
            nothing = stack.enter_context(Path("/dev/null").open("rb")).fileno()
            files = [memory_file(stack, data) for data in passwd_files()]
            arguments = self.bwrap.arguments(plan, 5, 6)
            filters = seccomp.program()
            if filters is None:
                raise SandboxError("no filter of system calls is known for this kind of machine")
            files.append(memory_file(stack, filters))
            arguments += ["--seccomp", "7"]
            listed = memory_file(stack, packed(arguments) + b"\0")
            command = [self.bwrap.path, "--unsetenv", _MARK, "--args", "4", "--", *plan.command]
            fds = [nothing, output, self._orders_inside.fileno(), listed, *files]
            self._send(self._control, keeper.PARENT + packed(command), fds)

    def _become_ready(self) -> None:
        """Take the parent's word that it has imported, and look whether it may fork."""
        with contextlib.ExitStack() as stack:
            data, fds, pid = sender_of(self._orders, 1)
            for fd in fds:
                stack.callback(os.close, fd)
            pidfd = procfs.open_process(pid) if data == b"ready" and fds and pid else None
            if pidfd is None:
                raise SandboxError(self._last_words())
            stack.callback(os.close, pidfd)
            _check_alone(pid)
            common_limits(pid)
            told = json.loads(os.pread(fds[0], _TOLD_BYTES, 0))
            self._send(self._control, keeper.OWNER, [pidfd])
        names = [*told["files"], self.recipe.interpreter, *map(str, self.recipe.visible)]
        self._files = {name: _identity(name) for name in names if name != _INSIDE}
        self._looked = time.monotonic()
        self._ready = True
        self._settled.set()

    def _listen(self, fd: int, poll: select.poll) -> None:
        data = os.read(fd, 65536)
        self._said = (self._said + data)[-4096:]
        if not data:
            poll.unregister(fd)

    def _last_words(self) -> str:
        poll = select.poll()
        poll.register(self._heard.fileno(), select.POLLIN)
        while poll.poll(_WORDS_MS) and (data := os.read(self._heard.fileno(), 65536)):
            self._said = (self._said + data)[-4096:]
        lines = self._said.decode(errors="replace").strip().splitlines()
        return f"it could not import {self.recipe.name}: {lines[-1] if lines else 'it ended'}"

    def _fail(self, reason: str) -> None:
        self.trouble = reason


def _check_alone(pid: int) -> None:
    """Raise unless a fork of process ``pid`` takes nothing along but memory of its own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        maps = Path(f"/proc/{pid}/maps").read_text()[:_MOST_MAPS]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError as error:
        raise SandboxError(f"it cannot be looked at: {error.strerror}") from error
    if "\nThreads:\t1\n" not in status:
        raise SandboxError("its module starts threads when it is imported")
    if children.strip():
        raise SandboxError("its module starts programs when it is imported")
    if any(line.split(" ", 2)[1][1::2] == "ws" for line in maps.splitlines()):
        raise SandboxError("its module shares memory when it is imported")


def _identity(name: str) -> tuple[int, int, int] | None:
    try:
        found = Path(name).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
