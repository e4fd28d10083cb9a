"""A real Prometheus on loopback that scrapes one gateway every second."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.programs import free_port, program, running

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "monitoring" / "alerts.yaml"
JOB = "gateway"


class Prometheus:
    """A running Prometheus, asked by its HTTP API."""

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector an instant query gives; asserts that it is one."""
        answer = self._http.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        data = answer.json()["data"]
        assert data["resultType"] == "vector", expression
        found: list[dict[str, Any]] = data["result"]
        return found

    def firing(self) -> set[tuple[str, str]]:
        """Alerts that fire, with their destination where they have one."""
        answer = self._http.get("/api/v1/alerts").raise_for_status().json()
        return {
            (alert["labels"]["alertname"], alert["labels"].get("destination", ""))
            for alert in answer["data"]["alerts"]
            if alert["state"] == "firing"
        }

    def wait(self, what: Callable[[], Any], seconds: float = 90) -> Any:
        """Wait until ``what`` gives something true."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, f"waited {seconds} s; firing: {self.firing()}"
            time.sleep(0.2)
        return found


def impatient() -> dict[str, Any]:
    """The shipped rules, firing at once and not after minutes; those about trends as they are."""
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if rule.get("for") not in {"15m", "1h"}:
                rule.pop("for", None)
    return rules


@contextlib.contextmanager
def running_prometheus(folder: Path, target: int) -> Iterator[Prometheus]:
    """Prometheus over the gateway at loopback port ``target``; ready, not yet scraped."""
    command, port = program("prometheus"), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alerts.yaml").write_text(yaml.safe_dump(impatient(), sort_keys=False))
    scrape = {"job_name": JOB, "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    arguments = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running([command, *arguments], folder / "prometheus.log") as process:
        peer = Prometheus(port)
        try:
            _wait_until_ready(peer, process)
            yield peer
        finally:
            peer.close()


def _wait_until_ready(peer: Prometheus, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(httpx.TransportError):
            if peer._http.get("/-/ready").status_code == 200:
                return
        assert process.poll() is None, "Prometheus ended"
        assert time.monotonic() < deadline, "Prometheus is not ready"
        time.sleep(0.05)


def promtool(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One call of promtool; the caller looks at the return code."""
    return subprocess.run(
        [program("promtool"), *arguments],
        capture_output=True, text=True, check=False, timeout=60, cwd=cwd,
    )  # fmt: skip
