"""Runs the shipped operators of the lung pipeline on a folder, in this process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from gateway.operators.dicom_reader import __main__ as dicom_reader
from gateway.operators.dicom_writer import __main__ as dicom_writer
from gateway.operators.lung_density import __main__ as lung_density
from gateway.operators.sdk import run

JOB = {"NVIDIA_CLARA_JOBID": "0123456789abcdef0123456789abcdef"}


def read(source: Path, target: Path) -> int:
    """Run dicom-reader; its exit code."""
    return run(
        "dicom-reader",
        dicom_reader.main,
        options=dicom_reader._options,
        argv=["--input", str(source), "--output", str(target), "--format", "nifti"],
        environ={},
    )


def measure(volume: Path, target: Path) -> int:
    """Run lung-density; its exit code."""
    return run(
        "lung-density",
        lung_density.main,
        argv=["--input", str(volume), "--output", str(target)],
        environ={},
    )


def write(source: Path, work: Path, target: Path, job: dict[str, str] | None = None) -> int:
    """Run dicom-writer on what `read` and `measure` left in `work`; its exit code."""
    argv = ["--output", str(target)]
    for name, path in (
        ("dcm", source),
        ("lungs", work / "lungs"),
        ("volume", work / "volume"),
    ):
        argv += ["--input", f"{name}:{path}"]
    return run("dicom-writer", dicom_writer.main, argv=argv, environ=JOB if job is None else job)


def density(source: Path, work: Path) -> dict[str, Any]:
    """Read and measure a folder; the measurements."""
    assert read(source, work / "volume") == 0
    assert measure(work / "volume", work / "lungs") == 0
    found: dict[str, Any] = json.loads((work / "lungs" / "measurements.json").read_text())
    return found


def dciodvfy_errors(program: str, path: Path) -> list[str]:
    """What dciodvfy calls an error in a file."""
    done = subprocess.run(
        [program, "-new", str(path)], capture_output=True, text=True, errors="replace", check=False
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    if done.returncode != 0 and not errors:
        errors.append(done.stderr[-500:])
    return errors
