"""A machine with GPUs where there are none: NVML's shared library, made from ``fake_nvml.c``.

The gateway loads it as it loads the driver's own, so nothing of it is replaced.  It is found by
``LD_LIBRARY_PATH``, which a program reads at its start: what uses it runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import program

SOURCE = Path(__file__).with_name("fake_nvml.c")
GIBIBYTE = 1 << 30
NOT_SUPPORTED, FUNCTION_NOT_FOUND, GPU_IS_LOST, VERSION_MISMATCH = 3, 13, 15, 18
UUIDS = ("GPU-11111111-1111-1111-1111-111111111111", "GPU-22222222-2222-2222-2222-222222222222")
TWO = (
    f"gpu {UUIDS[0]} 1 00000000:3B:00.0 37 12 {80 * GIBIBYTE} {20 * GIBIBYTE} {60 * GIBIBYTE} Big",
    f"gpu {UUIDS[1]} 0 00000001:5E:1F.0 0 0 {16 * GIBIBYTE} 0 {16 * GIBIBYTE} Small GPU",
)
"""Two GPUs; the first on the bus has the second device file."""


class FakeNvml:
    """The library, and the file that says what it answers."""

    def __init__(self, folder: Path) -> None:
        """Compile it into ``folder``; skips without gcc, fails when peers are required."""
        self._folder = folder
        self._state = folder / "gpus.txt"
        library = folder / "libnvidia-ml.so.1"
        made = subprocess.run(
            [program("gcc"), "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to find it."""
        return {"LD_LIBRARY_PATH": str(self._folder), "FAKE_NVML": str(self._state)}

    def say(self, *lines: str, gpus: Sequence[str] = TWO) -> None:
        """Replace what it answers, at once and whole."""
        temporary = self._state.with_suffix(".new")
        temporary.write_text("\n".join([*gpus, *lines, ""]))
        temporary.rename(self._state)

    def run(self, script: str) -> Any:
        """Run Python code beside it; what it printed, as JSON."""
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | self.environment,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    """The library, made once."""
    return FakeNvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake_nvml(nvml_library: FakeNvml) -> FakeNvml:
    """A machine with two GPUs and nothing on them."""
    nvml_library.say()
    return nvml_library
