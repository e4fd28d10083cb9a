"""chest-xray when its Triton dies under it, when the model is not there, and on real images."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.operators.chest_xray.__main__ import main
from gateway.operators.sdk import run
from tests.support.inference import CHEST, MODELS
from tests.support.radiographs import dataset, draw, matches, save
from tests.support.triton import Triton, serving

pytestmark = pytest.mark.peers


@pytest.mark.prove
def test_a_triton_killed_in_mid_job_comes_back_and_nothing_is_lost(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    shutil.copytree(MODELS / CHEST, repository / CHEST)
    drawn = draw(1001, ("nodule", "opacity"))
    for number in range(8):
        save(tmp_path / "in", dataset(drawn, StudyInstanceUID="2.25.9", InstanceNumber=number + 1))
    with serving(repository, tmp_path) as server:
        command = [sys.executable, "-m", "gateway.operators.chest_xray"]
        command += ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
        with subprocess.Popen(
            command,
            env=server.environ | {"PATH": "/usr/bin:/bin"},
            stderr=subprocess.PIPE,
            text=True,
        ) as operator:
            assert operator.stderr is not None
            lines = []
            for line in operator.stderr:
                lines.append(line)
                if sum("image.done" in one for one in lines) == 2 and "image.done" in line:
                    server.kill()
                    threading.Thread(target=_start_later, args=(server,)).start()
            code = operator.wait(120)
    log = "".join(lines)
    assert code == 0, log
    assert "triton.gone" in log
    record = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert [matches(drawn, image["findings"]) for image in record["images"]] == [(2, 0)] * 8


def _start_later(server: Triton) -> None:
    # So long that the operator meets a closed port first.
    time.sleep(1)
    server.start()


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    save(tmp_path / "in", dataset(draw(1002)))
    argv = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    log = io.StringIO()
    with serving(tmp_path / "models", tmp_path) as server, contextlib.redirect_stderr(log):
        code = run("chest-xray", main, argv=argv, environ=server.environ)
    last = json.loads(log.getvalue().splitlines()[-1])
    assert (code, last["code"]) == (1, "MODEL_MISSING")
    assert CHEST in last["message"]


@pytest.mark.data
def test_real_radiographs_are_read_or_skipped_by_name(
    triton: Triton, unpack: Callable[[str], Path], tmp_path: Path
) -> None:
    """Lossy JPEG 2000, MONOCHROME1, of several patients: each on its own."""
    files = [path for path in unpack("radiographs/cr-dx").rglob("*") if path.is_file()]
    seen = 0
    for number, path in enumerate(files):
        folder = tmp_path / str(number)
        (folder / "in").mkdir(parents=True)
        shutil.copy(path, folder / "in")
        argv = ["--input", str(folder / "in"), "--output", str(folder / "out")]
        code = run("chest-xray", main, argv=argv, environ=triton.environ)
        assert code in (0, 3)
        seen += code == 0
        assert (folder / "out" / "findings.json").exists() == (code == 0)
    assert seen >= 1
