"""Small data sets for tests, and their bytes as a sender would put them on the wire."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)


def slice_(number: int = 1, **changes: Any) -> Dataset:
    """One small CT slice; ``changes`` are keywords, None removes one."""
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    ds.PatientID = "P1"
    ds.PatientName = "Test^Person"
    ds.AccessionNumber = "A1"
    ds.Modality = "CT"
    ds.InstanceNumber = number
    ds.ImagePositionPatient = [0, 0, number * 2.5]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [0.7, 0.7]
    ds.SliceThickness = 2.5
    ds.Rows = ds.Columns = 8
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 1
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = bytes(128)
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def encode(ds: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set's bytes in ``transfer_syntax`` (uncompressed ones only)."""
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        raise ValueError("deflate it yourself")
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = transfer_syntax == ImplicitVRLittleEndian
    buffer.is_little_endian = transfer_syntax != ExplicitVRBigEndian
    write_dataset(buffer, ds)
    return buffer.getvalue()
