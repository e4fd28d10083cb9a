"""The how-to that builds an inference operator is followed, word by word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.support.triton import Triton

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "build-your-own-inference.md"


def block(language: str) -> str:
    """The first fenced block of a language."""
    found = re.search(
        rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found is not None, language
    return found[1]


@pytest.mark.peers
def test_the_page_builds_an_operator_that_runs(triton: Triton, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "config_inference.json").write_text(block("json"))
    (tmp_path / "liver.py").write_text(block("python"))
    (tmp_path / "volume").mkdir()
    hu = np.full((40, 36, 30), -100, np.int16)
    hu[10:30, 8:28, 6:24] = 189
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(hu, affine), tmp_path / "volume" / "ct.nii")
    environ = {
        **os.environ,
        "NVIDIA_TRITON_GRPCURI": triton.grpc,
        "BASE_INFERENCE_CONFIG": str(config),
    }
    arguments = ["--input", "volume/", "--output", "out/"]

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command, *arguments],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip

    done = run("liver.py")
    assert done.returncode == 0, done.stderr
    labels = np.asarray(nibabel.load(tmp_path / "out" / "ct.nii.gz").dataobj)
    assert labels.shape == hu.shape
    assert labels[12:28, 10:26, 8:22].min() == labels.max() == 2
    # Without the step of the site's own, the page quotes what is said.
    done = run("-m", "gateway.operators.base_inference")
    assert done.returncode == 2
    quoted = re.search(r"`BAD_CONFIG: (.*?)`", PAGE.read_text("utf-8"))
    assert quoted is not None
    assert quoted[1] in done.stderr.replace("\\u2026", "…")
