"""chest-xray against a real Triton: planted findings found, however the picture is stored."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation

from gateway.operators.chest_xray.__main__ import main
from gateway.operators.sdk import run
from tests.support.programs import missing
from tests.support.radiographs import Radiograph, dataset, draw, matches, save
from tests.support.triton import Triton

pytestmark = pytest.mark.peers


class Trial:
    """Runs the operator on a folder with the server's variables."""

    def __init__(self, folder: Path, triton: Triton) -> None:
        self.input, self.output, self.triton = folder / "in", folder / "out", triton
        self.environ = dict(triton.environ)

    def run(self, *more: str) -> tuple[int, str]:
        argv = ["--input", str(self.input), "--output", str(self.output), *more]
        log = io.StringIO()
        with contextlib.redirect_stderr(log):
            code = run("chest-xray", main, argv=argv, environ=self.environ)
        return code, log.getvalue()

    def images(self) -> list[dict[str, Any]]:
        code, log = self.run()
        assert code == 0, log
        found = json.loads((self.output / "findings.json").read_text())
        return list(found["images"])

    def report(self) -> Any:
        (path,) = (self.output / "dicom").glob("*/*.dcm")
        return dcmread(path)


@pytest.fixture
def trial(tmp_path: Path, triton: Triton) -> Trial:
    return Trial(tmp_path, triton)


@pytest.fixture(scope="module")
def drawn() -> Radiograph:
    """A chest with a nodule in one lung and an opacity in the other."""
    return draw(1001, ("nodule", "opacity"))


def test_planted_findings_are_found_and_written_to_json_csv_and_sr(
    trial: Trial, drawn: Radiograph
) -> None:
    instance = dataset(drawn)
    save(trial.input, instance)
    (image,) = trial.images()
    assert matches(drawn, image["findings"]) == (2, 0)
    assert image["sop_instance_uid"] == instance.SOPInstanceUID
    with (trial.output / "findings.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["kind"] for line in lines] == [one["kind"] for one in image["findings"]]
    report = trial.report()
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
        assert report[keyword].value == instance[keyword].value
    assert report.SeriesInstanceUID != instance.SeriesInstanceUID
    circles = [
        np.reshape(item.GraphicData, (2, 2)) * drawn.spacing_mm
        for item in _items(report)
        if item.get("GraphicType") == "CIRCLE"
    ]
    assert len(circles) == 2
    for planted in drawn.findings:
        away = [np.hypot(c[0][0] - planted.x_mm, c[0][1] - planted.y_mm) for c in circles]
        assert min(away) < planted.diameter_mm / 3
    text = str(report)
    assert "Computed demonstration, not for diagnosis" in text


def test_the_report_passes_dicom3tools(trial: Trial, drawn: Radiograph) -> None:
    checker = shutil.which("dciodvfy") or missing("dicom3tools is not installed")
    save(trial.input, dataset(drawn))
    trial.images()
    (path,) = (trial.output / "dicom").glob("*/*.dcm")
    done = subprocess.run(
        [checker, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert not [line for line in done.stderr.splitlines() if line.startswith("Error")], done.stderr


@pytest.mark.parametrize(
    "stored",
    [
        {"bits": 16},
        {"inverted": True},
        {"rescale": (-1, 4095), "SOPClassUID": DigitalXRayImageStorageForPresentation},
        {"rescale": (2.5, -300), "Modality": "DX"},
        {"PixelSpacing": None, "ImagerPixelSpacing": [0.8, 0.8]},
        {
            "PixelSpacing": None,
            "ImagerPixelSpacing": [0.96, 0.96],
            "EstimatedRadiographicMagnificationFactor": 1.2,
        },
    ],
)
def test_the_same_picture_gives_the_same_findings_however_it_is_stored(
    trial: Trial, drawn: Radiograph, stored: dict[str, Any]
) -> None:
    save(trial.input, dataset(drawn, **stored))
    (image,) = trial.images()
    assert matches(drawn, image["findings"]) == (2, 0)
    assert image["spacing_mm"] == pytest.approx([0.8, 0.8])


def test_pixels_that_are_not_square_keep_their_place(trial: Trial, drawn: Radiograph) -> None:
    wide = np.ascontiguousarray(np.repeat(drawn.image, 2, axis=1))
    squeezed = Radiograph(wide, drawn.spacing_mm, drawn.findings)
    save(trial.input, dataset(squeezed, PixelSpacing=[0.8, 0.4]))
    (image,) = trial.images()
    found = [{**one, "column": (one["column"] + 0.5) / 2 - 0.5} for one in image["findings"]]
    assert matches(drawn, found) == (2, 0)


def test_a_healthy_chest_says_none(trial: Trial) -> None:
    save(trial.input, dataset(draw(1002)))
    (image,) = trial.images()
    assert image["findings"] == []
    assert ",none," in (trial.output / "findings.csv").read_text()


def test_outputs_by_name_and_the_jobs_uids(trial: Trial, drawn: Radiograph, tmp_path: Path) -> None:
    save(trial.input, dataset(drawn))
    uids = []
    for attempt in ("1", "1", "2"):
        trial.environ |= {"NVIDIA_CLARA_JOBID": "a" * 32, "GATEWAY_JOB_ATTEMPT": attempt}
        shutil.rmtree(tmp_path / "d", ignore_errors=True)
        code, log = trial.run("--output", f"dicom:{tmp_path / 'd'}")
        assert code == 0, log
        (path,) = (tmp_path / "d").glob("*/*.dcm")
        uids.append(path.stem)
    assert uids[0] == uids[1] != uids[2]
    assert not (trial.output / "dicom").exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Modality": "CT", "SOPClassUID": CTImageStorage}, "NOT_A_RADIOGRAPH"),
        ({"PixelSpacing": None}, "NO_SPACING"),
        ({"PixelSpacing": [0.01, 0.01]}, "BAD_SIZE"),
        ({"PixelData": b"\0\0"}, "UNDECODABLE"),
        ({"NumberOfFrames": 2}, "SEVERAL_FRAMES"),
        ({"PhotometricInterpretation": "RGB"}, "COLOUR"),
    ],
)
def test_what_is_no_chest_radiograph_is_skipped_by_name(
    trial: Trial, drawn: Radiograph, change: dict[str, Any], code: str
) -> None:
    instance = dataset(drawn, **change)
    save(trial.input, instance)
    status, log = trial.run()
    assert status == 3
    assert "NO_RADIOGRAPH" in log
    assert code in log
    assert "PHANTOM" not in log


def test_two_patients_are_refused_and_nothing_is_written(trial: Trial, drawn: Radiograph) -> None:
    save(trial.input, dataset(drawn))
    save(trial.input, dataset(drawn, PatientID="OTHER"))
    status, log = trial.run()
    assert (status, "MIXED_PATIENTS" in log) == (3, True)
    assert not trial.output.exists()


def test_two_studies_are_refused(trial: Trial, drawn: Radiograph) -> None:
    save(trial.input, dataset(drawn))
    save(trial.input, dataset(drawn))
    status, log = trial.run()
    assert (status, "MIXED_STUDIES" in log) == (3, True)


def _items(dataset_: Any) -> list[Any]:
    """Every content item of a report."""
    found = []
    for item in dataset_.get("ContentSequence", []):
        found += [item, *_items(item)]
    return found
