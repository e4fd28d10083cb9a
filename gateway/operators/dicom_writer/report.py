"""The Structured Report (Comprehensive 3D SR, PS3.3 A.35.13, TID 1500) with the measurements."""

from __future__ import annotations

from typing import Any, Final

from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from gateway.operators.dicom_writer.identity import put_study
from gateway.operators.dicom_writer.origin import MANUFACTURER, MODEL, SR_SERIES, Origin
from gateway.operators.dicom_writer.segmentation import SIDES
from gateway.operators.dicom_writer.source import Case

SCHEME: Final = "99GATEWAY"
LAA_950: Final = Code("LAA950", SCHEME, "Lung voxels below -950 HU (LAA-950)")
PERC_15: Final = Code("PERC15", SCHEME, "15th percentile of lung density (Perc15)")
MILLILITER: Final = Code("ml", "UCUM", "milliliter")
CT_OF_CHEST: Final = Code("169069000", "SCT", "CT of chest")


def make_report(case: Case, origin: Origin, segmentation: Dataset) -> Dataset:
    """Make the SR: one group per lung that refers to its segment, and one for both lungs.

    The source images stand in the evidence; an Image Library (optional in TID 1500) would repeat
    them with their geometry, at the price of half the operator's time.
    """
    lungs = case.measurements["lungs"]
    groups: list[Any] = [
        _lung_group(case, origin, segmentation, side, number, laterality, lungs[side])
        for side, number, laterality, _ in SIDES
    ]
    groups.append(_both_group(origin, lungs["total"]))
    content = sr.MeasurementReport(
        observation_context=_observer(origin),
        procedure_reported=sr.CodedConcept(*CT_OF_CHEST),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    report: Dataset = sr.Comprehensive3DSR(
        evidence=[*case.headers, segmentation],
        content=content[0],
        series_instance_uid=origin.uid("sr series"),
        series_number=SR_SERIES,
        sop_instance_uid=origin.uid("sr"),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="Lung density report",
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=SCHEME,
                name="Gateway lung density",
                responsible_organization=MANUFACTURER,
            )
        ],
        **origin.equipment(),
    )
    put_study(case.study, report)
    return report


def _observer(origin: Origin) -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=origin.uid("observer"),
        name=origin.algorithm,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL,
    )
    context = sr.ObserverContext(
        observer_type=codes.DCM.Device, observer_identifying_attributes=device
    )
    return sr.ObservationContext(observer_device_context=context)


def _algorithm(origin: Origin) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(name=origin.algorithm, version=origin.version)


def _lung_group(
    case: Case,
    origin: Origin,
    segmentation: Dataset,
    side: str,
    number: int,
    laterality: Code,
    values: dict[str, Any],
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    """Group one lung's measurements (TID 1411) with its segment and the source series."""
    referenced = sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=number,
        source_series=sr.SourceSeriesForSegmentation(str(case.headers[0].SeriesInstanceUID)),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=origin.uid(f"{side} lung"), identifier=f"{side.capitalize()} lung"
        ),
        referenced_segment=referenced,
        finding_type=codes.SCT.Lung,
        algorithm_id=_algorithm(origin),
        finding_sites=[_site(laterality)],
        measurements=_measurements(values),
    )


def _both_group(origin: Origin, values: dict[str, Any]) -> sr.MeasurementsAndQualitativeEvaluations:
    """Group the measurements of both lungs together (TID 1501)."""
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=origin.uid("both lungs"), identifier="Both lungs"
        ),
        finding_type=codes.SCT.Lung,
        algorithm_id=_algorithm(origin),
        finding_sites=[_site(codes.SCT.Bilateral)],
        measurements=_measurements(values),
    )


def _site(laterality: Code) -> sr.FindingSite:
    return sr.FindingSite(anatomic_location=codes.SCT.Lung, laterality=laterality)


def _measurements(values: dict[str, Any]) -> list[sr.Measurement]:
    """Give volume, mean density, LAA-950 and Perc15 with their UCUM units."""
    hounsfield = codes.UCUM.HounsfieldUnit
    return [
        sr.Measurement(codes.SCT.Volume, round(values["volume_ml"], 1), MILLILITER),
        sr.Measurement(
            codes.DCM.AttenuationCoefficient,
            round(values["mean_hu"], 1),
            hounsfield,
            derivation=codes.SCT.Mean,
        ),
        sr.Measurement(LAA_950, round(values["laa950_percent"], 2), codes.UCUM.Percent),
        sr.Measurement(PERC_15, round(values["perc15_hu"], 1), hounsfield),
    ]
