"""The systemd unit: systemd's own check accepts it, and it leaves operators their sandbox."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import program

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "systemd" / "gateway.service"
# Each would take from bubblewrap what it makes sandboxes with.
BREAKS_SANDBOXES = {
    "RestrictNamespaces", "ProtectKernelTunables", "ProtectKernelLogs", "ProtectControlGroups",
    "ProtectProc", "ProtectHostname", "ProtectClock", "PrivateDevices", "PrivateUsers",
    "SystemCallFilter", "MemoryDenyWriteExecute",
}  # fmt: skip


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


@pytest.mark.peers
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    # What it would start need not be installed here.
    text = UNIT.read_text().replace("/opt/gateway/.venv/bin/gateway", sys.executable)
    copy = tmp_path / "gateway.service"
    copy.write_text(text)
    done = subprocess.run(
        [analyze, "verify", str(copy)], capture_output=True, text=True, check=False, timeout=60
    )
    ours = [line for line in done.stderr.splitlines() if "gateway.service" in line]
    assert done.returncode == 0, done.stderr
    assert ours == []
    broken = tmp_path / "broken.service"
    broken.write_text(text.replace("ProtectSystem=strict", "ProtectSystem=strictly"))
    told = subprocess.run(
        [analyze, "verify", str(broken)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "protect system" in told.stderr


def test_the_unit_is_hard_and_lets_sandboxes_be() -> None:
    found = service()
    assert found["ProtectSystem"] == "strict"
    assert found["NoNewPrivileges"] == "true"
    assert found["CapabilityBoundingSet"] == ""
    assert found["StateDirectory"] == "gateway"
    assert not BREAKS_SANDBOXES & set(found)


@pytest.mark.peers
def test_sandboxes_start_without_any_capability(tmp_path: Path) -> None:
    """As the unit starts the gateway: no privileges to gain, nothing in the bounding set."""
    user = ("--reuid", "65534", "--regid", "65534", "--clear-groups") if os.geteuid() == 0 else ()
    bounds = ("--bounding-set", "-all") if user else ()
    sandbox = ("--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")
    done = subprocess.run(
        [
            program("setpriv"), *user, *bounds, "--no-new-privs", "--inh-caps", "-all",
            program("bwrap"), *sandbox, "--hostname", "operator", "true",
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
