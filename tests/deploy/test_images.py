"""The images: locked as the environment is, built without a network, and really running."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.base_image import build, cli, make_base, wheels
from tests.support.dcmtk import running_storescp, storescu
from tests.support.dicom import slice_
from tests.support.podman import Podman, running_podman
from tests.support.programs import free_port
from tests.support.site import application, deriving, rule, write

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS = ROOT / "deploy" / "containers"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^ \\]+)", re.MULTILINE)
LOCKS = {
    "requirements.lock": ("gateway[server,otel,triton]",),
    "operators.lock": ("gateway[operator,triton]",),
    "build.lock": ("hatchling",),
}


def pins(path: Path) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PIN.findall(path.read_text())}


def closure(wanted: tuple[str, ...]) -> set[str]:
    """Names of all that these requirements need here, themselves and `gateway` left out."""
    found: set[tuple[str, str]] = set()
    waiting = [(r, e) for each in wanted for r in [Requirement(each)] for e in {"", *r.extras}]
    while waiting:
        one, extra = waiting.pop()
        name = canonicalize_name(one.name)
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for text in requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed, more) for more in {"", *needed.extras}]
    return {name for name, _ in found} - {"gateway"}


@pytest.mark.parametrize("name", LOCKS)
def test_images_hold_what_the_environment_holds(name: str) -> None:
    whole, own = pins(ROOT / "requirements.lock"), pins(CONTAINERS / name)
    assert own.items() <= whole.items(), "run scripts/lock_images"
    assert set(own) == closure(LOCKS[name]), "run scripts/lock_images"
    assert (CONTAINERS / name).read_text().count("--hash=sha256:") >= len(own)


@pytest.mark.parametrize("name", ["gateway", "operator"])
def test_containerfiles_keep_the_rules(name: str) -> None:
    text = (CONTAINERS / f"{name}.Containerfile").read_text()
    lines = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in lines if line.startswith("FROM")] == [
        "FROM ${BASE} AS build",
        "FROM ${BASE}",
    ]
    assert "USER 10001:10001" in lines
    assert "--require-hashes" in text
    assert "org.opencontainers.image.revision" in text
    assert not re.search(r"\b(curl|wget)\b|ADD http", text)


def test_the_compose_files_publish_on_loopback_alone() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text())
    assert set(compose["services"]) == {"gateway", "orthanc", "postgres", "mosquitto"}
    for name, service in compose["services"].items():
        assert "container_name" not in service
        for port in service.get("ports", []):
            open_one = name == "gateway" and port.endswith(":11112")
            assert open_one or port.startswith("127.0.0.1:"), port
        assert ":latest" not in service["image"], name
    watching = yaml.safe_load((ROOT / "deploy" / "monitoring" / "compose.yaml").read_text())
    assert all("ports" not in service for service in watching["services"].values())


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with running_podman() as running:
        yield running


@pytest.fixture(scope="module")
def base(podman: Podman) -> str:
    return make_base(podman)


def labels(podman: Podman, image: str) -> dict[str, Any]:
    told: dict[str, Any] = podman.api.inspect_image(image)["Config"]["Labels"]
    return told


def wait_until(true: Callable[[], object], seconds: float, log: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, log()
        time.sleep(0.2)


@pytest.mark.prove
@pytest.mark.peers
@pytest.mark.timeout(1800)
def test_the_gateway_image_receives_runs_and_delivers(
    podman: Podman, base: str, tmp_path: Path
) -> None:
    image = "localhost/test/gateway:1"
    house = wheels("requirements.lock", "build.lock")
    subprocess.run(["make", "-s", "-C", str(ROOT / "deploy" / "waiter")], check=True, timeout=120)
    build(
        podman, CONTAINERS / "gateway.Containerfile", image, ROOT,
        "--build-arg", f"BASE={base}", "--build-arg", "REVISION=abc",
        "-v", f"{house}:/build/deploy/containers/wheels:ro",
    )  # fmt: skip
    assert labels(podman, image)["org.opencontainers.image.revision"] == "abc"
    about = podman.api.inspect_image(image)
    assert about["Config"]["User"] == "10001:10001"
    with running_storescp(tmp_path, "PACS") as pacs:
        _configure(tmp_path, pacs.port)
        ports = {name: free_port() for name in ("dicom", "http", "grpc")}
        done = cli(
            podman, "run", "-d", "--name", "gateway", "--network", "host",
            "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:rw,mode=1777",  # noqa: S108 - in the container
            "--cap-drop", "all", "--security-opt", "no-new-privileges",
            # Sandboxes are user namespaces with a /proc of their own.
            "--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL",
            "-v", f"{tmp_path / 'etc'}:/etc/gateway:ro",
            *(v for name, port in ports.items()
              for v in ("-e", f"GATEWAY_{name.upper()}__PORT={port}")),
            image,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        try:
            _live_through_a_study(podman, ports, pacs.folder, tmp_path)
        finally:
            cli(podman, "rm", "-f", "-t", "20", "gateway")


def _configure(tmp_path: Path, pacs: int) -> None:
    etc = tmp_path / "etc"
    (etc / "ae_config").mkdir(parents=True)
    (etc / "pipelines").mkdir()
    definition = deriving()
    # The interpreter of the image, not of this machine.
    definition["operators"][0]["container"]["command"][0] = "python"
    (etc / "pipelines" / "derive.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    site = {
        "applications": [application(rule())],
        "sources": [{"ae-title": "CT1", "hosts": ["127.0.0.1"]}],
        "destinations": [{"name": "PACS", "ae-title": "PACS", "host": "127.0.0.1", "port": pacs}],
    }
    (etc / "ae_config" / "site.yaml").write_text(yaml.safe_dump(site))
    settings = yaml.safe_load((CONTAINERS / "gateway.yaml").read_text()) | {
        "storage": {"watermark-percent": 100, "reserve-gb": 0},
        "images": {"test/python": {"command": ["/opt/gateway/bin/python"]}},
        "dicom": {"bind": "127.0.0.1"},
        "grpc": {"bind": "127.0.0.1"},
        "http": {"bind": "127.0.0.1"},
    }
    (etc / "gateway.yaml").write_text(yaml.safe_dump(settings))
    for path in (etc, *etc.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _live_through_a_study(
    podman: Podman, ports: dict[str, int], received: Path, tmp_path: Path
) -> None:
    base = f"http://127.0.0.1:{ports['http']}"
    with httpx.Client(base_url=base, trust_env=False, timeout=20) as http:

        def log() -> str:
            told = cli(podman, "logs", "--tail", "40", "gateway")
            with contextlib.suppress(httpx.TransportError):
                return told.stdout + told.stderr + http.get("/health").text
            return told.stdout + told.stderr

        def ready() -> bool:
            try:
                return http.get("/health/ready").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, 120, log)
        healthy = cli(podman, "healthcheck", "run", "gateway")
        assert healthy.returncode == 0, healthy.stdout + healthy.stderr
        files = [write(slice_(n), tmp_path / "ct" / f"{n}.dcm") for n in range(3)]
        done = storescu(files, ports["dicom"], "AI", "CT1")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: list(received.iterdir()), 120, log)
        (job,) = http.get("/api/v1/jobs").json()["items"]
        assert (job["state"], job["status"]) == ("STOPPED", "HEALTHY"), job["reason"]
        version = cli(podman, "exec", "gateway", "gateway", "version")
        assert version.returncode == 0, version.stderr
        waiter = cli(podman, "exec", "gateway", "test", "-x", "/opt/gateway/bin/gateway-waiter")
        assert waiter.returncode == 0, "no waiter: jobs on Kubernetes would be chains"
        written = cli(podman, "exec", "gateway", "touch", "/opt/gateway/x")
        assert written.returncode != 0, "the root is read-only"
    stopped = cli(podman, "stop", "-t", "60", "gateway")
    assert stopped.returncode == 0, stopped.stderr
    state = json.loads(cli(podman, "inspect", "gateway").stdout)[0]["State"]
    assert state["ExitCode"] == 0


@pytest.mark.prove
@pytest.mark.peers
@pytest.mark.timeout(1800)
def test_operator_images_run_as_operators(podman: Podman, base: str, tmp_path: Path) -> None:
    house = wheels("operators.lock")
    for name in ("dicom_reader", "register_results"):
        build(
            podman, CONTAINERS / "operator.Containerfile", f"localhost/test/{name}:1", ROOT,
            "--build-arg", f"BASE={base}", "--build-arg", f"OPERATOR={name}",
            "-v", f"{house}:/build/wheels:ro",
        )  # fmt: skip
    source, target = tmp_path / "in", tmp_path / "out"
    phantom = [sys.executable, "-m", "gateway.demo.phantom", str(source)]
    subprocess.run([*phantom, "--slices", "12", "--matrix", "64"], check=True, capture_output=True)
    target.mkdir()
    target.chmod(0o777)
    done = cli(
        podman, "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all",
        "-v", f"{source}:/input:ro", "-v", f"{target}:/output",
        "-e", "NVIDIA_CLARA_INPUTPATHS=input:/input",
        "-e", "NVIDIA_CLARA_OUTPUTPATHS=output:/output",
        "localhost/test/dicom_reader:1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path for path in target.rglob("*") if path.is_file()]
    claras = cli(
        podman, "run", "--rm", "--network", "none", "--entrypoint", "python",
        "localhost/test/register_results:1", "register.py", "--help",
    )  # fmt: skip
    assert claras.returncode == 0, claras.stderr
    assert "--agent" in claras.stdout
