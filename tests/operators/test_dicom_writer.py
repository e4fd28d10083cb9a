"""dicom-writer: results of the right patient, in the right place, legal, and refusals by name."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    JPEGLSLossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from gateway.demo.phantom import Identity, Options, write_series
from tests.support import lungs
from tests.support.programs import program

SMALL: dict[str, Any] = {"matrix": 96, "slices": 40}
STUDY_KEYWORDS = (
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
)


@dataclass(frozen=True)
class Done:
    """A case that went through reader, measurement and writer."""

    source: Path
    work: Path
    measurements: dict[str, Any]
    results: list[Dataset]

    def one(self, sop_class: str) -> Dataset:
        """The result of a SOP class (the first by Instance Number)."""
        found = [d for d in self.results if d.SOPClassUID == sop_class]
        return min(found, key=lambda d: int(d.InstanceNumber))


def results_in(folder: Path) -> list[Dataset]:
    """Every written instance, in order of their series numbers."""
    found = [dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    return sorted(found, key=lambda d: (int(d.SeriesNumber), int(d.InstanceNumber)))


def go(source: Path, work: Path) -> Done:
    """Run the whole chain on a folder."""
    measurements = lungs.density(source, work)
    assert lungs.write(source, work, work / "out") == 0
    return Done(source, work, measurements, results_in(work / "out"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The phantom, feet first, so that the picture's left is not the array's left."""
    work = tmp_path_factory.mktemp("writer")
    write_series(work / "dcm", Options(**SMALL, position="FFS"))
    return go(work / "dcm", work)


def test_writes_one_seg_one_sr_and_two_captures(done: Done) -> None:
    assert [(d.SOPClassUID, d.Modality) for d in done.results] == [
        (SegmentationStorage, "SEG"),
        (Comprehensive3DSRStorage, "SR"),
        (SecondaryCaptureImageStorage, "OT"),
        (SecondaryCaptureImageStorage, "OT"),
    ]
    assert len({d.SeriesInstanceUID for d in done.results}) == 3
    assert len({d.SOPInstanceUID for d in done.results}) == 4
    for path in (done.work / "out").rglob("*.dcm"):
        result = dcmread(path)
        assert path.parent.name == result.SeriesInstanceUID
        assert path.stem == result.SOPInstanceUID


def test_copies_study_patient_and_accession(done: Done) -> None:
    source = dcmread(next(done.source.iterdir()))
    for result in done.results:
        for keyword in STUDY_KEYWORDS:
            assert result.get(keyword) == source.get(keyword), keyword
        assert result.SeriesInstanceUID != source.SeriesInstanceUID
        assert result.SeriesDescription
        assert result.Manufacturer == "Gateway"
        assert result.SoftwareVersions == "1.0.0"


def test_segments_are_the_measured_lungs(done: Done) -> None:
    seg = done.one(SegmentationStorage)
    sources = {str(dcmread(p).SOPInstanceUID): dcmread(p) for p in done.source.iterdir()}
    frames = np.asarray(seg.pixel_array)
    counts = {1: 0, 2: 0}
    sums = {1: np.zeros(3), 2: np.zeros(3)}
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        source = sources[str(image.ReferencedSOPInstanceUID)]
        place = groups.PlanePositionSequence[0].ImagePositionPatient
        assert place == source.ImagePositionPatient
        rows, columns = np.nonzero(frame)
        axes = np.asarray(source.ImageOrientationPatient, dtype=float).reshape(2, 3)
        corner = np.asarray(place, dtype=float) * rows.size
        steps = axes[0] * columns.sum() + axes[1] * rows.sum()
        counts[number] += rows.size
        sums[number] += corner + steps * float(source.PixelSpacing[0])
    measured = done.measurements["lungs"]
    assert counts == {1: measured["right"]["voxels"], 2: measured["left"]["voxels"]}
    for number, side in ((1, "right"), (2, "left")):
        centroid = sums[number] / counts[number]
        assert centroid == pytest.approx(measured[side]["centroid_lps"], abs=0.01)
    for segment, side in zip(seg.SegmentSequence, ("Right", "Left"), strict=True):
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("39607008", "SCT")
        assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == side
        assert segment.SegmentLabel == f"{side} lung"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (
            "Gateway Lung Density",
            "1.0.0",
        )
    assert seg.SegmentationType == "BINARY"


def groups_of(report: Dataset) -> list[Any]:
    """The measurement groups of a report, as highdicom reads them from the file."""
    read = highdicom.sr.Comprehensive3DSR.from_dataset(report)
    content = read.content
    return [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]


def test_report_holds_every_measurement_with_its_unit(done: Done) -> None:
    report = done.one(Comprehensive3DSRStorage)
    groups = groups_of(report)
    assert len(groups) == 3
    wanted = (("right", "24028007"), ("left", "7771000"), ("total", "51440002"))
    for group, (side, laterality) in zip(groups, wanted, strict=True):
        (site,) = group.finding_sites
        assert site.value.value == "39607008"
        assert site.laterality.value == laterality
        found = {m.name.value: (m.value, m.unit.value) for m in group.get_measurements()}
        values = done.measurements["lungs"][side]
        assert found == {
            "118565006": (pytest.approx(values["volume_ml"], abs=0.06), "ml"),
            "112031": (pytest.approx(values["mean_hu"], abs=0.06), "[hnsf'U]"),
            "LAA950": (pytest.approx(values["laa950_percent"], abs=0.006), "%"),
            "PERC15": (pytest.approx(values["perc15_hu"], abs=0.06), "[hnsf'U]"),
        }


def test_report_refers_to_segments_and_source_series(done: Done) -> None:
    report, seg = done.one(Comprehensive3DSRStorage), done.one(SegmentationStorage)
    source = dcmread(next(done.source.iterdir()))
    for number, group in enumerate(groups_of(report)[:2], start=1):
        referenced = group.referenced_segment
        assert referenced.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert list(referenced.referenced_segment_numbers) == [number]
        assert group.tracking_uid == seg.SegmentSequence[number - 1].TrackingUID
        assert referenced.source_series_for_segmentation.value == source.SeriesInstanceUID
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    listed = {
        str(item.SeriesInstanceUID): len(item.ReferencedSOPSequence)
        for item in evidence.ReferencedSeriesSequence
    }
    assert listed == {str(source.SeriesInstanceUID): 40, str(seg.SeriesInstanceUID): 1}
    assert report.VerificationFlag == "UNVERIFIED"


def test_captures_show_the_patients_right_on_the_left(done: Done) -> None:
    captures = [d for d in done.results if d.SOPClassUID == SecondaryCaptureImageStorage]
    for capture, orientation in zip(captures, (["L", "F"], ["L", "P"]), strict=True):
        pixels = np.asarray(capture.pixel_array).astype(int)
        assert pixels.shape == (768, 1024, 3)
        assert list(capture.PatientOrientation) == orientation
        assert capture.BurnedInAnnotation == "NO"
        assert capture.PhotometricInterpretation == "RGB"
        assert capture.SourceImageSequence
    page = np.asarray(captures[0].pixel_array)[60:640, 24:644]
    right = np.nonzero((page == (255, 150, 40)).all(axis=2))[1]
    left = np.nonzero((page == (70, 160, 255)).all(axis=2))[1]
    assert right.size > 200
    assert left.size > 200
    assert right.mean() < 310 < left.mean()


def test_uids_are_those_of_the_job(done: Done, tmp_path: Path) -> None:
    def uids(job: dict[str, str], name: str) -> list[str]:
        assert lungs.write(done.source, done.work, tmp_path / name, job) == 0
        return [str(d.SOPInstanceUID) for d in results_in(tmp_path / name)]

    first = [str(d.SOPInstanceUID) for d in done.results]
    assert uids(lungs.JOB, "again") == first
    other = uids({"NVIDIA_CLARA_JOBID": "f" * 32}, "other")
    assert not set(other) & set(first)
    assert uids({}, "alone") == uids({}, "alone again")
    for uid in (*first, *other):
        assert uid.startswith("2.25.")
        assert len(uid) <= 64


@pytest.mark.parametrize(
    ("name", "charset"),
    [
        ("Wang^XiaoDong=王^小东", "GB18030"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ("", "ISO 2022 IR 87")),
        ("Buc^Jérôme", "ISO_IR 100"),
        ("Διονυσιος", "ISO_IR 126"),
    ],
)
def test_names_are_right_in_every_character_set(
    tmp_path: Path, name: str, charset: str | tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    identity = Identity(patient_name=name, character_set=charset, accession_number="ACC-77")
    write_series(tmp_path / "dcm", Options(matrix=64, slices=24, identity=identity))
    done = go(tmp_path / "dcm", tmp_path)
    for result in done.results:
        assert result.SpecificCharacterSet == "ISO_IR 192"
        assert str(result.PatientName) == name
        assert result["PatientName"].value.original_string == name.encode()
    said = capsys.readouterr()
    for secret in (name, name.split("^")[0], "ACC-77", identity.patient_id):
        assert secret not in said.err + said.out


def edit(folder: Path, change: Callable[[int, Dataset], None]) -> None:
    """Change every file of a folder."""
    for index, path in enumerate(sorted(folder.iterdir())):
        dataset = dcmread(path)
        change(index, dataset)
        dataset.save_as(path)


def remove_what_may_miss(_: int, dataset: Dataset) -> None:
    """Take away what many a source lacks, and spoil what many a source spoils."""
    for keyword in (
        "PatientName",
        "PatientBirthDate",
        "StudyID",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "SpecificCharacterSet",
        "PositionReferenceIndicator",
        "Manufacturer",
    ):
        delattr(dataset, keyword)
    dataset.PatientSex = "U"


@pytest.mark.peers
def test_missing_type_2_attributes_are_filled(tmp_path: Path) -> None:
    dciodvfy = program("dciodvfy")
    write_series(tmp_path / "dcm", Options(matrix=64, slices=24))
    edit(tmp_path / "dcm", remove_what_may_miss)
    done = go(tmp_path / "dcm", tmp_path)
    for result in done.results:
        for keyword in ("PatientName", "PatientBirthDate", "StudyID", "AccessionNumber"):
            assert keyword in result
            assert not result[keyword].value
        assert not result.PatientSex
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert lungs.dciodvfy_errors(dciodvfy, path) == []


@pytest.mark.peers
def test_dciodvfy_finds_no_error(done: Done) -> None:
    dciodvfy = program("dciodvfy")
    files = list((done.work / "out").rglob("*.dcm"))
    assert len(files) == 4
    for path in files:
        assert lungs.dciodvfy_errors(dciodvfy, path) == []


@pytest.mark.peers
@pytest.mark.data
def test_dciodvfy_finds_no_error_on_a_real_chest_ct(tmp_path: Path, data: Path) -> None:
    dciodvfy = program("dciodvfy")
    with tarfile.open(data / "ct-chest-8mm" / "ct-thorax-8mm.tar.gz") as archive:
        archive.extractall(tmp_path / "dcm", filter="data")
    done = go(tmp_path / "dcm", tmp_path)
    assert len(done.results) == 4
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert lungs.dciodvfy_errors(dciodvfy, path) == []


def test_compressed_sources_need_no_decoding_here(tmp_path: Path) -> None:
    options = Options(matrix=64, slices=24, transfer_syntax=JPEGLSLossless)
    write_series(tmp_path / "dcm", options)
    assert len(go(tmp_path / "dcm", tmp_path).results) == 4


@pytest.mark.peers
def test_multi_frame_source(tmp_path: Path) -> None:
    dciodvfy = program("dciodvfy")
    classic = write_series(tmp_path / "classic", Options(**SMALL)).files
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        legacy_datasets=[dcmread(path) for path in classic],
        series_instance_uid="1.2.826.0.1.3680043.8.498.5.1",
        series_number=7,
        sop_instance_uid="1.2.826.0.1.3680043.8.498.5.2",
        instance_number=1,
    )
    (tmp_path / "dcm").mkdir()
    enhanced.save_as(tmp_path / "dcm" / "enhanced.dcm")
    done = go(tmp_path / "dcm", tmp_path)
    seg = done.one(SegmentationStorage)
    measured = done.measurements["lungs"]["total"]["voxels"]
    assert int(np.count_nonzero(seg.pixel_array)) == measured
    for frame, groups in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedSOPInstanceUID == enhanced.SOPInstanceUID
        number = int(image.ReferencedFrameNumber)
        place = enhanced.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0]
        mine = groups.PlanePositionSequence[0].ImagePositionPatient
        assert mine == place.ImagePositionPatient
        assert frame.any()
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert lungs.dciodvfy_errors(dciodvfy, path) == []


def test_finds_sources_below_another_root(done: Done, tmp_path: Path) -> None:
    shutil.copytree(done.source, tmp_path / "payload" / "dcm" / "p" / "s")
    assert lungs.write(tmp_path / "payload", done.work, tmp_path / "out") == 0
    assert len(results_in(tmp_path / "out")) == 4


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The code of the last log line."""
    return str(json.loads(capsys.readouterr().err.splitlines()[-1])["code"])


def other_patient(index: int, dataset: Dataset) -> None:
    """Make one instance another person's."""
    if index == 7:
        dataset.PatientID = "SOMEBODY-ELSE"


def wholly_other_patient(_: int, dataset: Dataset) -> None:
    """Make all instances another person's than the reader saw."""
    dataset.PatientID = "SOMEBODY-ELSE"


def other_series(index: int, dataset: Dataset) -> None:
    """Make one instance another series'."""
    if index == 3:
        dataset.SeriesInstanceUID = "1.2.3.4"


def moved(_: int, dataset: Dataset) -> None:
    """Move every image by 5 mm."""
    x, y, z = (float(v) for v in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x + 5, y, z]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (other_patient, "MIXED_PATIENTS"),
        (wholly_other_patient, "PATIENT_DIFFERS"),
        (other_series, "MIXED_SERIES"),
        (moved, "GEOMETRY_MISMATCH"),
    ],
)
def test_what_does_not_belong_together_is_refused_by_name(
    done: Done,
    tmp_path: Path,
    change: Callable[[int, Dataset], None],
    code: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(done.source, tmp_path / "dcm")
    edit(tmp_path / "dcm", change)
    assert lungs.write(tmp_path / "dcm", done.work, tmp_path / "out") == 3
    assert refused(capsys) == code
    assert not (tmp_path / "out").exists()


def test_a_missing_source_is_refused_by_name(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(done.source, tmp_path / "dcm")
    (tmp_path / "dcm" / "ct-0005.dcm").unlink()
    assert lungs.write(tmp_path / "dcm", done.work, tmp_path / "out") == 3
    assert refused(capsys) == "SOURCE_MISSING"


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ("lungs/measurements.json", "NO_MEASUREMENTS"),
        ("lungs/lungs.nii.gz", "NO_LABELS"),
        ("volume/series.json", "NO_SERIES_LIST"),
    ],
)
def test_missing_or_broken_inputs_are_refused_by_name(
    done: Done, tmp_path: Path, broken: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("lungs", "volume"):
        shutil.copytree(done.work / name, tmp_path / name)
    (tmp_path / broken).write_bytes(b"{")
    assert lungs.write(done.source, tmp_path, tmp_path / "out") == 3
    assert refused(capsys) == code
    (tmp_path / broken).unlink()
    assert lungs.write(done.source, tmp_path, tmp_path / "out") == 3
    assert refused(capsys) == code


@pytest.mark.parametrize(
    "change",
    [
        {"source": None},
        {"labels": {}},
        {"lungs": {}},
        {"lungs": {"right": {"volume_ml": "much"}}},
    ],
)
def test_incomplete_measurements_are_refused_by_name(
    done: Done, tmp_path: Path, change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("lungs", "volume"):
        shutil.copytree(done.work / name, tmp_path / name)
    record = {**done.measurements, **change}
    (tmp_path / "lungs" / "measurements.json").write_text(json.dumps(record))
    assert lungs.write(done.source, tmp_path, tmp_path / "out") == 3
    assert refused(capsys) == "NO_MEASUREMENTS"
