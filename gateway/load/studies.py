"""Generates DICOM studies and sends each over one association.

Every generated study is a new one: its UIDs are made for it, on every run anew, and so are the
patient and the accession number.  An image of a real patient is thus never sent under its own UID
with another content, nor put with that patient.  It is no de-identification: descriptions, private
elements and pixels stay as they are.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import struct
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from gateway.dicom.errors import NotDicom
from gateway.dicom.files import find, read_instance
from gateway.dicom.peer import Peer
from gateway.dicom.scu import Sent, StoreScu
from gateway.errors import GatewayError, Refused
from gateway.load.plan import Piece
from gateway.load.report import Outcome

STANDARD = "1.2.840.10008."
"""Root of the UIDs that the standard registers (PS3.6): they stay."""

# UIDs that name a kind of thing or a system, not an object of this study.
_KINDS = (
    "ClassUID", "SyntaxUID", "CodingSchemeUID", "ContextUID", "CreatorUID", "MappingResourceUID",
)  # fmt: skip
_PERSON = (
    "PatientBirthDate", "PatientBirthTime", "PatientSex", "PatientAge", "PatientAddress",
    "PatientTelephoneNumbers", "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames",
    "PatientBirthName", "PatientMotherBirthName", "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence", "AdmissionID", "ReferringPhysicianName",
    "PatientComments", "MedicalRecordLocator", "MilitaryRank",
)  # fmt: skip


@dataclass(frozen=True)
class Template:
    """The files of a study that generated ones are made of."""

    paths: Sequence[Path]


@dataclass(frozen=True)
class Slices:
    """The form of a synthetic CT study."""

    instances: int = 20
    rows: int = 512
    columns: int = 512


def templates(paths: Iterable[Path]) -> list[Template]:
    """One template per Study Instance UID in ``paths``; raises :class:`Refused` if there is none.

    Files that hold no DICOM instance are left out.
    """
    studies: dict[str, list[Path]] = {}
    for path in find(paths):
        try:
            read_instance(path)
        except NotDicom:
            continue
        found = pydicom.dcmread(path, specific_tags=["StudyInstanceUID"], stop_before_pixels=True)
        studies.setdefault(str(found.get("StudyInstanceUID", "")), []).append(path)
    if not studies:
        raise Refused("there is no DICOM instance among these files")
    return [Template(files) for _, files in sorted(studies.items())]


def synthetic(folder: Path, form: Slices, seed: int) -> Template:
    """Write a CT study of noise into ``folder``; the same pixels for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)  # noqa: S311 - noise that is the same again
    paths = []
    for number in range(1, form.instances + 1):
        path = folder / f"{number}.dcm"
        _slice(number, form, draw).save_as(path, enforce_file_format=True)
        paths.append(path)
    return Template(paths)


def _slice(number: int, form: Slices, draw: random.Random) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"2.25.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25", "2.25.0", "2.25.00"
    ds.Modality, ds.InstanceNumber, ds.SeriesDescription = "CT", number, "generated load"
    ds.ImagePositionPatient, ds.PixelSpacing = [0, 0, float(number)], [0.7, 0.7]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.Rows, ds.Columns, ds.SamplesPerPixel = form.rows, form.columns, 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = draw.randbytes(2 * form.rows * form.columns)
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


class Identity:
    """Who a generated study is: maps UIDs and tells the patient."""

    def __init__(self, run: str, number: int) -> None:
        """``run`` is unlike that of any other run, ``number`` counts within it."""
        self.patient = f"LOAD-{run[:12]}-{number}"
        self._salt = f"{run} {number} ".encode()

    def uid(self, old: str) -> str:
        """The new UID of ``old``: the same one each time, so references go on to hold."""
        digest = hashlib.sha256(self._salt + old.encode()).digest()
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"

    def take(self, ds: Dataset) -> None:
        """Give ``ds`` this identity, its sequences included."""
        self._map(ds)
        for keyword in _PERSON:
            if keyword in ds:
                delattr(ds, keyword)
        ds.PatientID, ds.PatientName = self.patient, "Load^Generated"
        ds.AccessionNumber = self.patient[-16:]

    def _map(self, ds: Dataset) -> None:
        for tag in list(ds.keys()):
            if _vr(ds, tag) not in ("UI", "SQ"):
                # Left as the bytes they are: what is not understood is not touched either.
                continue
            element = ds[tag]
            if element.VR == "SQ":
                for item in cast("Sequence[Dataset]", element.value or ()):
                    self._map(item)
            elif element.VR == "UI" and not element.keyword.endswith(_KINDS):
                element.value = self._mapped(element.value)

    def _mapped(self, value: object) -> object:
        if not value:
            return value
        if isinstance(value, str):
            return value if value.startswith(STANDARD) else UID(self.uid(value))
        return [self._mapped(one) for one in cast("Iterable[object]", value)]


def _vr(ds: Dataset, tag: BaseTag) -> str:
    """The VR of an element, without reading its value."""
    vr: str | None = ds.get_item(tag).VR
    if vr in (None, "UN"):
        return dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
    return str(vr)


class StudyGenerator:
    """Makes studies of templates below ``folder`` and sends them to ``peer``; any thread."""

    def __init__(self, peer: Peer, sources: Sequence[Template], folder: Path) -> None:
        self._peer = peer
        self._sources = sources
        self._folder = folder
        self._run = uuid.uuid4().hex

    def prepare(self, piece: Piece) -> Callable[[], Outcome]:
        """Write the new study before its time."""
        folder = Path(tempfile.mkdtemp(prefix="study-", dir=self._folder))
        identity = Identity(self._run, piece.number)
        paths = []
        for number, source in enumerate(self._sources[piece.source].paths):
            path = folder / str(number)
            try:
                _rewrite(source, path, identity)
            except (OSError, ValueError, TypeError, LookupError, AttributeError, struct.error):
                reason = f"{source} cannot be made into another instance"
                return lambda: Outcome(error=reason)
            paths.append(path)
        return lambda: self._sent(folder, paths)

    def _sent(self, folder: Path, paths: Sequence[Path]) -> Outcome:
        try:
            return self._send(paths)
        finally:
            shutil.rmtree(folder)

    def _send(self, paths: Sequence[Path]) -> Outcome:
        instances, faults, error = list[float](), list[Sent](), None
        size = 0
        began = mark = time.perf_counter()
        try:
            for sent in StoreScu(self._peer).send(paths):
                instances.append((now := time.perf_counter()) - mark)
                mark = now
                size += sent.path.stat().st_size if sent.stored else 0
                if not sent.stored:
                    faults.append(sent)
        except GatewayError as fault:
            error = str(fault)
        times: Mapping[str, Sequence[float]] = {"instance": instances}
        if faults:
            status = faults[0].status
            code = "not sent" if status is None else f"{status:04X}H"
            error = f"{len(faults)} instances were refused: {code} {faults[0].comment}".strip()
        if error is None:
            times = {**times, "whole": [time.perf_counter() - began]}
        return Outcome(times, size, error)


def _rewrite(source: Path, path: Path, identity: Identity) -> None:
    ds = pydicom.dcmread(source, force=True)
    if "SOPInstanceUID" not in ds:
        # What some files say only beside their data set.
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID
    identity.take(ds)
    if ds.file_meta:
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path)
