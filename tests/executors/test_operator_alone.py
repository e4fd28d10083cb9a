"""``gateway[operator]`` alone: no server package comes with it; a user's operator runs on it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gateway.config.settings import ImageSettings
from tests.executors.conftest import Job
from tests.support.programs import missing

pytestmark = pytest.mark.peers
ROOT = Path(__file__).resolve().parents[2]

OPERATOR = '''
"""Marks air in a volume: what a user writes, with the SDK and the packages that come with it."""
import nibabel as nib
import numpy as np

from gateway.operators.sdk import Context, InputRefusedError, run


def main(context: Context) -> None:
    volumes = sorted(context.input().glob("*.nii.gz"))
    if not volumes:
        raise InputRefusedError("NO_VOLUME", "the reader wrote no volume")
    volume = nib.load(volumes[0])
    mask = (np.asarray(volume.dataobj) < -950).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, volume.affine), context.output() / "air.nii.gz")
    context.log.info("air.marked", voxels=int(mask.sum()))


if __name__ == "__main__":
    raise SystemExit(run("mark-air", main))
'''

INSTALLED = """
import importlib.metadata as m, json, sys
print(json.dumps([d.metadata["Name"] for d in m.distributions()]))
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, set[str]]:
    """Names of the packages that each extra asks for; the base packages under ``""``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: {normal(found[0]) for text in texts if (found := re.match(r"[\w.-]+", text))}
        for extra, texts in asked.items()
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a clean environment with ``gateway[operator]``, from a wheel made here."""
    folder = tmp_path_factory.mktemp("alone")
    python, uv = folder / "env" / "bin" / "python", Path(sys.executable).parent / "uv"
    commands: list[list[str | Path]] = [
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        [uv, "venv", "-q", "--python", sys.executable, folder / "env"],
    ]
    try:
        for command in commands:
            _run(command)
        (wheel,) = folder.glob("*.whl")
        # The versions that are locked, so that a package published today changes nothing.
        locked = ["--no-verify-hashes", "-c", ROOT / "requirements.lock"]
        _run([uv, "pip", "install", "-q", "--python", python, *locked, f"{wheel}[operator]"])
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", "") or error
        missing(f"gateway[operator] cannot be installed: {detail}")
    return python


def _run(command: list[str | Path]) -> str:
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=170, cwd=ROOT
    )
    return done.stdout


def test_no_server_package_comes_with_it(alone: Path) -> None:
    wanted = declared()
    found = {normal(name) for name in re.findall(r'"([^"]+)"', _run([alone, "-c", INSTALLED]))}
    assert wanted[""] | wanted["operator"] <= found
    server = (wanted["server"] | wanted["platform"] | wanted["dev"]) - {"gateway"}
    assert server, "the extras are named otherwise now"
    assert found & server == set()


def test_the_base_holds_what_the_sdk_imports_and_no_more() -> None:
    assert declared()[""] == {"numpy", "pydicom"}


def test_the_sdk_and_the_shipped_operators_need_nothing_else(alone: Path) -> None:
    modules = ["sdk", "dicom_reader", "dicom_writer", "lung_density", "register_results"]
    names = [f"gateway.operators.{module}" for module in modules]
    imports = "import importlib, sys; [importlib.import_module(n) for n in sys.argv[1:]]"
    _run([alone, "-W", "error", "-I", "-c", imports, *names])


@pytest.fixture
def operator(alone: Path, tmp_path: Path) -> list[str]:
    """The command of an operator that a user wrote."""
    script = tmp_path / "mark_air.py"
    script.write_text(OPERATOR)
    return [str(alone), str(script)]


def volume(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    voxels = np.full((4, 5, 6), 40, np.int16)
    voxels[1:3] = -1000
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / "1.nii.gz")


def test_a_users_operator_runs_alone(operator: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    command = [*operator, "--input", str(source), "--output", str(target)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode != 0
    assert "NO_VOLUME" in refused.stdout + refused.stderr
    volume(source)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "air.marked" in done.stdout + done.stderr
    mask = np.asarray(nib.load(target / "air.nii.gz").dataobj)
    assert mask.sum() == 2 * 5 * 6


def test_a_users_operator_runs_in_a_job(
    operator: list[str], start: Callable[..., Job], tmp_path: Path
) -> None:
    folder = tmp_path / "payload"
    (folder / "input").mkdir(parents=True)
    volume(folder / "input")
    job = start(
        """
- name: air
  container: {image: hospital/mark-air}
  input: [{path: /input}]
  output: [{path: /output}]
""",
        images={"hospital/mark-air": ImageSettings(command=operator)},
        folder=folder,
    )
    job.wait()
    assert "air.marked" in job.log("air")
    assert np.asarray(nib.load(job.output("air") / "air.nii.gz").dataobj).sum() == 2 * 5 * 6
