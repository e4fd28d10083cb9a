"""What the operators' tests share: real data, the peer converter, and a maker of small series."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateway.operators.dicom_reader.convert import Wishes
from gateway.operators.dicom_reader.reader import read_folder
from gateway.operators.sdk import InputRefusedError, Log
from tests.support.inference import BROKEN, make_repository
from tests.support.triton import Triton, serving

ROOT = "1.2.826.0.1.3680043.8.498.77"


@pytest.fixture(scope="session")
def shared_dicom() -> Path:
    """Return the folder of real DICOM archives."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("GATEWAY_TEST_DATA", beside)) / "dicom"
    if not folder.is_dir():
        pytest.skip("the folder of real DICOM is not there (GATEWAY_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def unpack(shared_dicom: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that unpacks an archive (`set/name`) and gives its folder."""

    def run(archive: str) -> Path:
        target = tmp_path_factory.mktemp("archive")
        with tarfile.open(shared_dicom / f"{archive}.tar.gz") as tar:
            tar.extractall(target, filter="data")
        return target

    return run


@pytest.fixture(scope="session")
def dcm2niix() -> str:
    """Return the peer converter."""
    found = shutil.which("dcm2niix")
    if found is None:
        reason = "dcm2niix is not installed"
        if os.environ.get("GATEWAY_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def slice_dataset(index: int, pixels: np.ndarray | None = None, **changes: Any) -> Dataset:
    """Make one CT slice of a phantom that lies `index` mm up; `changes` are by keyword.

    None removes the attribute.
    """
    if pixels is None:
        pixels = np.full((6, 8), index, dtype=np.uint16)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{ROOT}.3.{index + 1}",
        "StudyInstanceUID": f"{ROOT}.1",
        "SeriesInstanceUID": f"{ROOT}.2",
        "FrameOfReferenceUID": f"{ROOT}.4",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientID": "PHANTOM",
        "PatientName": "Phantom^Paula",
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "InstanceNumber": index + 1,
        "ImagePositionPatient": [-10, -20, index],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.5, 0.75],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": pixels.itemsize * 8,
        "BitsStored": pixels.itemsize * 8,
        "HighBit": pixels.itemsize * 8 - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
        **changes,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


class Reading:
    """A folder of slices to make, and what the reader says of it."""

    def __init__(self, folder: Path) -> None:
        self.source, self.target = folder / "in", folder / "out"
        self.source.mkdir()
        self.log = io.StringIO()

    def add(self, dataset: Dataset, name: str | None = None) -> None:
        """Write a data set into the input."""
        path = self.source / (name or f"{len(list(self.source.iterdir())):04d}.dcm")
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)

    def add_slices(self, count: int = 6, **changes: Any) -> None:
        """Write `count` good slices; a callable change is called with the index."""
        for index in range(count):
            given = {k: v(index) if callable(v) else v for k, v in changes.items()}
            self.add(slice_dataset(index, **given))

    def read(self, source: Path | None = None, **wishes: Any) -> dict[str, Any]:
        """Run the reader and return its report, refused or not."""
        wanted = {"formats": ("nifti",), "level": 0, "least": 6, "most_bytes": 1 << 30, **wishes}
        with contextlib.suppress(InputRefusedError):
            read_folder(source or self.source, self.target, Wishes(**wanted), Log("t", self.log))
        return self.report()

    def report(self) -> dict[str, Any]:
        """Return `series.json`."""
        found: dict[str, Any] = json.loads((self.target / "series.json").read_text())
        return found

    def only(self, source: Path | None = None, **wishes: Any) -> dict[str, Any]:
        """Run the reader on a single series and return its entry."""
        (entry,) = self.read(source, **wishes)["series"]
        found: dict[str, Any] = entry
        return found


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    """Return an empty input."""
    return Reading(tmp_path)


@pytest.fixture
def make_slice() -> Callable[..., Dataset]:
    """Return the maker of a slice."""
    return slice_dataset


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """A real Triton with the shipped model and small known ones."""
    folder = tmp_path_factory.mktemp("triton")
    repository = make_repository(folder / "models")
    with serving(repository, folder, explicit=True) as server:
        with ThreadPoolExecutor(4) as loading:
            names = (path.name for path in repository.iterdir() if path.name != BROKEN)
            list(loading.map(server.load, sorted(names)))
        server._ask(f"/v2/repository/models/{BROKEN}/load", b"{}")
        yield server
