"""A gateway that serves the platform API, and NVIDIA's client in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from tests.support import clara
from tests.support.site import Site, application, operator, pipeline

ROOT = Path(__file__).resolve().parents[2]
COPY = """
import pathlib, shutil, os
print(os.environ["GREETING"])
for path in sorted(pathlib.Path("/input").rglob("*")):
    if path.is_file():
        print(path.name)
        shutil.copy(path, "/output")
"""


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[Site]:
    """A gateway of its own."""
    made = Site(folder, applications=[application()], pipelines=[], settings=settings)
    made.start()
    try:
        yield made
    finally:
        assert made.stop() == 0


@pytest.fixture(scope="session")
def fresh_site() -> Callable[..., Any]:
    """Starts a gateway that no other test has touched."""
    return served


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A gateway without pipelines, rules or destinations."""
    with served(tmp_path_factory.mktemp("platform")) as made:
        yield made


@pytest.fixture(scope="session")
def channel(site: Site) -> Iterator[grpc.Channel]:
    """A channel to it."""
    with grpc.insecure_channel(f"127.0.0.1:{site.ports['grpc']}") as made:
        yield made


@pytest.fixture(scope="session")
def api(channel: grpc.Channel) -> clara.Api:
    """Its services, called by their names."""
    return clara.Api(channel)


def copying(name: str = "copy") -> str:
    """A pipeline of one operator that copies its input and prints its parameter."""
    made = pipeline(
        name,
        operator("copy", COPY, variables={"GREETING": "${{ GREETING }}"}),
        parameters={"GREETING": "hello"},
    )
    return yaml.safe_dump(made, sort_keys=False)


@pytest.fixture(scope="session")
def definition() -> Callable[..., str]:
    """Makes definitions."""
    return copying


@pytest.fixture(scope="session")
def client_python() -> Path:
    """The interpreter that has NVIDIA's client; made once and kept in ``.cache``."""
    folder = ROOT / ".cache" / "clara-client"
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        uv = Path(sys.executable).parent / "uv"
        made = [uv, "venv", "-q", "--clear", "--python", sys.executable, folder]
        filled = [uv, "pip", "install", "-q", "--python", python, *clara.CLIENT]
        try:
            for command in (made, filled):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=170)
        except (OSError, subprocess.SubprocessError) as error:
            reason = f"NVIDIA's client cannot be installed: {error}"
            if os.environ.get("GATEWAY_REQUIRE_PEERS") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        (folder / ".installed").touch()
    return python


@pytest.fixture(scope="session")
def client_run(client_python: Path) -> Callable[..., dict[str, Any]]:
    """Runs a script with NVIDIA's client and gives what it printed as JSON."""

    def run(script: Path, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [client_python, script, *arguments],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run
