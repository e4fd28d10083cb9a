"""The Secondary Capture images (PS3.3 A.8.1) that show the result in every viewer."""

from __future__ import annotations

import highdicom
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from gateway.operators.dicom_writer.identity import put_study
from gateway.operators.dicom_writer.origin import SC_SERIES, Origin
from gateway.operators.dicom_writer.overlay import Page, draw_pages
from gateway.operators.dicom_writer.source import Case


def make_captures(case: Case, origin: Origin) -> list[Dataset]:
    """Make one SC image per page; both in one series."""
    caption = f"{origin.algorithm} {origin.version} - computed; verify against the source images"
    pages = draw_pages(case, caption)
    return [_capture(case, origin, page, number) for number, page in enumerate(pages, start=1)]


def _capture(case: Case, origin: Origin, page: Page, number: int) -> Dataset:
    source = case.headers[0]
    capture: Dataset = highdicom.sc.SCImage(
        pixel_array=np.ascontiguousarray(page.pixels),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.StudyInstanceUID,
        series_instance_uid=origin.uid("sc series"),
        series_number=SC_SERIES,
        sop_instance_uid=origin.uid(f"sc {number}"),
        instance_number=number,
        patient_orientation=page.patient_orientation,
        series_description="Lung density overlay",
        **origin.equipment(),
    )
    put_study(case.study, capture)
    capture.ConversionType = "WSD"
    capture.BurnedInAnnotation = "NO"
    capture.BodyPartExamined = "CHEST"
    capture.ImageComments = page.description
    capture.DerivationDescription = "Lungs outlined, voxels below -950 HU coloured"
    _refer(case, page, capture)
    _keep_lossy(source, capture)
    return capture


def _refer(case: Case, page: Page, capture: Dataset) -> None:
    """Name the source images that are shown (PS3.3 C.12.4, General Reference)."""
    purpose = highdicom.sr.CodedConcept(*codes.DCM.SourceImageForImageProcessingOperation)
    frames: dict[int, list[int]] = {}
    for k in page.shown:
        header, frame = case.slices[k]
        frames.setdefault(header, []).extend([frame] if frame is not None else [])
    items = []
    for header, numbers in frames.items():
        item = Dataset()
        item.ReferencedSOPClassUID = case.headers[header].SOPClassUID
        item.ReferencedSOPInstanceUID = case.headers[header].SOPInstanceUID
        if numbers:
            item.ReferencedFrameNumber = numbers
        item.PurposeOfReferenceCodeSequence = [purpose]
        items.append(item)
    capture.SourceImageSequence = items


def _keep_lossy(source: Dataset, capture: Dataset) -> None:
    """Say that the pixels were once compressed with loss, if the source's were."""
    if str(source.get("LossyImageCompression") or "") != "01":
        return
    for keyword in (
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
    ):
        if keyword in source:
            setattr(capture, keyword, source[keyword].value)
