"""The operator SDK: environment, command line, exit codes, and what a log may say."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from gateway.operators.sdk import (
    Context,
    ExitCode,
    InputRefusedError,
    Log,
    Mount,
    OperatorError,
    Patient,
    UsageError,
    parse_mounts,
    patient_of_dataset,
    refuse_mixed_patients,
    run,
    shown_path,
)

ENVIRON = {
    "NVIDIA_CLARA_INPUTPATHS": "dicom:/input;mask:/masks/lung",
    "NVIDIA_CLARA_OUTPUTPATHS": "/output/volumes",
    "NVIDIA_CLARA_JOBID": "j1",
    "NVIDIA_CLARA_JOBNAME": "job",
    "NVIDIA_CLARA_PAYLOADID": "p1",
    "NVIDIA_CLARA_STAGENAME": "reader",
    "NVIDIA_CLARA_RESULTS": "/output/results.json",
}


def seen(argv: list[str], environ: dict[str, str]) -> Context:
    contexts: list[Context] = []
    assert run("op", contexts.append, argv=argv, environ=environ) == ExitCode.OK
    return contexts[0]


def test_context_comes_from_the_environment() -> None:
    context = seen([], ENVIRON)
    assert context.input() == context.input("dicom") == Path("/input")
    assert context.input("mask") == Path("/masks/lung")
    assert context.output("volumes") == Path("/output/volumes")
    assert context.results == Path("/output/results.json")
    assert (context.job_id, context.payload_id, context.stage_name) == ("j1", "p1", "reader")
    assert context.has_input("mask")
    assert not context.has_input("dose")


def test_command_line_wins() -> None:
    context = seen(["--input", "/a/b", "--input", "mask:/c", "--output", "x:/d"], ENVIRON)
    assert context.inputs == (Mount("b", Path("/a/b")), Mount("mask", Path("/c")))
    assert context.output("x") == Path("/d")


def test_missing_mounts_are_a_usage_error() -> None:
    def main(context: Context) -> None:
        context.input("dose")

    assert run("op", main, argv=[], environ=ENVIRON) == ExitCode.USAGE
    assert run("op", main, argv=[], environ={}) == ExitCode.USAGE


@pytest.mark.parametrize("text", ["a:", ":", "a:/x;a:/y"])
def test_bad_mounts(text: str) -> None:
    with pytest.raises(UsageError):
        parse_mounts(text)


def test_mounts_keep_order_and_colons() -> None:
    assert parse_mounts("b:/x:y;;/z/a;") == (Mount("b", Path("/x:y")), Mount("a", Path("/z/a")))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperatorError("ODD", "odd"), 1),
        (UsageError("ODD", "odd"), 2),
        (InputRefusedError("MISSING_SLICES", "two are missing"), 3),
        (ValueError("DOE^JOHN"), 1),
    ],
)
def test_exit_codes(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main(context: Context) -> None:
        raise error

    assert run("op", main, argv=[], environ=ENVIRON) == code
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert said["code"] == getattr(error, "code", "ValueError")
    assert (said["job"], said["stage"], said["operator"]) == ("j1", "reader", "op")
    assert "DOE" not in line


def test_libraries_that_quote_patients_are_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    program = (
        "import logging, warnings; from gateway.operators.sdk import run\n"
        "def main(context):\n"
        "    logging.getLogger('pydicom').warning('DOE^JOHN')\n"
        "    warnings.warn('DOE^JOHN')\n"
        "raise SystemExit(run('op', main))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert capfd.readouterr() == ("", "")


def test_wrong_option_is_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        run("op", lambda context: None, argv=["--colour"], environ={})
    assert caught.value.code == ExitCode.USAGE


def test_log_is_one_line_of_json() -> None:
    stream = io.StringIO()
    log = Log("op", stream, job="j1", stage="")
    log.info("a", text="two\nlines", path=Path("/x"))
    log.warning("b")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["event"], first["text"]) == ("info", "a", "two\nlines")
    assert "stage" not in first
    assert second["level"] == "warning"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/job/input/dcm/DOE/1/2/3.dcm", "input/dcm/*/1/2/3.dcm"),
        ("/job/input/JohnDoe.dcm", "input/*"),
        ("/job/input/dcm/JohnDoe.dcm", "input/*"),
        ("/elsewhere/JohnDoe.dcm", "*"),
    ],
)
def test_shown_path_hides_the_patient(path: str, shown: str) -> None:
    assert shown_path(Path(path), Path("/job/input")) == shown


def patient(**changes: Any) -> Patient:
    return Patient(**{"patient_id": "1", "name": "Doe^John", "birth_date": "19700101", **changes})


@pytest.mark.parametrize(
    ("other", "mixed"),
    [
        ({}, False),
        ({"name": "DOE^JOHN^^"}, False),
        ({"birth_date": ""}, False),
        ({"issuer": "HERE"}, False),
        ({"patient_id": "2"}, True),
        ({"patient_id": ""}, True),
        ({"birth_date": "19700102"}, True),
    ],
)
def test_patients_are_told_apart(other: dict[str, str], mixed: bool) -> None:
    if mixed:
        with pytest.raises(InputRefusedError, match="MIXED_PATIENTS"):
            refuse_mixed_patients([patient(), patient(**other)])
    else:
        refuse_mixed_patients([patient(), patient(**other)])


def test_contradiction_over_a_gap_is_found() -> None:
    """The first says nothing of the issuer, the others contradict each other."""
    with pytest.raises(InputRefusedError, match="MIXED_PATIENTS"):
        refuse_mixed_patients([patient(), patient(issuer="A"), patient(issuer="B")])


def test_without_patient_id_name_and_birth_date_count() -> None:
    nameless = patient(patient_id="")
    assert nameless.digest() == patient(patient_id="", name="DOE^JOHN").digest()
    assert nameless.contradicts(patient(patient_id="", name="Roe^John"))
    assert "Doe" not in nameless.digest()


def test_no_patient_at_all() -> None:
    with pytest.raises(InputRefusedError, match="NO_INSTANCES"):
        refuse_mixed_patients([])


def test_patient_of_dataset() -> None:
    dataset = Dataset()
    dataset.PatientID, dataset.PatientName, dataset.PatientSex = " 7 ", "A^B", ""
    assert patient_of_dataset(dataset) == Patient(patient_id="7", name="A^B")


def command(source: Path, target: Path, *more: str, **environ: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "gateway.operators.dicom_reader", *more],
        env={
            **os.environ,
            "NVIDIA_CLARA_INPUTPATHS": f"dicom:{source}",
            "NVIDIA_CLARA_OUTPUTPATHS": f"volumes:{target}",
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_reader_as_a_program(reading: Any) -> None:
    reading.add_slices(6)
    done = command(reading.source, reading.target, DICOM_READER_FORMATS="mhd")
    assert (done.returncode, done.stdout) == (0, "")
    assert sorted(path.suffix for path in reading.target.iterdir()) == [".json", ".mhd", ".zraw"]
    again = command(reading.source, reading.target, "--format", "nifti", "--min-images", "7")
    assert again.returncode == ExitCode.REFUSED
    assert json.loads(again.stderr.splitlines()[-1])["code"] == "NO_VOLUME"


@pytest.mark.parametrize("options", [["--format", "png"], ["--compress", "x"], ["--input", "/no"]])
def test_reader_refuses_bad_usage(options: list[str], tmp_path: Path) -> None:
    done = command(tmp_path, tmp_path / "out", *options)
    assert done.returncode == ExitCode.USAGE
