"""Helm for tests: its own Go SDK, from the wheel ``helm-python-sdk``, in an environment of its own.

The environment is made once from ``helm.lock`` (every file by hash) in ``$GATEWAY_TEST_CACHE``, or
``~/.cache/gateway-tests`` without that variable, in a folder named after the lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.programs import missing

LOCK = Path(__file__).with_name("helm.lock")
DRIVER = Path(__file__).with_name("helm_driver.py")
CALL_SECONDS = 150


class HelmRefused(Exception):  # noqa: N818 - what Helm says, not a fault of the test
    """Helm's own words about why it did not do it."""


@dataclass(frozen=True)
class Helm:
    """Calls of Helm's SDK about one chart; with ``kubeconfig`` also those that need a cluster."""

    python: Path
    chart: Path
    kubeconfig: Path | None = None
    namespace: str = "default"

    def call(self, name: str, /, *arguments: Any, **options: Any) -> Any:
        """One call, see ``helm_driver.py``; raises :class:`HelmRefused`."""
        asked = {
            "call": name,
            "arguments": arguments,
            "options": options,
            "chart": self.chart.name,
            "kubeconfig": None if self.kubeconfig is None else str(self.kubeconfig),
            "namespace": self.namespace,
        }
        done = subprocess.run(
            [str(self.python), str(DRIVER)],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            check=False,
            # The SDK takes charts by paths relative to the working folder.
            cwd=self.chart.parent,
            env=os.environ | {"PYTHONPATH": ""},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        told = json.loads(done.stdout.splitlines()[-1])
        if "refused" in told:
            raise HelmRefused(told["refused"])
        return told["answer"]


def installed() -> Path:
    """The interpreter that can import ``helm_python``; installed now if it is not yet."""
    cache = Path(os.environ.get("GATEWAY_TEST_CACHE") or Path.home() / ".cache" / "gateway-tests")
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode() + sys.base_prefix.encode())
    root = cache / f"helm-{digest.hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "helm.busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        if not (root / ".installed").exists():
            _install(root)
    return root / "bin" / "python"


def _install(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    uv = Path(sys.prefix, "bin", "uv")
    into = ("--python", str(root / "bin" / "python"))
    for command in (
        [str(uv), "venv", "-q", "--python", str(python), str(root)],
        [str(uv), "pip", "install", "-q", *into, "--require-hashes", "-r", str(LOCK)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            missing(f"Helm cannot be installed: {done.stderr.strip()[-500:]}")
    (root / ".installed").touch()
