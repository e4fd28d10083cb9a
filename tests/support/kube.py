"""A real Kubernetes API server for tests, where its programs lie beside the checkout."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UP_SECONDS = 240


def tool() -> Path:
    """The program ``cluster``; skips where it is not, fails where peers are required."""
    folder = os.environ.get("GATEWAY_TEST_KUBE", ROOT.parent / "shared" / "tools" / "kube")
    found = Path(folder, "cluster")
    if not found.is_file():
        reason = f"no Kubernetes at {found.parent}: set GATEWAY_TEST_KUBE"
        if os.environ.get("GATEWAY_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextlib.contextmanager
def running_api_server() -> Iterator[Path]:
    """The path of a kubeconfig (cluster-admin) of a fresh cluster without nodes."""
    cluster = tool()
    # Not below pytest's folder: etcd and sockets want a short path.
    folder = Path(tempfile.mkdtemp(prefix="gateway-kube-"))
    call = [sys.executable, str(cluster)]
    try:
        done = subprocess.run(
            [*call, "up", str(folder)],
            capture_output=True, text=True, timeout=UP_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        yield folder / "kubeconfig"
    finally:
        subprocess.run([*call, "down", str(folder)], capture_output=True, timeout=60, check=False)
        shutil.rmtree(folder, ignore_errors=True)
