"""The tutorial's commands, run as a reader runs them, against the tutorial's own files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.site import Site

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial"
STEP = re.compile(
    r"<!-- run(?:: (?P<code>\d+))? -->\n```sh\n(?P<script>.*?)```\n"
    r"(?:\n```text\n(?P<told>.*?)```)?",
    re.DOTALL,
)
# A person waits; a test on a busy machine waits for the thing itself.
PATIENCE = ("sleep 8", "until gateway list results --json | grep -q DELIVERED; do sleep 0.5; done")

# What differs from run to run: identifiers, times, how fast it was.
VARYING = re.compile(r"[0-9a-f]{32}|[0-9.]+ (?:s|ms|MB/s)\b|\d{14}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    root = tmp_path / "site"
    shutil.copytree(TUTORIAL / "site", root)
    text = (root / "gateway.yaml").read_text().replace("/opt/tutorial", str(root))
    settings = yaml.safe_load(text)
    texts = {path: path.read_text() for path in root.glob("*/*.yaml")}
    made = Site(root, pipelines=[], settings={"images": settings["images"]})
    (root / "ae_config" / "test.yaml").unlink()
    assert {path: path.read_text() for path in root.glob("*/*.yaml")} == texts
    (root / "archive").mkdir()
    made.start()
    yield made
    assert made.stop() == 0


def test_every_command_does_what_the_page_says(site: Site) -> None:
    steps = list(STEP.finditer((TUTORIAL / "index.md").read_text("utf-8")))
    assert len(steps) >= 8
    for step in steps:
        script = step["script"].replace("127.0.0.1:11112", f"127.0.0.1:{site.ports['dicom']}")
        script = script.replace(*PATIENCE)
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=site.root,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env=os.environ
            | {
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "GATEWAY_URL": f"http://127.0.0.1:{site.ports['http']}",
            },
        )
        said = plain(done.stdout + done.stderr)
        assert done.returncode == int(step["code"] or 0), said
        for line in (step["told"] or "").splitlines():
            told = plain(line.replace("127.0.0.1:11112", f"127.0.0.1:{site.ports['dicom']}"))
            assert told in said, f"{script}\n{said}"
    assert len(list((site.root / "archive").rglob("*.dcm"))) == 1


def plain(text: str) -> str:
    """``text`` without what varies and with single spaces."""
    return re.sub(r"[ \t]+", " ", VARYING.sub("…", text)).strip()
