"""A real Kubernetes of the tests' own: API server, scheduler, kubelet; its images and what it says.

The tools stand in ``shared/tools/kube`` beside the checkout, as the test data does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

_ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "gateway"
UP_SECONDS = 240
BUSYBOX, PYTHON = "localhost/busybox", "localhost/python"
"""Images that every node has, tag 1."""


def tool() -> Path:
    """The program ``cluster``; skips where it is not, fails where peers are required."""
    folder = os.environ.get("GATEWAY_TEST_KUBE", _ROOT.parent / "shared" / "tools" / "kube")
    found = Path(folder, "cluster")
    if not found.is_file():
        reason = f"no Kubernetes at {found.parent}: set GATEWAY_TEST_KUBE"
        if os.environ.get("GATEWAY_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@dataclass
class Kube:
    """A cluster that runs."""

    folder: Path
    program: Path
    _client: client.ApiClient | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""
        return self.folder / "kubeconfig"

    @property
    def host(self) -> str:
        """This machine's address as Pods see it."""
        return (self.folder / "hostip").read_text().strip()

    def core(self) -> client.CoreV1Api:
        """The administrator's client."""
        return client.CoreV1Api(self.client())

    def client(self) -> client.ApiClient:
        """For the other parts of the API."""
        if self._client is None:
            found = client.Configuration()
            config.load_kube_config(str(self.kubeconfig), client_configuration=found)
            self._client = client.ApiClient(found)
        return self._client

    def close(self) -> None:
        """Let go of the client's connections."""
        if self._client is not None:
            self._client.close()

    def pods(self, selector: str = "") -> list[Any]:
        """Pods of the namespace."""
        return list(self.core().list_namespaced_pod(NAMESPACE, label_selector=selector).items)

    def cluster(self, *words: str) -> None:
        """A command of the tool: ``gpu``, ``load``, ``fakenode``."""
        name, *rest = words
        _call(self.program, name, str(self.folder), *rest)

    def pid(self, daemon: str) -> int:
        """The process of a part, to be stopped and continued."""
        return int((self.folder / "pids" / daemon).read_text().split()[0])

    @contextlib.contextmanager
    def without_api_server(self) -> Iterator[None]:
        """It is killed, and another one begins on the same data afterwards."""
        pid = self.pid("kube-apiserver")
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
        os.kill(pid, signal.SIGKILL)
        try:
            yield
        finally:
            with (self.folder / "logs" / "kube-apiserver.log").open("ab") as log:
                again = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                    start_new_session=True,
                )  # fmt: skip
            born = Path(f"/proc/{again.pid}/stat").read_text().rpartition(")")[2].split()[19]
            (self.folder / "pids" / "kube-apiserver").write_text(f"{again.pid} {born}")
            # Somebody else's child: it ends with the cluster, and its number is in the file.
            again.returncode = 0

    @contextlib.contextmanager
    def without_node(self, name: str = "node-1") -> Iterator[None]:
        """Its kubelet stands still, and the cluster takes it for unreachable."""
        config = f"{self.folder}/node/kubelet.json"
        (kubelet,) = (
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and config in _command(entry)
        )
        # A cluster whose nodes are all gone takes that for a fault of its own, and evicts nobody.
        self.cluster("fakenode", "spare")
        os.kill(kubelet, signal.SIGSTOP)
        try:
            lost = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]
            self.core().patch_node_status(name, {"status": {"conditions": lost}})
            yield
        finally:
            os.kill(kubelet, signal.SIGCONT)
            self.core().delete_node("spare")

    def token_config(self, token: str, path: Path) -> Path:
        """A way in for whoever has ``token``."""
        told = json.loads(self.kubeconfig.read_text())
        told["users"] = [{"name": "admin", "user": {"token": token}}]
        path.write_text(json.dumps(told))
        return path

    def load_layer(self, reference: str, layer: bytes, **config: Any) -> None:
        """Give the node an image of one layer, a tar archive."""
        images = _images(self.program.parent)
        with tempfile.TemporaryDirectory(prefix="gateway-kube-image-") as folder:
            path = Path(folder, "image.tar")
            images.build(path, reference, [layer], **config)
            self.cluster("load", str(path))

    def load(
        self,
        reference: str,
        files: Mapping[str, str | Path],
        links: Mapping[str, str] | None = None,
        **config: Any,
    ) -> None:
        """Make an image of ``files``, path in it to path here, and give it to the node."""
        images = _images(self.program.parent)
        layer = images.layer({k: str(v) for k, v in files.items()}, links)
        self.load_layer(reference, layer, **config)


def _images(folder: Path) -> Any:
    """The tool's own module; it stands in no package."""
    sys.path.insert(0, str(folder))
    try:
        import images
    finally:
        sys.path.remove(str(folder))
    return images


def _call(program: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, str(program), *words],
        capture_output=True,
        text=True,
        timeout=UP_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def _command(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_text(errors="replace")
    return ""


@contextlib.contextmanager
def running_cluster(*options: str) -> Iterator[Kube]:
    """A cluster; nothing of it is left afterwards.  ``--kubelet``: its Pods really run."""
    program = tool()
    if "--kubelet" in options and os.geteuid() != 0:
        pytest.skip("a kubelet needs root")
    # Not below pytest's folder: etcd and sockets want a short path.
    folder = Path(tempfile.mkdtemp(prefix="gateway-kube-"))
    try:
        _call(program, "up", str(folder), *options)
        kube = Kube(folder, program)
        try:
            yield kube
        finally:
            kube.close()
    finally:
        _call(program, "down", str(folder))
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def shared_cluster(place: Path) -> Iterator[Kube]:
    """The cluster of all test processes that name the same folder; the last one ends it."""
    standing = os.environ.get("GATEWAY_TEST_KUBE_CLUSTER")
    if standing is not None:
        yield from _standing(Path(standing))
        return
    state = place / "kube.json"
    with _locked(place):
        told = json.loads(state.read_text()) if state.exists() else {"users": 0}
        if not told["users"]:
            told["folder"] = tempfile.mkdtemp(prefix="gateway-kube-")
            _call(tool(), "up", told["folder"], "--kubelet")
        told["users"] += 1
        state.write_text(json.dumps(told))
    kube = Kube(Path(told["folder"]), tool())
    try:
        yield kube
    finally:
        kube.close()
        with _locked(place):
            told = json.loads(state.read_text())
            told["users"] -= 1
            state.write_text(json.dumps(told))
            if not told["users"]:
                _call(kube.program, "down", told["folder"])
                shutil.rmtree(told["folder"], ignore_errors=True)


def _standing(folder: Path) -> Iterator[Kube]:
    """A cluster that somebody keeps, to try one test again and again."""
    kube = Kube(folder, tool())
    try:
        yield kube
    finally:
        kube.close()


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    with (place / "kube.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def running_api_server() -> Iterator[Path]:
    """The path of a kubeconfig (cluster-admin) of a fresh cluster without nodes."""
    with running_cluster() as kube:
        yield kube.kubeconfig


def waiter(folder: Path) -> Path:
    """The waiter, compiled into ``folder``."""
    path = folder / "gateway-waiter"
    make = ["make", "-s", "-C", str(_ROOT / "deploy" / "waiter"), "install"]
    if not path.exists():
        build = folder / "waiter-build"
        shutil.copytree(_ROOT / "deploy" / "waiter", build)
        make[3] = str(build)
        subprocess.run([*make, f"PREFIX={folder}"], check=True, capture_output=True)
        (folder / "bin" / "gateway-waiter").rename(path)
    return path


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until ``condition`` gives something true; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def step(
    name: str,
    script: str,
    *,
    source: str | Sequence[str] | None = None,
    output: str = "[{path: /output}]",
    image: str = BUSYBOX,
    tag: str = "1",
    extra: str = "",
) -> str:
    """One operator of a definition, as YAML: a shell script."""
    sources = [source] if isinstance(source, str) else list(source or ())
    reads = ", ".join(f"{{path: /in/{s}, from: {s}}}" for s in sources) or "{path: /input}"
    return (
        f"- name: {name}\n"
        f"  container: {{image: {image}, tag: '{tag}', command: [sh, -c, {json.dumps(script)}]}}\n"
        f"  input: [{reads}]\n  output: {output}\n"
        f"  requests: {{memory: 64, cpu: 0.1}}\n{extra}"
    )
