"""What a data set consists of: which files make which volume.

Nothing here reads a pixel.  Paths are relative to the job's payload, which operators write into:
every file is opened without following links.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import pydicom
from pydicom.errors import InvalidDicomError

from gateway.render.making.order import Format, Role
from gateway.results.files import UnsafeFile, opened

MOST_FILES: Final = 20_000
"""Most files of a job that are looked at."""
MOST_VOLUMES: Final = 64
"""Most volumes of a data set."""
_MOST_HEADER: Final = 64 * 1024
_SEG: Final = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_IMAGES: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT
        "1.2.840.10008.5.1.4.1.1.4",  # MR
        "1.2.840.10008.5.1.4.1.1.128",  # PET
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
        "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET
        "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced PET
    }
)
_TAGS: Final = [
    "SOPClassUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "SeriesDescription",
    "ReferencedSeriesSequence",
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """The files of one volume."""

    format: Format
    role: Role
    name: str
    """For people; may say something about the patient, so it stands in no log."""
    modality: str
    paths: tuple[str, ...]
    series: str = ""
    """Series Instance UID; of a label map that of the images it was drawn on."""
    frame: str = ""
    """Frame of Reference UID: label maps lie over images of the same one only."""

    @property
    def id(self) -> str:
        """Its name in addresses: the same for the same files."""
        text = "\n".join((self.format, *self.paths))
        return "v" + hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Header:
    sop_class: str
    series: str
    frame: str
    modality: str
    description: str
    references: str


def walk(payload: Path, below: str) -> Iterator[str]:
    """Paths of plain files below a folder of the payload, in order; no link is followed."""
    count = 0
    root = payload / below
    for folder, folders, names in os.walk(root, followlinks=False):
        folders.sort()
        place = PurePosixPath(Path(folder).relative_to(payload).as_posix())
        for name in sorted(names):
            count += 1
            if count > MOST_FILES:
                return
            if name.isprintable():
                yield str(place / name)


def sources(payload: Path, paths: Iterable[str], *, sorted_by_series: bool) -> list[Source]:
    """The volumes that the files make, images first.

    ``sorted_by_series``: files of one folder are one series, so one header tells of all.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    headers: dict[tuple[str, str], _Header] = {}
    others: list[Source] = []
    known: dict[str, tuple[str, str] | None] = {}
    given = list(paths)[:MOST_FILES]
    for path in given:
        plain = _plain(payload, path, given)
        if plain is not None:
            others.append(plain)
            continue
        folder = path.rpartition("/")[0]
        if sorted_by_series and folder in known:
            key = known[folder]
        else:
            header = _header(payload, path)
            key = None if header is None else _key(header, path)
            if header is not None and key is not None:
                headers.setdefault(key, header)
            known[folder] = key
        if key is not None:
            groups.setdefault(key, []).append(path)
    found = [_source(headers[key], tuple(files)) for key, files in groups.items()]
    found += _label_maps(others, bool(found))
    return sorted(found, key=lambda one: one.role != "image")[:MOST_VOLUMES]


def _key(header: _Header, path: str) -> tuple[str, str] | None:
    if header.sop_class in _SEG:
        return "seg", path
    return ("dicom", header.series) if header.sop_class in _IMAGES else None


def _source(header: _Header, paths: tuple[str, ...]) -> Source:
    if header.sop_class in _SEG:
        return Source(
            "seg", "label", header.description or "Segmentation", "SEG", paths,
            header.references, header.frame,
        )  # fmt: skip
    name = header.description or header.modality
    return Source("dicom", "image", name, header.modality, paths, header.series, header.frame)


def _header(payload: Path, path: str) -> _Header | None:
    """What the file says about itself; None when it is no DICOM file of a volume."""
    try:
        with opened(payload, PurePosixPath(path)) as file:
            ds = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
    except (UnsafeFile, InvalidDicomError, OSError, EOFError, ValueError, KeyError):
        return None
    except NotImplementedError:
        return None
    referenced = ds.get("ReferencedSeriesSequence") or []
    return _Header(
        str(ds.get("SOPClassUID", "")),
        str(ds.get("SeriesInstanceUID", ""))[:64],
        str(ds.get("FrameOfReferenceUID", ""))[:64],
        str(ds.get("Modality", ""))[:16],
        str(ds.get("SeriesDescription", ""))[:64],
        str(referenced[0].get("SeriesInstanceUID", ""))[:64] if referenced else "",
    )


def _plain(payload: Path, path: str, given: list[str]) -> Source | None:
    """A NIfTI or MetaImage file as a volume; None for another file."""
    name = path.rpartition("/")[2]
    lower = name.lower()
    if lower.endswith((".nii", ".nii.gz")):
        return Source("nifti", "image", name[:64], "", (path,))
    if lower.endswith((".mhd", ".mha")):
        return Source("mhd", "image", name[:64], "", (path, *_voxels(payload, path, given)))
    return None


def _voxels(payload: Path, path: str, given: list[str]) -> tuple[str, ...]:
    """The file that a MetaImage header names, if it lies beside it and is of the data set."""
    try:
        with opened(payload, PurePosixPath(path)) as file:
            head = file.read(_MOST_HEADER).decode("latin-1")
    except (UnsafeFile, OSError):
        return ()
    for line in head.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "ElementDataFile":
            beside = str(PurePosixPath(path).parent / value.strip())
            plain = "/" not in value and value.strip() not in {"LOCAL", "LIST", "", ".", ".."}
            return (beside,) if plain and beside in given else ()
    return ()


def _label_maps(others: list[Source], images: bool) -> list[Source]:
    """Files that cannot say what they are: labels by their names, where there is an image, too."""
    found = [
        replace(one, role="label", modality="SEG") if _says_label(one.name) else one
        for one in others
    ]
    if images or any(one.role == "image" for one in found):
        return found
    return others


def _says_label(name: str) -> bool:
    lower = name.lower()
    return any(word in lower for word in ("seg", "label", "mask", "lobes", "roi"))
