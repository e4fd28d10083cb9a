"""A real Podman of a test's own, behind its socket, and images made of files of this machine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import AF_UNIX
from socket import socket as Socket  # noqa: N812 - the word is that of a path here
from typing import Any

import docker
import pydicom
import pytest

from tests.support.programs import program, running

_CONF = """
[containers]
default_ulimits = ["nofile=8192:8192", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
tmp_dir = "{root}/tmp"
[network]
network_config_dir = "{root}/net"
"""
_APPLETS = (
    "sh", "cat", "cp", "ls", "id", "sleep", "echo", "touch", "head", "tail", "env", "grep", "ps",
    "kill", "mkdir", "ln", "mkfifo", "true", "false", "dd", "yes", "chmod", "ip", "find", "test",
)  # fmt: skip


@dataclass
class Podman:
    """A service; ``api`` is the way the tests themselves look at it."""

    socket: Path
    root: Path
    command: Sequence[str]
    environ: Mapping[str, str]
    stack: contextlib.ExitStack

    def start(self) -> None:
        """Start the service; what ran before runs still."""
        log = self.root / "log"
        self.process = self.stack.enter_context(running(self.command, log, self.environ))
        self.api = _connect(self.socket)
        self.stack.callback(self.api.close)

    def kill(self) -> None:
        """End the service at once; containers go on without it."""
        self.api.close()
        self.process.kill()
        self.process.wait(10)
        self.socket.unlink(missing_ok=True)

    def containers(self, **labels: str) -> list[dict[str, Any]]:
        """Containers with these labels of ours, running or not."""
        wanted = [f"gateway.{name}={value}" for name, value in labels.items()]
        return list(self.api.containers(all=True, filters={"label": wanted}))

    def image(self, name: str, files: Mapping[str, bytes | str | Path], *changes: str) -> str:
        """Make ``localhost/test/<name>`` of ``files``, path to contents; returns its full name.

        ``changes`` are lines of a Dockerfile: ``ENV``, ``ENTRYPOINT``…
        """
        full = f"localhost/test/{name}"
        repository, _, tag = full.partition(":")
        told = self.api.import_image_from_data(archive(files), changes=list(changes))
        self.api.tag(json.loads(told.splitlines()[-1])["status"], repository, tag)
        return full


def archive(files: Mapping[str, bytes | str | Path]) -> bytes:
    """A tar of ``files``; a text that begins with ``->`` is a link, a path a file or whole tree."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, contents in files.items():
            if isinstance(contents, Path):
                tar.add(contents, path.lstrip("/"), filter=_kept)
                continue
            info = tarfile.TarInfo(path.lstrip("/"))
            info.mode = 0o755
            data = contents.encode() if isinstance(contents, str) else contents
            if data.startswith(b"->"):
                info.type, info.linkname = tarfile.SYMTYPE, data[2:].decode()
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _kept(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = set(info.name.split("/"))
    if parts & {"test", "tests", "__pycache__", "idlelib", "ensurepip", "lib2to3", "site-packages"}:
        return None
    info.uid = info.gid = 0
    return info if not info.name.endswith(".a") else None


def shell() -> dict[str, bytes | str | Path]:
    """Files of an image that holds busybox and nothing else."""
    busybox = Path(program("busybox"))
    links = {f"/bin/{name}": "->busybox" for name in _APPLETS}
    return {"/bin/busybox": busybox, **links, "/etc/passwd": "root:x:0:0::/:/bin/sh\n"}


def python() -> dict[str, bytes | str | Path]:
    """Files of an image that holds this interpreter and pydicom."""
    name = f"python3.{sys.version_info.minor}"
    binary = Path(sys.base_prefix, "bin", name).resolve()
    library = Path(sys.base_prefix, "lib", name).resolve()
    linked = {
        word
        for file in (binary, *library.glob("lib-dynload/*.so"))
        for word in _ldd(file).split()
        if word.startswith("/")
    }
    files: dict[str, bytes | str | Path] = {str(path): Path(path).resolve() for path in linked}
    files |= {f"/usr/local/bin/{name}": binary, f"/usr/local/lib/{name}": library}
    package = Path(pydicom.__file__).parent
    packages = f"/usr/local/lib/{name}/packages"
    (told,) = package.parent.glob("pydicom-*.dist-info")
    files |= {f"{packages}/pydicom": package, f"{packages}/{told.name}": told}
    files |= {"/usr/local/bin/python": f"->{name}"}
    typing = package.parent / "typing_extensions.py"
    return shell() | files | {f"{packages}/typing_extensions.py": typing}


def python_changes() -> tuple[str, ...]:
    """What goes with :func:`python`."""
    name = f"python3.{sys.version_info.minor}"
    return (
        f"ENV PYTHONPATH=/usr/local/lib/{name}/packages",
        "ENV PATH=/usr/local/bin:/bin",
    )


def _ldd(path: Path) -> str:
    done = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
    return done.stdout


@contextlib.contextmanager
def running_podman(*registries: int) -> Iterator[Podman]:
    """A Podman with storage of its own; every container and image of it is gone afterwards.

    ``registries``: loopback ports of registries without TLS.
    """
    podman = program("podman")
    program("runc")
    if os.geteuid() != 0:
        pytest.skip("Podman is tested as root only")
    # Not below pytest's folder: paths of sockets are short, and storage holds mounts.
    root = Path(tempfile.mkdtemp(prefix="gateway-podman-"))
    (root / "containers.conf").write_text(_CONF.format(root=root))
    open_ones = "".join(
        f'[[registry]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n' for port in registries
    )
    (root / "registries.conf").write_text(open_ones)
    environ = {
        "CONTAINERS_CONF": str(root / "containers.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(root / "registries.conf"),
    }
    socket = root / "s.sock"
    base = [podman, "--root", str(root / "storage"), "--runroot", str(root / "run")]
    command = [*base, "system", "service", "-t", "0", f"unix://{socket}"]
    try:
        with contextlib.ExitStack() as stack:
            service = Podman(socket, root, command, environ, stack)
            service.start()
            yield service
    finally:
        _clear([*base, "rm", "-fa", "-t", "0"], environ)
        _clear([*base, "rmi", "-fa"], environ)
        _clear(["umount", "-q", "-l", str(root / "storage" / "overlay")], environ)
        shutil.rmtree(root, ignore_errors=True)


def _clear(command: Sequence[str], environ: Mapping[str, str]) -> None:
    subprocess.run(
        list(command), env=os.environ | environ, capture_output=True, check=False, timeout=240
    )


def _connect(socket: Path) -> docker.APIClient:
    """A client, once the service listens: the SDK leaks its socket when nobody does."""
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), Socket(AF_UNIX) as probe:
            probe.connect(str(socket))
            return docker.APIClient(base_url=f"unix://{socket}", version="auto", timeout=60)
        assert time.monotonic() < deadline, "Podman does not answer"
        time.sleep(0.05)


def map_files(command: str, **pkg: Any) -> dict[str, bytes | str | Path]:
    """Manifests of a MONAI application package that runs ``command``."""
    app = {
        "api-version": "0.1.0", "command": command, "environment": {"FROM_MANIFEST": "yes"},
        "input": {"path": "input/", "formats": None}, "output": {"path": "output/", "format": None},
        "working-directory": "/var/monai/", "timeout": 0, "version": "1.0", "sdk-version": "0.5.1",
    }  # fmt: skip
    package = {
        "api-version": "0.1.0", "application-root": "/var/monai/", "version": "1.0",
        "models": [{"name": "net", "path": "/opt/monai/models/net.ts"}],
        "resources": {"cpu": 1, "gpu": 0, "memory": "2Gi"},
    } | pkg  # fmt: skip
    return {"/etc/monai/app.json": json.dumps(app), "/etc/monai/pkg.json": json.dumps(package)}
