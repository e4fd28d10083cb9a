"""The warm parent: imports an operator's module, then forks one process for each run of it.

It runs as a program of its own in a sandbox that shows the interpreter, the module and nothing
else, under the interpreter of the operator's image (Python 3.9 or newer, standard library alone).
Arguments: the descriptor of its socket, ``-m`` or ``-f``, and the module's name or script's path.
It never reads anything of a run: a fork does, after it has entered the run's sandbox.

One message asks for one fork and brings four descriptors: the first process of the sandbox (pidfd),
a file with the order as JSON (``arguments``, ``environ``, ``folder``), the operator's output, and a
socket.  Over that the fork says ``ready`` when it stands in the sandbox, waits for a word, becomes
the operator; at last its exit code comes as a number.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import runpy
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path

_NAMESPACES = (
    0x10000000  # user
    | 0x00020000  # mounts
    | 0x20000000  # processes
    | 0x40000000  # network
    | 0x08000000  # ipc
    | 0x04000000  # host name
    | 0x02000000  # control groups
)
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
_LAST_CAPABILITY = 63


class _Target:
    """What is run: a module or a script."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name

    def preload(self) -> None:
        """Import it without running it as the main program."""
        if self.kind == "-f":
            sys.path[0] = str(Path(self.name).parent)
            spec = importlib.util.spec_from_file_location("_gateway_warm", self.name)
            if spec is None or spec.loader is None:
                raise ImportError(f"{self.name} is no script of Python")
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
            return
        sys.path[0] = str(Path.cwd())
        main = self.name
        if hasattr(importlib.import_module(self.name), "__path__"):
            main = f"{self.name}.__main__"
            importlib.import_module(main)
        # Otherwise runpy warns that it runs a module that was imported before.
        del sys.modules[main]

    def run(self, arguments: list[str]) -> None:
        """Run it as the main program."""
        if self.kind == "-f":
            sys.argv = [self.name, *arguments]
            runpy.run_path(self.name, run_name="__main__")
        else:
            sys.path[0] = str(Path.cwd())
            sys.argv = ["-m", *arguments]
            runpy.run_module(self.name, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, say so, and fork until the socket ends."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    target = _Target(sys.argv[2], sys.argv[3])
    target.preload()
    # Libraries end their threads before a fork and start them again when they are used.
    trial = os.fork()
    if trial == 0:
        os._exit(0)
    os.waitpid(trial, 0)
    gc.collect()
    # What is there now is never collected, so that forks do not copy it by looking at it.
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    socket.send_fds(channel, [b"ready"], [_told({"files": _files()})])
    while True:
        data, fds, _, _ = socket.recv_fds(channel, 64, 4, socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            channel.close()
            _escort(target, fds)
        for fd in fds:
            os.close(fd)


def _files() -> list[str]:
    """Files that were imported."""
    found = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return sorted({name for name in found if isinstance(name, str)})


def _told(content: object) -> int:
    fd = os.memfd_create("told")
    os.write(fd, json.dumps(content).encode())
    return fd


def _escort(target: _Target, fds: list[int]) -> None:
    """Enter the sandbox, start the operator in it, tell how it ended; does not return."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sandbox, order, output, channel = fds
        run = socket.socket(fileno=channel)
        with os.fdopen(order, "rb") as file:
            file.seek(0)
            wanted = json.load(file)
        _enter(sandbox)
        os.close(sandbox)
        pid = os.fork()
        if pid == 0:
            _operate(target, wanted, output, run)
        os.close(output)
        code = _exit_code(os.waitpid(pid, 0)[1])
        run.send(str(code).encode())
    finally:
        os._exit(0)


def _exit_code(status: int) -> int:
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def _enter(sandbox: int) -> None:
    """Join every namespace of the sandbox and lose every right over it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(sandbox, _NAMESPACES):
        raise OSError(ctypes.get_errno(), "setns")
    for number in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


def _operate(target: _Target, wanted: dict, output: int, run: socket.socket) -> None:  # type: ignore[type-arg]
    """Be the operator; does not return."""
    code = 1
    try:
        _settle(wanted, output)
        run.send(b"ready")
        if run.recv(16) != b"go":
            return
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        code = _run(target, wanted["arguments"])
    finally:
        os._exit(code)


def _settle(wanted: dict, output: int) -> None:  # type: ignore[type-arg]
    """Standard streams, session, folder and environment as a new program has them."""
    os.setsid()
    empty = os.open("/dev/null", os.O_RDONLY)
    for fd, place in ((empty, 0), (output, 1), (output, 2)):
        os.dup2(fd, place)
    os.environ.clear()
    os.environ.update(wanted["environ"])
    os.chdir(wanted["folder"])
    # The parent's random numbers must not be those of every fork; `random` sees to itself.
    numbers = sys.modules.get("numpy.random")
    if numbers is not None:
        numbers.seed()


def _run(target: _Target, arguments: list[str]) -> int:
    code = 0
    try:
        target.run(arguments)
    except SystemExit as end:
        code = _code_of(end.code)
    except BaseException:  # noqa: BLE001 - the process boundary, as the interpreter has it
        traceback.print_exc()
        code = 1
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as at an exit
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    return code


def _code_of(given: object) -> int:
    """The exit code that an argument of ``sys.exit`` means."""
    if given is None:
        return 0
    if isinstance(given, int):
        return given & 0xFF
    sys.stderr.write(f"{given}\n")
    return 1


if __name__ == "__main__":
    main()
