"""The Structured Report (Comprehensive SR, PS3.3 A.35.2, TID 1500) with the findings of a study."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from gateway.operators.chest_xray.detect import Finding
from gateway.operators.dicom_writer.identity import image_of, put_study, study_of

ALGORITHM: Final = "Gateway Chest X-ray"
VERSION: Final = "1.0.0"
MANUFACTURER: Final = "Gateway"
SERIES_NUMBER: Final = 9011
NAMESPACE: Final = uuid.UUID("0d9b6f0e-6a3a-5a53-8a53-5d3a7f0c9e21")
SCHEME: Final = "99GATEWAY"
OPACITY: Final = Code("ROUNDOPACITY", SCHEME, "Round opacity")
SPOT_SCORE: Final = Code("SPOTSCORE", SCHEME, "Contrast of the spot")
COUNT: Final = Code("FINDINGCOUNT", SCHEME, "Number of findings")
NOTICE: Final = Code("NOTICE", SCHEME, "Notice")
NOT_DIAGNOSTIC: Final = Code("NOTDIAGNOSTIC", SCHEME, "Computed demonstration, not for diagnosis")
CHEST_RADIOGRAPH: Final = Code("399208008", "SCT", "Plain chest X-ray")
KINDS: Final = {"nodule": codes.SCT.Nodule, "opacity": OPACITY}
NO_UNITS: Final = codes.UCUM.NoUnits


@dataclass(frozen=True)
class Reported:
    """One image of the study: its data set without pixels, and its findings."""

    header: Dataset
    spacing: tuple[float, float]
    findings: Sequence[Finding]


def make_report(images: Sequence[Reported], job_id: str, attempt: str) -> Dataset:
    """Make the SR of a study: one group per finding with its circle, one per image with its count.

    UIDs derive from the job and its attempt (without a job: from the first image) and the study.
    """
    study = study_of(images[0].header)
    headers = [image_of(image.header) for image in images]
    first = str(headers[0].SOPInstanceUID)
    seed = f"{job_id}/{attempt}" if job_id else f"{first}/{VERSION}"
    namer = _Namer(f"{seed}/{headers[0].StudyInstanceUID}")
    groups: list[Any] = []
    for image, header in zip(images, headers, strict=True):
        groups.append(_image_group(namer, image, header))
        groups += [
            _finding_group(namer, number, finding, image, header)
            for number, finding in enumerate(image.findings, start=1)
        ]
    content = sr.MeasurementReport(
        observation_context=_observer(namer),
        procedure_reported=sr.CodedConcept(*CHEST_RADIOGRAPH),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    report: Dataset = sr.ComprehensiveSR(
        evidence=headers,
        content=content[0],
        series_instance_uid=namer.uid("series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=namer.uid("report"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=ALGORITHM,
        software_versions=VERSION,
        device_serial_number="1",
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="Chest X-ray findings, not for diagnosis",
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=SCHEME, name="Gateway", responsible_organization=MANUFACTURER
            )
        ],
    )
    put_study(study, report)
    return report


@dataclass(frozen=True)
class _Namer:
    """Derives UIDs (PS3.5 B.2) from a seed: equal for equal runs."""

    seed: str

    def uid(self, what: str) -> UID:
        return UID(f"2.25.{uuid.uuid5(NAMESPACE, f'{self.seed}/{what}').int}")


def _observer(namer: _Namer) -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=namer.uid("observer"),
        name=ALGORITHM,
        manufacturer_name=MANUFACTURER,
        model_name=ALGORITHM,
    )
    context = sr.ObserverContext(
        observer_type=codes.DCM.Device, observer_identifying_attributes=device
    )
    return sr.ObservationContext(observer_device_context=context)


def _image_group(
    namer: _Namer, image: Reported, header: Dataset
) -> sr.MeasurementsAndQualitativeEvaluations:
    """Group what holds for a whole image: how many findings, and what the report is worth."""
    uid = str(header.SOPInstanceUID)
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=namer.uid(uid), identifier=f"Image {uid}"),
        source_images=[sr.SourceImageForMeasurementGroup(str(header.SOPClassUID), uid)],
        finding_type=codes.SCT.Chest,
        algorithm_id=sr.AlgorithmIdentification(name=ALGORITHM, version=VERSION),
        measurements=[sr.Measurement(COUNT, len(image.findings), NO_UNITS)],
        qualitative_evaluations=[sr.QualitativeEvaluation(NOTICE, NOT_DIAGNOSTIC)],
    )


def _finding_group(
    namer: _Namer, number: int, finding: Finding, image: Reported, header: Dataset
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Group one finding (TID 1410): its circle on the image, diameter, score."""
    uid = str(header.SOPInstanceUID)
    # SCOORD counts from the corner of the first pixel, column first (PS3.3 C.18.6.1.2).
    centre = (finding.column + 0.5, finding.row + 0.5)
    rim = (centre[0] + finding.diameter_mm / 2 / image.spacing[1], centre[1])
    region = sr.ImageRegion(
        graphic_type=sr.GraphicTypeValues.CIRCLE,
        graphic_data=np.array([centre, rim]),
        source_image=sr.SourceImageForRegion(str(header.SOPClassUID), uid),
    )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=namer.uid(f"{uid}/{number}"), identifier=f"Finding {number}"
        ),
        referenced_region=region,
        finding_type=KINDS[finding.kind],
        finding_sites=[sr.FindingSite(anatomic_location=codes.SCT.Lung)],
        algorithm_id=sr.AlgorithmIdentification(name=ALGORITHM, version=VERSION),
        measurements=[
            sr.Measurement(
                codes.SCT.Diameter, round(finding.diameter_mm, 1), codes.UCUM.Millimeter
            ),
            sr.Measurement(SPOT_SCORE, round(finding.score, 3), NO_UNITS),
        ],
    )
