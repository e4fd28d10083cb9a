"""Writes the chest phantom as a proper CT series and says what is true of it.

    python -m gateway.demo.phantom OUT --slices 120 --matrix 256 --position HFS

writes one CT Image Storage file (PS3.3 A.3) per slice into OUT, named by its slice order
`ct-0001.dcm` …, and prints the truth (`right`, `left`, `total`: volume in ml, mean density and
Perc15 in HU, LAA-950 in percent) and the UIDs as JSON.

The geometry follows the patient position as a scanner's does (PS3.3 C.7.3.1.1.2): the gantry's
axes stay, the patient turns, so rows run to the patient's left for HFS and FFP, to the right for
FFS and HFP, and the files' position vectors change accordingly. All UIDs derive from the options:
equal options give equal bytes, and any different option gives another series.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from gateway.demo.phantom_anatomy import Grid, Vector
from gateway.demo.phantom_voxels import LungTruth, Tissue, Voxels, sample, truth_record

POSITIONS: Final = {"HFS": (1, 1), "FFS": (-1, 1), "HFP": (-1, -1), "FFP": (1, -1)}
THORAX_CENTRE: Final = (6.5, -14.0, -412.0)
IMPLEMENTATION_UID: Final = generate_uid(entropy_srcs=["gateway chest phantom"])
NATIVE: Final = frozenset(
    {
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    }
)


@dataclass(frozen=True)
class Identity:
    """Whose study it pretends to be; every value goes into the files as given."""

    patient_id: str = "PHANTOM-1"
    patient_name: str = "Phantom^Chest"
    birth_date: str = "19500102"
    sex: str = "O"
    accession_number: str = "ACC-PHANTOM-1"
    study_id: str = "1"
    referring_physician: str = ""
    character_set: str | tuple[str, ...] = "ISO_IR 192"


@dataclass(frozen=True)
class Options:
    """All that shapes a phantom series; lengths in millimetres, angles in degrees."""

    slices: int = 120
    matrix: int = 256
    field_of_view: float = 380.0
    spacing: float | None = None
    """Distance from slice to slice along the table; None = the 250 mm of the lungs / slices."""
    position: str = "HFS"
    tilt: float = 0.0
    reverse_instance_numbers: bool = False
    transfer_syntax: str = ExplicitVRLittleEndian
    tissue: Tissue = field(default_factory=Tissue)
    identity: Identity = field(default_factory=Identity)
    study_uid: str | None = None
    series_uid: str | None = None
    frame_of_reference_uid: str | None = None
    series_number: int = 2
    series_description: str = "Chest phantom B30f"
    study_description: str = "CT chest phantom"
    study_date: str = "20260102"
    study_time: str = "101500"
    body_part: str = field(default="CHEST", repr=False)
    """Defined term of Body Part Examined (PS3.16 annex L); told apart by the description."""

    def __post_init__(self) -> None:
        """Refuse what gives no series."""
        if self.position not in POSITIONS:
            raise ValueError(f"position {self.position!r}: allowed are {', '.join(POSITIONS)}")
        if self.slices < 1 or self.matrix < 16:
            raise ValueError("at least 1 slice and a matrix of 16 are needed")
        if abs(self.tilt) > 30:
            raise ValueError(f"tilt {self.tilt}: a gantry tilts by at most 30 degrees")

    def slice_spacing(self) -> float:
        """Give the distance from slice to slice in millimetres."""
        return self.spacing if self.spacing is not None else round(250.0 / self.slices, 3)

    def uid(self, what: str) -> str:
        """Derive a UID for `what` from all options."""
        return generate_uid(entropy_srcs=[hashlib.sha256(repr(self).encode()).hexdigest(), what])


@dataclass(frozen=True)
class Series:
    """A written series: where it is, its identifiers and its truth."""

    files: tuple[Path, ...]
    study_uid: str
    series_uid: str
    truth: dict[str, LungTruth]

    def record(self) -> dict[str, Any]:
        """Give the JSON that the command prints."""
        return {
            "study_uid": self.study_uid,
            "series_uid": self.series_uid,
            "instances": len(self.files),
            "truth": truth_record(self.truth),
        }


def make_grid(options: Options) -> Grid:
    """Lay the CT grid that a scanner would for this position and tilt."""
    row_sign, up = POSITIONS[options.position]
    pixel = options.field_of_view / options.matrix
    right = np.array([row_sign, 0.0, 0.0])
    down = np.array([0.0, float(up), 0.0])
    table = np.cross(right, down)
    angle = np.deg2rad(options.tilt)
    column = np.cos(angle) * down + np.sin(angle) * table
    step = table * options.slice_spacing()
    middle = (options.matrix - 1) / 2 * pixel
    centre = np.array([0.0, 0.0, 27.0])
    origin: Vector = (
        centre - middle * right - middle * column - (options.slices - 1) / 2 * step
    ).astype(np.float64)
    shape = (options.slices, options.matrix, options.matrix)
    return Grid(shape, origin, step, column * pixel, right * pixel, up)


def build(options: Options) -> Voxels:
    """Sample the phantom without writing it (slices in table order)."""
    return sample(make_grid(options), options.tissue)


def write_series(folder: Path, options: Options | None = None) -> Series:
    """Write the series into `folder` (made if missing) and give its identifiers and truth."""
    chosen = options or Options()
    voxels = build(chosen)
    files, study_uid, series_uid = write_images(folder, chosen, voxels)
    return Series(files, study_uid, series_uid, voxels.truth())


def write_images(
    folder: Path, options: Options, voxels: Voxels
) -> tuple[tuple[Path, ...], str, str]:
    """Write sampled voxels as a series; gives its files, study and series UID."""
    folder.mkdir(parents=True, exist_ok=True)
    common = _series_attributes(options)
    files = []
    for index in range(options.slices):
        dataset = _image(common, options, voxels, index)
        path = folder / f"ct-{index + 1:04d}.dcm"
        _save(dataset, path, options.transfer_syntax)
        files.append(path)
    return tuple(files), str(common.StudyInstanceUID), str(common.SeriesInstanceUID)


def _series_attributes(options: Options) -> Dataset:
    """Fill what all slices share: patient, study, series, frame of reference, equipment, CT."""
    dataset = Dataset()
    _add_patient_and_study(dataset, options)
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = options.series_uid or options.uid("series")
    dataset.SeriesNumber = options.series_number
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = options.study_date
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = options.study_time
    dataset.SeriesDescription = options.series_description
    dataset.ProtocolName = options.body_part.capitalize()
    dataset.BodyPartExamined = options.body_part
    dataset.PatientPosition = options.position
    dataset.FrameOfReferenceUID = options.frame_of_reference_uid or options.uid("frame")
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = "Gateway"
    dataset.ManufacturerModelName = f"{options.body_part.capitalize()} phantom"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"
    dataset.InstitutionName = "Phantom hospital"
    dataset.StationName = "PHANTOM"
    _add_ct(dataset, options)
    return dataset


def _add_patient_and_study(dataset: Dataset, options: Options) -> None:
    """Fill the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1)."""
    identity = options.identity
    charset = identity.character_set
    dataset.SpecificCharacterSet = charset if isinstance(charset, str) else list(charset)
    dataset.PatientName = identity.patient_name
    dataset.PatientID = identity.patient_id
    dataset.PatientBirthDate = identity.birth_date
    dataset.PatientSex = identity.sex
    dataset.StudyInstanceUID = options.study_uid or options.uid("study")
    dataset.StudyID = identity.study_id
    dataset.StudyDate = options.study_date
    dataset.StudyTime = options.study_time
    dataset.StudyDescription = options.study_description
    dataset.AccessionNumber = identity.accession_number
    dataset.ReferringPhysicianName = identity.referring_physician


def _add_ct(dataset: Dataset, options: Options) -> None:
    """Fill the CT Image and Image Pixel modules (PS3.3 C.8.2.1, C.7.6.3)."""
    pixel = options.field_of_view / options.matrix
    dataset.SOPClassUID = CTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AcquisitionNumber = 1
    dataset.KVP = "120"
    dataset.XRayTubeCurrent = 200
    dataset.ExposureTime = 500
    dataset.ConvolutionKernel = "B30f"
    dataset.ReconstructionDiameter = f"{options.field_of_view:g}"
    dataset.GantryDetectorTilt = f"{options.tilt:g}"
    dataset.SliceThickness = f"{options.slice_spacing():g}"
    dataset.PixelSpacing = [_ds(pixel), _ds(pixel)]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = options.matrix
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope = "-1024", "1"
    dataset.RescaleType = "HU"
    dataset.WindowCenter, dataset.WindowWidth = ["-600", "40"], ["1500", "400"]


def _image(common: Dataset, options: Options, voxels: Voxels, index: int) -> Dataset:
    """Make one slice: the shared attributes plus identity, place and pixels of its own."""
    dataset = Dataset()
    dataset.update(common)
    number = options.slices - index if options.reverse_instance_numbers else index + 1
    grid = voxels.grid
    corner = grid.origin + index * grid.slice_step + np.asarray(THORAX_CENTRE)
    pixel = options.field_of_view / options.matrix
    dataset.SOPInstanceUID = options.uid(f"image {index}")
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [_ds(value) for value in corner]
    dataset.ImageOrientationPatient = [
        _ds(value / pixel) for value in (*grid.column_step, *grid.row_step)
    ]
    dataset.SliceLocation = _ds(corner[2])
    stored = (voxels.hu[index].astype(np.int32) + 1024).astype("<u2")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _ds(value: float) -> str:
    """Write a decimal string of at most 16 characters (PS3.5 6.2), without a negative zero."""
    return f"{round(float(value), 8) + 0.0:.10g}"


def _save(dataset: Dataset, path: Path, transfer_syntax: str) -> None:
    """Write a file in any transfer syntax that pydicom can write or compress to."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "GATEWAY_PHANTOM"
    dataset.file_meta = meta
    if transfer_syntax in NATIVE:
        meta.TransferSyntaxUID = UID(transfer_syntax)
        if transfer_syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    else:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(transfer_syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def _parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.demo.phantom",
        description="Write a chest CT phantom with known lungs.",
    )
    parser.add_argument("out", type=Path, help="folder for the files")
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--matrix", type=int, default=256)
    parser.add_argument(
        "--spacing", type=float, help="mm from slice to slice (default: 250 / slices)"
    )
    parser.add_argument("--position", choices=sorted(POSITIONS), default="HFS")
    parser.add_argument("--tilt", type=float, default=0.0, help="gantry tilt in degrees")
    parser.add_argument("--reverse", action="store_true", help="number the instances backwards")
    parser.add_argument("--transfer-syntax", default=str(ExplicitVRLittleEndian))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", type=float, default=12.0, help="standard deviation in HU")
    parser.add_argument(
        "--emphysema", type=float, nargs=2, default=(0.12, 0.05), metavar=("R", "L")
    )
    parser.add_argument("--patient-id", default=Identity.patient_id)
    parser.add_argument("--patient-name", default=Identity.patient_name)
    parser.add_argument("--accession", default=Identity.accession_number)
    parser.add_argument("--study-uid")
    parser.add_argument("--series-uid")
    parser.add_argument("--no-lungs", action="store_true", help="leave the lungs solid")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; prints the record as JSON and returns the exit code."""
    given = _parser().parse_args(arguments)
    tissue = Tissue(
        emphysema_right=given.emphysema[0],
        emphysema_left=given.emphysema[1],
        noise_hu=given.noise,
        seed=given.seed,
        lungs=not given.no_lungs,
    )
    identity = Identity(
        patient_id=given.patient_id,
        patient_name=given.patient_name,
        accession_number=given.accession,
    )
    options = Options(
        slices=given.slices,
        matrix=given.matrix,
        spacing=given.spacing,
        position=given.position,
        tilt=given.tilt,
        reverse_instance_numbers=given.reverse,
        transfer_syntax=given.transfer_syntax,
        tissue=tissue,
        identity=identity,
        study_uid=given.study_uid,
        series_uid=given.series_uid,
    )
    series = write_series(given.out, options)
    sys.stdout.write(json.dumps(series.record(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
