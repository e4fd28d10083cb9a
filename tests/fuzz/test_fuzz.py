"""Coverage-guided fuzzing of everything that reads bytes of strangers.

Short in ``make test``; ``make prove-fuzz`` takes ``FUZZ_SECONDS`` (default 600) over all targets.
A finding is written beside the corpus; put it into the tests of its room once it is mended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("acceptor", "associations", "commands", "configs", "files", "heads")
SHORT_SECONDS = 2
MOST_MB = 768
"""Memory beyond which growth counts as a finding."""


def fuzz(target: str, seconds: int, folder: Path) -> str:
    """Run libFuzzer; returns its last report line."""
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MOST_MB}",
        "-timeout=20",
        "-max_len=8192",
        f"-artifact_prefix={folder}/",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.targets", target, *options, str(folder / "corpus")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + 120,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, f"{target}, in {folder}:\n{done.stderr[-4000:]}"
    return next(line for line in done.stderr.splitlines() if "DONE" in line and "cov:" in line)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_falls_over_within_seconds(target: str, tmp_path: Path) -> None:
    folder = tmp_path / target
    folder.mkdir()
    assert "cov:" in fuzz(target, SHORT_SECONDS, folder)


@pytest.mark.prove
@pytest.mark.parametrize("target", TARGETS)
def test_prove_fuzz(target: str, tmp_path: Path) -> None:
    folder = tmp_path / target
    folder.mkdir()
    share = max(1, int(os.environ.get("FUZZ_SECONDS", "600")) // len(TARGETS))
    line = fuzz(target, share, folder)
    print(f"\n{target}: {share} s, {line}")  # noqa: T201 - make prove shows its figures
