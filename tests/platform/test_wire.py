"""The messages: generated from the .proto files, and the same on the wire as NVIDIA's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import clara_descriptors

ROOT = Path(__file__).resolve().parents[2]


def test_generated_files_are_current(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts" / "make_protos", tmp_path], check=True, timeout=60)
    kept = ROOT / "gateway" / "platform" / "wire"
    fresh = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert len(fresh) == 14
    assert {path.name: path.read_text() for path in kept.glob("*_pb2.py*")} == fresh


@pytest.mark.peers
def test_every_field_is_nvidias(client_run: Callable[..., dict[str, Any]]) -> None:
    script = Path(clara_descriptors.__file__)
    theirs = client_run(script, "nvidia_clara.grpc")
    ours = json.loads(json.dumps(clara_descriptors.described("gateway.platform.wire")))
    assert ours == theirs
