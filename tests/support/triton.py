"""A real Triton server for tests: NVIDIA's own binary, from the ``nvidia-pytriton`` wheel.

It runs on the processor and has one backend, Python.  Its virtual environment is made once from
``triton.lock`` (every file by hash) in ``$GATEWAY_TEST_CACHE``, or ``~/.cache/gateway-tests``
without that variable, in a folder named after the lock: the first test that needs it takes about
ten seconds more, the others nothing.  ONNX models run inside Python models by ``onnxruntime``,
which the lock holds too.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import free_port, missing

LOCK = Path(__file__).with_name("triton.lock")
START_SECONDS = 90.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Installation:
    """Where Triton is installed, and what it needs to start."""

    root: Path
    """Its virtual environment."""

    @property
    def server(self) -> Path:
        """The program ``tritonserver``."""
        return self._package / "tritonserver" / "bin" / "tritonserver"

    @property
    def backends(self) -> Path:
        """The folder for ``--backend-directory``."""
        return self.root / "backends"

    @property
    def launcher(self) -> Path:
        """A program that starts it with all it needs, for ``images`` of gateway.yaml."""
        return self.root / "bin" / "tritonserver"

    @property
    def command(self) -> tuple[str, ...]:
        """Program and the options that every start needs; repository and ports come after."""
        return (str(self.server), f"--backend-directory={self.backends}")

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables it needs."""
        libraries = [self._site / "nvidia_pytriton.libs", _library_folder()]
        return {
            "LD_LIBRARY_PATH": ":".join(str(folder) for folder in libraries if folder),
            "PYTHONPATH": str(self._site),
            # The stub of the Python backend finds its standard library by this `python3`.
            "PATH": f"{self.root / 'bin'}:/usr/bin:/bin",
        }

    @property
    def _site(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.root / "lib" / version / "site-packages"

    @property
    def _package(self) -> Path:
        return self._site / "pytriton"


def installation() -> Installation:
    """Triton, installed now if it is not yet; skips (or fails) where that cannot be done."""
    if _library() is None:
        missing("Triton's Python backend needs Python's shared library (Debian: libpython3-dev)")
    cache = Path(os.environ.get("GATEWAY_TEST_CACHE") or Path.home() / ".cache" / "gateway-tests")
    digest = hashlib.sha256(
        LOCK.read_bytes() + sys.version.encode() + sys.base_prefix.encode() + b"2"
    )
    root = cache / f"triton-{digest.hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "triton.busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        if not (root / ".installed").exists():
            _install(root)
    return Installation(root)


def _install(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    uv = Path(sys.prefix, "bin", "uv")
    into = ("--python", str(root / "bin" / "python"))
    installing = (
        [str(uv), "venv", "-q", "--python", str(python), str(root)],
        [str(uv), "pip", "install", "-q", *into, "--require-hashes", "-r", str(LOCK)],
    )
    for command in installing:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            missing(f"Triton cannot be installed: {done.stderr.strip()[-500:]}")
    made = Installation(root)
    backend = made.backends / "python"
    backend.mkdir(parents=True)
    tritonserver = made.server.parent.parent
    stub = f"python_backend_stubs/3.{sys.version_info.minor}/triton_python_backend_stub"
    for file in (*(tritonserver / "backends" / "python").iterdir(), tritonserver / stub):
        (backend / file.name).symlink_to(os.path.relpath(file, backend))
    (tritonserver / stub).chmod(0o755)
    made.server.chmod(0o755)
    made.launcher.write_text(
        "#!/bin/sh\n"
        + "".join(f"export {name}='{value}'\n" for name, value in made.environ.items())
        + f'exec {" ".join(made.command)} "$@"\n'
    )
    made.launcher.chmod(0o755)
    (root / ".installed").touch()


def _library() -> str | None:
    """The shared library of our Python, where the loader or we can find it."""
    name = f"libpython3.{sys.version_info.minor}.so.1.0"
    folders = (sysconfig.get_config_var("LIBDIR"), f"/usr/lib/{_triplet()}", "/usr/lib64")
    return next((str(f) for f in folders if f and Path(f, name).exists()), None)


def _library_folder() -> str | None:
    folder = _library()
    return None if folder is None or folder.startswith("/usr/lib") else folder


def _triplet() -> str:
    return str(sysconfig.get_config_var("MULTIARCH"))


def python_model(repository: Path, name: str, config: str, source: str) -> Path:
    """Write a model of the Python backend, version 1; returns its folder.

    ``config`` is what ``config.pbtxt`` says besides name and backend.
    """
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(f'name: "{name}"\nbackend: "python"\n{config}\n')
    (folder / "1" / "model.py").write_text(source)
    return folder


ADDING = """
max_batch_size: 0
input [ { name: "INPUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU } ]
"""
"""Input and output of :func:`adding_model`."""


def adding_model(repository: Path, name: str, add: float) -> Path:
    """Write a model that adds a number to each of its input's."""
    source = f"""
import numpy
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            numbers = triton.get_input_tensor_by_name(request, "INPUT").as_numpy()
            result = triton.Tensor("OUTPUT", (numbers + {add}).astype(numpy.float32))
            answers.append(triton.InferenceResponse([result]))
        return answers
"""
    return python_model(repository, name, ADDING, source)


class Triton:
    """A server on free ports of 127.0.0.1; :func:`serving` makes it."""

    def __init__(self, repository: Path, log: Path, *, explicit: bool = False) -> None:
        """``explicit``: it loads no model until told by :meth:`load`."""
        self._found = installation()
        self._repository = repository
        self._log = log
        self._explicit = explicit
        self.http_port, self.grpc_port, self.metrics_port = free_port(), free_port(), free_port()
        self._shared = f"gateway-test-{self.http_port}-"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def http(self) -> str:
        """``host:port`` of HTTP."""
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        """``host:port`` of gRPC."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which operators find it."""
        return {
            "NVIDIA_TRITON_HTTPURI": self.http,
            "CLARA_TRITON_URI": self.http,
            "NVIDIA_CLARA_TRTISURI": self.http,
            "NVIDIA_TRITON_GRPCURI": self.grpc,
        }

    def start(self) -> None:
        """Start it; returns when it and, unless it is explicit, its models are ready."""
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self._found.command, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._found.environ},
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"Triton did not become ready: {self._log.read_text()[-3000:]}")
            time.sleep(0.05)

    def ready(self) -> bool:
        """True when it says so."""
        return self._ask("/v2/health/ready")

    def load(self, model: str) -> None:
        """Load a model; fails with Triton's own words."""
        assert self._ask(f"/v2/repository/models/{model}/load", b"{}"), self._log.read_text()

    def stop(self) -> None:
        """End it and what it started (a stub for each Python model)."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash does; it may be started again on the same ports."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait(30)
            self.process = None
        for left in Path("/dev/shm").glob(f"{self._shared}*"):  # noqa: S108 - our own prefix
            left.unlink(missing_ok=True)

    def _options(self) -> list[str]:
        mode = "explicit" if self._explicit else "none"
        return [
            f"--model-repository={self._repository}",
            f"--model-control-mode={mode}",
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            "--metrics-address=127.0.0.1",
            f"--http-port={self.http_port}",
            f"--grpc-port={self.grpc_port}",
            f"--metrics-port={self.metrics_port}",
            "--exit-on-error=false",
            f"--backend-config=python,shm-region-prefix-name={self._shared}",
        ]

    def _ask(self, path: str, body: bytes | None = None) -> bool:
        request = urllib.request.Request(f"http://{self.http}{path}", data=body)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def serving(repository: Path, folder: Path, *, explicit: bool = False) -> Iterator[Triton]:
    """A Triton server on a model repository, its log in ``folder``; ended on leaving."""
    server = Triton(repository, folder / "triton.log", explicit=explicit)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def images() -> dict[str, dict[str, list[str]]]:
    """What ``images`` of gateway.yaml says, for the process executor to find this Triton."""
    return {"tritonserver": {"command": [str(installation().launcher)]}}
