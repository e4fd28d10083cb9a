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


def begin(target: str, seconds: int, folder: Path) -> subprocess.Popen[str]:
    """Start libFuzzer on one target; its findings and report go into ``folder``."""
    folder.mkdir()
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MOST_MB}",
        "-timeout=20",
        "-max_len=8192",
        f"-artifact_prefix={folder}/",
    ]
    with (folder / "report").open("w") as report:
        return subprocess.Popen(
            # A process that is started straight from here begins with this one's peak memory,
            # which libFuzzer would take for its own: `timeout` is a small parent between.
            [
                *("timeout", str(seconds + 110)),
                *(sys.executable, "-m", "tests.fuzz.targets", target),
                *(*options, str(folder / "corpus")),
            ],
            cwd=ROOT,
            stdout=report,
            stderr=report,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )


def end(target: str, process: subprocess.Popen[str], seconds: int, folder: Path) -> str:
    """Wait for a run; returns its last report line."""
    code = process.wait(seconds + 120)
    report = (folder / "report").read_text(errors="replace")
    assert code == 0, f"{target}, in {folder}:\n{report[-4000:]}"
    return next(line for line in report.splitlines() if "DONE" in line and "cov:" in line)


def test_nothing_falls_over_within_seconds(tmp_path: Path) -> None:
    # At once: most of a short run is starting.
    running = {t: begin(t, SHORT_SECONDS, tmp_path / t) for t in TARGETS}
    # All end before any is judged: a finding of one must not leave the others running.
    for process in running.values():
        process.wait(SHORT_SECONDS + 120)
    for target, process in running.items():
        assert end(target, process, SHORT_SECONDS, tmp_path / target)


@pytest.mark.prove
@pytest.mark.parametrize("target", TARGETS)
def test_prove_fuzz(target: str, tmp_path: Path) -> None:
    share = max(1, int(os.environ.get("FUZZ_SECONDS", "600")) // len(TARGETS))
    folder = tmp_path / target
    line = end(target, begin(target, share, folder), share, folder)
    print(f"\n{target}: {share} s, {line}")  # noqa: T201 - make prove shows its figures
