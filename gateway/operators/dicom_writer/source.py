"""Brings labels, measurements and source images together, and refuses what does not fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from gateway.operators.dicom_writer.identity import image_of, study_of
from gateway.operators.sdk import InputRefusedError, patient_of_dataset, refuse_mixed_patients

JSON_LIMIT: Final = 256 * 2**20
SIDES: Final = ("right", "left", "total")
VALUES: Final = ("volume_ml", "mean_hu", "laa950_percent", "perc15_hu")
PLACE_TOLERANCE_MM: Final = 0.05


@dataclass(frozen=True)
class Case:
    """All that the results are made of.

    `study` holds patient and study attributes, `headers` one nameless header per source file,
    `slices` says for each slice of the volume which header and frame (from 1; None = single-frame)
    it came from. `hu` and `labels` are in index order of the volume (column, row, slice);
    `affine_lps` turns indices into mm.
    """

    study: Dataset
    headers: list[Dataset]
    slices: list[tuple[int, int | None]]
    hu: npt.NDArray[Any]
    labels: npt.NDArray[np.uint8]
    affine_lps: npt.NDArray[np.float64]
    measurements: dict[str, Any]


def load_case(dicom: Path, lungs: Path, volume: Path) -> Case:
    """Load everything and check that it belongs together.

    Raises:
        InputRefusedError: by the names listed in the package.
    """
    measurements = _read_json(lungs / "measurements.json", "NO_MEASUREMENTS")
    series_uid, labels_file = _check_measurements(measurements)
    return _assemble(dicom, lungs / labels_file, volume, measurements, series_uid)


def load_labelled(dicom: Path, labels: Path, volume: Path) -> Case:
    """Load a label map with its `labels.json`, which becomes the case's `measurements`.

    Raises:
        InputRefusedError: by the names listed in the package.
    """
    record = _read_json(labels / "labels.json", "NO_LABELS")
    try:
        series_uid = str(record["source"]["series_instance_uid"])
        name = PurePath(str(record["labels"]["file"])).name
    except (KeyError, TypeError) as error:
        raise InputRefusedError("NO_LABELS", "labels.json is not complete") from error
    return _assemble(dicom, labels / name, volume, record, series_uid)


def _assemble(
    dicom: Path, labels_file: Path, volume: Path, record: dict[str, Any], series_uid: str
) -> Case:
    """Load source, volume and labels, and check that they belong together."""
    listing = _read_json(volume / "series.json", "NO_SERIES_LIST")
    series = _series(listing, series_uid)
    labels, affine = _load_nifti(labels_file)
    hu, _ = _load_nifti(volume / PurePath(str(series["files"]["nifti"])).name)
    datasets, slices = _load_datasets(dicom, series["sources"][0])
    _check_identity(datasets, series, str(listing.get("patient_digest") or ""))
    study, headers = study_of(datasets[0]), [image_of(dataset) for dataset in datasets]
    case = Case(study, headers, slices, hu, labels.astype(np.uint8, copy=False), affine, record)
    _check_geometry(case)
    return case


def _read_json(path: Path, code: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise InputRefusedError(code, f"{path.name} is too big")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputRefusedError(code, f"there is no readable {path.name}") from error
    if not isinstance(content, dict):
        raise InputRefusedError(code, f"{path.name} holds no object")
    return content


def _check_measurements(measurements: dict[str, Any]) -> tuple[str, str]:
    """Give the measured series and the labels' file name; refuse what lacks any part."""
    try:
        series_uid = str(measurements["source"]["series_instance_uid"])
        labels_file = PurePath(str(measurements["labels"]["file"])).name
        for side in SIDES:
            for key in VALUES:
                float(measurements["lungs"][side][key])
    except (KeyError, TypeError, ValueError) as error:
        raise InputRefusedError(
            "NO_MEASUREMENTS", f"measurements.json is not complete ({error})"
        ) from error
    return series_uid, labels_file


def _series(listing: dict[str, Any], uid: str) -> dict[str, Any]:
    for series in listing.get("series") or []:
        if series.get("series_instance_uid") == uid and series.get("status") == "volume":
            return dict(series)
    raise InputRefusedError("NO_SERIES_LIST", "series.json does not list the measured series")


def _load_nifti(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    try:
        image = nibabel.load(path)
        array = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise InputRefusedError(
            "NO_LABELS", f"a volume cannot be read ({type(error).__name__})"
        ) from error
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(image.affine, dtype=np.float64)
    return array, affine


def _load_datasets(
    folder: Path, sources: list[dict[str, Any]]
) -> tuple[list[Dataset], list[tuple[int, int | None]]]:
    """Read each source file once, without pixels; in the order of the slices."""
    index: dict[str, Path] = {}
    datasets: list[Dataset] = []
    position: dict[str, int] = {}
    slices: list[tuple[int, int | None]] = []
    for source in sources:
        uid = str(source["sop_instance_uid"])
        if uid not in position:
            dataset = _read_named(folder, str(source.get("file") or ""), uid)
            if dataset is None:
                index = index or _index(folder)
                dataset = _read(index[uid]) if uid in index else None
            if dataset is None:
                raise InputRefusedError("SOURCE_MISSING", f"the source instance {uid} is not there")
            position[uid] = len(datasets)
            datasets.append(dataset)
        slices.append((position[uid], source.get("frame")))
    return datasets, slices


def _read_named(folder: Path, name: str, uid: str) -> Dataset | None:
    """Read the file the reader named if it still is that instance; None if it is not."""
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts:
        return None
    path = folder / relative
    if path.is_symlink() or not path.is_file():
        return None
    dataset = _read(path)
    return dataset if str(dataset.get("SOPInstanceUID", "")) == uid else None


def _index(folder: Path) -> dict[str, Path]:
    """Find every instance by its SOP Instance UID, where the reader saw another root."""
    found = {}
    for path in _files(folder):
        try:
            dataset = dcmread(path, force=True, specific_tags=["SOPInstanceUID"])
        except (OSError, InvalidDicomError, EOFError):
            continue
        if "SOPInstanceUID" in dataset:
            found[str(dataset.SOPInstanceUID)] = path
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _read(path: Path) -> Dataset:
    try:
        return dcmread(path, force=True, stop_before_pixels=True)
    except (OSError, InvalidDicomError, EOFError) as error:
        raise InputRefusedError(
            "SOURCE_UNREADABLE", f"a source file cannot be read ({type(error).__name__})"
        ) from error


def _check_identity(datasets: list[Dataset], series: dict[str, Any], digest: str) -> None:
    """Refuse images of several patients or series, and a patient whom the reader did not see."""
    patient = refuse_mixed_patients(patient_of_dataset(dataset) for dataset in datasets)
    if digest and digest != patient.digest():
        raise InputRefusedError(
            "PATIENT_DIFFERS", "the source images are not of the patient that was measured"
        )
    for keyword, key in (
        ("StudyInstanceUID", "study_instance_uid"),
        ("SeriesInstanceUID", "series_instance_uid"),
    ):
        if {str(dataset.get(keyword, "")) for dataset in datasets} != {str(series[key])}:
            raise InputRefusedError("MIXED_SERIES", f"the source images differ in {keyword}")


def _check_geometry(case: Case) -> None:
    """Refuse labels that have not the source's shape or do not lie where the source lies."""
    shape = (int(case.headers[0].Columns), int(case.headers[0].Rows), len(case.slices))
    if case.labels.shape != shape or case.hu.shape != shape:
        raise InputRefusedError(
            "GEOMETRY_MISMATCH",
            f"source {shape}, volume {case.hu.shape}, labels {case.labels.shape}",
        )
    for k in (0, len(case.slices) - 1):
        header = case.headers[case.slices[k][0]]
        if "ImagePositionPatient" not in header:
            continue
        expected = np.asarray(header.ImagePositionPatient, dtype=np.float64)
        place = (case.affine_lps @ [0.0, 0.0, k, 1.0])[:3]
        if float(np.abs(place - expected).max()) > PLACE_TOLERANCE_MM:
            raise InputRefusedError(
                "GEOMETRY_MISMATCH", "the labels do not lie where the source images lie"
            )
