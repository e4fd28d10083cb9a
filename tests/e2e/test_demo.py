"""``gateway demo`` shows the whole way and leaves nothing running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.processes import command

MARK = "GATEWAY_DEMO_OF_A_TEST"


@pytest.mark.slow
def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "demo"],
        cwd=tmp_path,
        env=os.environ | {MARK: str(tmp_path), "COLUMNS": "160"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    took = time.monotonic() - began
    assert done.returncode == 0, done.stdout + done.stderr
    for wanted in ("Segmentation Storage", " SR Storage", "Secondary Capture Image Storage"):
        assert wanted in done.stdout
    assert re.search(r"Right: Volume.* \d+\.\d ml .*truth", done.stdout), done.stdout
    assert re.search(r"Left: .*LAA-950.* \d+\.\d % .*truth", done.stdout), done.stdout
    way = done.stdout.partition("The way of the study")[2]
    # In the order the data went.
    told = [
        way.find(word)
        for word in (
            "association released",
            "revision 1 complete",
            "job created",
            "operator dicom-reader started",
            "job stopped: HEALTHY",
            "delivered to PACS",
        )
    ]
    assert told == sorted(told), way
    assert told[0] > 0, way
    assert (tmp_path / "gateway-demo" / "gateway.log").is_file()
    assert list((tmp_path / "gateway-demo" / "pacs").rglob("*")) != []
    assert _left(tmp_path) == []
    with capsys.disabled():
        print(f" [demo: {took:.0f} s]", end="")  # noqa: T201


def _left(folder: Path) -> list[str]:
    """Processes that the demonstration left: they carry its environment, or work in its folder."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get(MARK) == str(folder)
            here = process.cwd().startswith(str(folder))
        except psutil.Error:
            continue
        if (mine or here) and process.pid != os.getpid() and (words := command(process)):
            found.append(" ".join(words))
    return found
