"""CT slices to send: every benchmark and every receiver gets the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

_UID = "1.2.826.0.1.3680043.8.498.7"


def make_slices(
    folder: Path, rows: int, columns: int, count: int, study: int = 1, expected: int | None = None
) -> list[Path]:
    """Write one CT series; every file differs only in its SOP Instance UID.

    ``study`` makes its UIDs those of another study; ``expected`` announces the study's count.
    """
    root = f"{_UID}.{study}"
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"{root}.100000"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{root}.1", f"{root}.2"
    ds.Modality, ds.PatientID, ds.PatientName = "CT", f"BENCH{study}", "Bench"
    if expected is not None:
        ds.NumberOfStudyRelatedInstances = expected
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = rows, columns, 16, 16, 15
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.ImagePositionPatient, ds.PixelSpacing = [0, 0, 0], [0.7, 0.7]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelData = os.urandom(rows * columns * 2)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    folder.mkdir()
    first = folder / "first"
    ds.save_as(first, enforce_file_format=True)
    whole = first.read_bytes()
    first.unlink()
    paths = []
    for number in range(100001, 100001 + count):
        path = folder / str(number)
        path.write_bytes(whole.replace(f"{root}.100000".encode(), f"{root}.{number}".encode()))
        paths.append(path)
    return paths
