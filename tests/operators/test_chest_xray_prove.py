"""The long proof of chest-xray: a hundred planted findings, as many healthy chests."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gateway.operators.chest_xray.__main__ import main
from gateway.operators.sdk import run
from tests.support.radiographs import Radiograph, dataset, draw, matches, save
from tests.support.triton import Triton

pytestmark = pytest.mark.peers
SEED = 5000


def counted(drawings: list[Radiograph], folder: Path, triton: Triton) -> tuple[int, int]:
    """Send all as one study through the operator; return (found, falsely found)."""
    by_uid = {}
    for number, drawn in enumerate(drawings):
        instance = dataset(
            drawn, StudyInstanceUID="2.25.77", bits=16 if number % 3 else 12, inverted=number % 2
        )
        by_uid[str(instance.SOPInstanceUID)] = drawn
        save(folder / "in", instance)
    argv = ["--input", str(folder / "in"), "--output", str(folder / "out")]
    assert run("chest-xray", main, argv=argv, environ=triton.environ) == 0
    record = json.loads((folder / "out" / "findings.json").read_text())
    pairs = [matches(by_uid[i["sop_instance_uid"]], i["findings"]) for i in record["images"]]
    assert len(pairs) == len(drawings)
    return sum(hits for hits, _ in pairs), sum(false for _, false in pairs)


def drawings(count: int, seed: int) -> list[Radiograph]:
    """Chests with one finding each, nodules and opacities in turn."""
    kinds = ("nodule", "opacity")
    return [draw(seed + n, (kinds[n % 2],)) for n in range(count)]


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_prove_chest_a_hundred_planted_findings(tmp_path: Path, triton: Triton) -> None:
    found, false = counted(drawings(100, SEED), tmp_path / "planted", triton)
    healthy = [draw(SEED + 1000 + n) for n in range(100)]
    _, alarms = counted(healthy, tmp_path / "healthy", triton)
    told = f"found {found} of 100, {false} false with them, {alarms} on 100 healthy chests"
    sys.stdout.write(f"\n{told}\n")
    assert found >= 95
    assert false <= 5
    assert alarms <= 5


def test_six_planted_findings(tmp_path: Path, triton: Triton) -> None:
    found, false = counted(drawings(6, SEED + 200), tmp_path, triton)
    assert (found, false) == (6, 0)
