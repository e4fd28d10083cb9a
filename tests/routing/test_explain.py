"""Explaining files on disk with the same engine."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from gateway.config.applications import AeConfig, Application
from gateway.errors import Refused
from gateway.routing.explain import explain
from tests.support.dicom import slice_


def config(*rules: dict[str, Any], **keys: Any) -> AeConfig:
    application = {"ae-title": "LUNG_CT", "rules": list(rules)} | keys
    return AeConfig(applications=(Application.model_validate(application),))


def write(folder: Path, number: int, **changes: Any) -> None:
    ds = slice_(number, **changes)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    folder.mkdir(parents=True, exist_ok=True)
    ds.save_as(folder / f"{ds.SeriesInstanceUID}-{number}.dcm", enforce_file_format=True)


RULE = {
    "name": "thin",
    "pipeline": "lung-density",
    "when": 'study.modalities == ["CT"] && called == "LUNG_CT"',
    "select": 's.spacing[2] < 3.0 && s.orientation == "axial"',
    "prefer": "s.instances",
}


def test_a_study_is_explained(tmp_path: Path) -> None:
    for number in range(1, 5):
        write(tmp_path / "a", number)
        write(tmp_path / "b", number, SeriesInstanceUID="1.2.9", SliceThickness=8,
              ImagePositionPatient=[0, 0, number * 8])  # fmt: skip
    (tmp_path / "notes.txt").write_text("no DICOM")
    (found,) = explain([tmp_path], "LUNG_CT", "CT1", "10.1.0.4", config(RULE))
    assert (found.group_by, found.instances, found.otherwise) == ("study", 8, None)
    assert [(s.modality, s.instances, s.orientation) for s in found.series] == [
        ("CT", 4, "axial"), ("CT", 4, "axial"),
    ]  # fmt: skip
    assert [s.spacing for s in found.series] == [[0.7, 0.7, 2.5], [0.7, 0.7, 8.0]]
    (line,) = found.rules
    assert (line.outcome, line.error) == ("MATCHED", None)
    assert line.selected == (slice_().SeriesInstanceUID,)
    assert [(e.key, e.value) for e in line.expressions] == [
        ("when", True), ("select", None), ("prefer", None),
    ]  # fmt: skip
    assert line.names == {"study": {"modalities": ["CT"]}, "called": "LUNG_CT"}
    assert [entry["select"][0] for entry in line.per_series] == [True, False]
    assert line.per_series[0]["prefer"] == [4, None]
    assert line.per_series[1]["attributes"]["spacing"] == [0.7, 0.7, 8.0]


@pytest.mark.parametrize(("group_by", "groups"), [("patient", 1), ("study", 2), ("series", 3)])
def test_files_are_grouped_as_the_application_says(
    tmp_path: Path, group_by: str, groups: int
) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2, SeriesInstanceUID="1.2.9")
    write(tmp_path, 3, SeriesInstanceUID="1.2.10", StudyInstanceUID="1.2.11")
    found = explain([tmp_path], "LUNG_CT", "", "", config(RULE, **{"group-by": group_by}))
    assert len(found) == groups


def test_an_error_and_no_match_are_explained(tmp_path: Path) -> None:
    write(tmp_path, 1)
    bad = {"name": "bad", "pipeline": "p", "when": "study.KVP < 100.0"}
    (found,) = explain([tmp_path], "LUNG_CT", "", "", config(bad, otherwise="discard"))
    assert found.otherwise == "discard"
    assert found.rules[0].outcome == "ERROR"
    assert found.rules[0].error is not None
    assert found.rules[0].names == {"study": {"KVP": None}}


def test_what_cannot_be_explained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="known: LUNG_CT"):
        explain([tmp_path], "OTHER", "", "", config(RULE))
    with pytest.raises(Refused, match="none of the files"):
        explain([tmp_path, tmp_path / "absent.dcm"], "LUNG_CT", "", "", config(RULE))


@pytest.mark.data
def test_a_real_chest_ct_is_explained(data: Path, tmp_path: Path) -> None:
    with tarfile.open(data / "ct-chest-8mm" / "ct-thorax-8mm.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    rule = RULE | {"select": "s.spacing[2] == 8.0 && s.instances == 30"}
    (found,) = explain([tmp_path], "LUNG_CT", "CT1", "127.0.0.1", config(rule))
    assert found.rules[0].outcome == "MATCHED", found.rules[0]
    assert found.series[0].orientation == "axial"
    first = pydicom.dcmread(next(p for p in tmp_path.rglob("*.dcm")), stop_before_pixels=True)
    assert found.group_key == first.StudyInstanceUID
