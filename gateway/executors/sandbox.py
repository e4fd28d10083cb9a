"""The sandbox of an operator, as arguments of bubblewrap.

Seen inside: ``/usr``, the interpreter, the definition's inputs (read-only) and outputs, a private
``/tmp``, a minimal ``/dev``, ``/etc`` and ``/proc``.  Everything else of the machine is absent, all
capabilities are dropped, and nothing but outputs, ``/tmp`` and ``/dev/shm`` can be written.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import Permanent

_USER = "1000"
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("ld.so.cache", "localtime", "timezone", "alternatives")
"""Of ``/etc``: libraries and programs are found by it, and times are the site's."""
_ETC_NETWORK = (
    "resolv.conf", "hosts", "nsswitch.conf", "ssl/certs", "ca-certificates", "pki", "gai.conf",
)  # fmt: skip
_PASSWD = f"operator:x:{_USER}:{_USER}::/tmp:/bin/sh\n"
_GROUP = f"operator:x:{_USER}:\n"


class SandboxError(Permanent):
    """bubblewrap is not there or cannot make a sandbox."""


@dataclass(frozen=True)
class Bind:
    """A file or folder of the machine and where the operator sees it."""

    source: Path
    path: str
    writable: bool = False
    device: bool = False


@dataclass(frozen=True)
class Plan:
    """All that one sandbox is made of."""

    command: tuple[str, ...]
    folder: str
    environ: Mapping[str, str]
    binds: tuple[Bind, ...]
    network: bool
    memory_mb: int
    own_processes: bool = True
    """False = a warm parent's: its keeper has the pid namespace, and it sees no ``/proc``."""


@dataclass(frozen=True)
class Bubblewrap:
    """The program ``bwrap`` and what this version of it can do."""

    path: str
    options: frozenset[str]

    def arguments(self, plan: Plan, *files: int) -> list[str]:
        """Options for ``plan``, without its command.

        ``files`` are descriptors to read ``/etc/passwd`` and ``/etc/group`` from, in that order.
        """
        arguments = [
            "--unshare-user", "--unshare-ipc", "--unshare-uts",
            "--unshare-cgroup-try", "--cap-drop", "ALL", "--uid", _USER, "--gid", _USER,
            "--hostname", "operator", "--new-session", "--die-with-parent", "--clearenv",
        ]  # fmt: skip
        if plan.own_processes:
            # Whoever runs as root on the machine may write settings of its kernel there, whatever
            # its user is called inside; bubblewrap covers the rest of it.
            arguments += ["--unshare-pid", "--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]
        if plan.own_processes and "--disable-userns" in self.options:
            arguments.append("--disable-userns")
        if not plan.network:
            arguments.append("--unshare-net")
        arguments += _system()
        for fd, path in zip(files, ("/etc/passwd", "/etc/group"), strict=False):
            arguments += ["--ro-bind-data", str(fd), path]
        arguments += _etc(plan.network)
        if "--size" in self.options:
            arguments += ["--size", str(plan.memory_mb << 20)]
        arguments += ["--tmpfs", "/tmp"]  # noqa: S108 - inside the sandbox
        for bind in _outer_first(plan.binds):
            kind = "--dev-bind" if bind.device else "--bind" if bind.writable else "--ro-bind"
            arguments += [kind, str(bind.source), bind.path]
        # The folders made for mount points lie on the sandbox's root, which is ours to write.
        arguments += ["--remount-ro", "/", "--chdir", plan.folder]
        for name, value in plan.environ.items():
            arguments += ["--setenv", name, value]
        return arguments


def locate() -> Bubblewrap:
    """Find bubblewrap; :class:`SandboxError` if it is not installed."""
    path = shutil.which("bwrap")
    if path is None:
        raise SandboxError("bubblewrap (the program bwrap) is not installed")
    return Bubblewrap(path, _options(path))


def passwd_files() -> tuple[bytes, bytes]:
    """Contents of ``/etc/passwd`` and ``/etc/group``: one user, who is nobody else."""
    return _PASSWD.encode(), _GROUP.encode()


@functools.lru_cache(maxsize=4)
def _options(path: str) -> frozenset[str]:
    """Options this version knows: Ubuntu 22.04's lacks some that only harden."""
    done = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=10, check=False)
    words = (line.split(maxsplit=1)[0] for line in done.stdout.splitlines() if line.strip())
    return frozenset(word for word in words if word.startswith("--"))


def _system() -> Iterable[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in _LINKS:
        path = Path("/", name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    return [*arguments, "--dev", "/dev"]


def _etc(network: bool) -> Iterable[str]:
    arguments: list[str] = []
    for name in (*_ETC, *(_ETC_NETWORK if network else ())):
        path = Path("/etc", name)
        if path.exists():
            arguments += ["--ro-bind", str(path.resolve()), str(path)]
    return arguments


def _outer_first(binds: Iterable[Bind]) -> list[Bind]:
    """A mount hides what was mounted below it before."""
    return sorted(binds, key=lambda b: b.path.count("/"))
