"""Puts the masks of all organs into one label map, with what is known of each."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from gateway.operators.lung_density.orientation import frame_of
from gateway.operators.lung_density.source import Source, load_source
from gateway.operators.roi_generator.atlas import ATLAS, ORGAN, Entry
from gateway.operators.roi_generator.split import CONFIG, CONFIG_FILE
from gateway.operators.sdk import Context, InputRefusedError

ALGORITHM: Final = {"name": "Gateway Abdominal Organs", "version": "1.0.0"}
MASK_RECORD: Final = "mask.json"
LABELS_FILE: Final = "labels.nii.gz"
RECORD_FILE: Final = "labels.json"
VOLUME: Final = "volume"
JSON_LIMIT: Final = 16 * 2**20
Labels = npt.NDArray[np.uint8]
Slices = tuple[slice, ...]


@dataclass(frozen=True)
class _Mask:
    """One organ's mask where it lies in the source volume."""

    entry: Entry
    record: dict[str, Any]
    place: Slices
    inside: npt.NDArray[np.bool_]
    mean_hu: float


def merge(context: Context) -> None:
    """Merge the masks of all organs of the config into the first output.

    Raises:
        InputRefusedError: a mask is missing or does not fit, by name.
    """
    regions = _regions(context.input(CONFIG))
    source = load_source(context.input(VOLUME))
    masks, missing = _masks(context, regions, source)
    if not masks:
        raise InputRefusedError("NO_ORGAN_FOUND", "none of the organs was found")
    labels, overlaps = _merged(masks, source)
    record = _record(source, masks, missing, labels, overlaps)
    for warning in record["warnings"]:
        context.log.warning("labels.odd", **warning)
    output = context.output()
    output.mkdir(parents=True, exist_ok=True)
    header = source.image.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    nibabel.save(nibabel.Nifti1Image(labels, source.image.affine, header), output / LABELS_FILE)
    (output / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    context.log.info("labels.merged", series=source.series_uid, organs=len(masks))


def _regions(folder: Path) -> list[dict[str, Any]]:
    content = _read(folder / CONFIG_FILE, "NO_CONFIG")
    regions = content.get("rois")
    if not isinstance(regions, list) or not regions:
        raise InputRefusedError("NO_CONFIG", f"{CONFIG_FILE} lists no regions")
    return [dict(region) for region in regions]


def _read(path: Path, code: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise InputRefusedError(code, f"{path.name} is too big")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputRefusedError(code, f"there is no readable {path.name}") from error
    if not isinstance(content, dict):
        raise InputRefusedError(code, f"{path.name} holds no object")
    return content


def _masks(
    context: Context, regions: list[dict[str, Any]], source: Source
) -> tuple[list[_Mask], list[dict[str, str]]]:
    """Load what was found, and tell what was not."""
    masks, missing = [], []
    for region in regions:
        organ = str(region.get("organ"))
        entry = ATLAS.get(organ)
        if entry is None or not context.has_input(organ):
            raise InputRefusedError("NO_MASK", f"no input holds the mask of {organ!r}")
        folder = context.input(organ)
        record = _read(folder / MASK_RECORD, "NO_MASK")
        _check(record, region, source)
        if record.get("found"):
            masks.append(_load(folder, entry, record, source))
        else:
            code, message = str(record.get("code")), str(record.get("message"))
            missing.append({"organ": organ, "code": code, "message": message})
    return masks, missing


def _check(record: dict[str, Any], region: dict[str, Any], source: Source) -> None:
    """Refuse a mask of another organ, series or place than the config says."""
    if record.get("organ") != region["organ"]:
        raise InputRefusedError("NO_MASK", f"the input of {region['organ']!r} is another organ's")
    told = {str((part.get("source") or {}).get("series_instance_uid")) for part in (record, region)}
    if told != {source.series_uid}:
        raise InputRefusedError("SOURCE_DIFFERS", "a mask was made from another series")
    if record.get("box") != region.get("box") or record.get("shape") != list(source.voxels.shape):
        raise InputRefusedError("GEOMETRY_MISMATCH", "a mask lies elsewhere than its region")


def _load(folder: Path, entry: Entry, record: dict[str, Any], source: Source) -> _Mask:
    """Load one mask; its shape and affine must be those of its region."""
    path = folder / "mask.nii.gz"
    try:
        image = nibabel.load(path)
        inside = np.asanyarray(image.dataobj) > 0
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise InputRefusedError("NO_MASK", f"the mask of {entry.name!r} is no NIfTI") from error
    if digest != record.get("sha256"):
        raise InputRefusedError("NO_MASK", f"the mask of {entry.name!r} is not the recorded one")
    place = tuple(slice(int(low), int(high)) for low, high in record["box"])
    expected = np.asarray(source.image.affine) @ [*(part.start for part in place), 1.0]
    moved = float(np.abs(np.asarray(image.affine)[:3, 3] - expected[:3]).max())
    if inside.shape != source.voxels[place].shape or moved > 0.05 or not inside.any():
        raise InputRefusedError("GEOMETRY_MISMATCH", f"the mask of {entry.name!r} does not fit")
    mean = float(source.voxels[place][inside].mean(dtype=np.float64))
    return _Mask(entry, record, place, inside, mean)


def _merged(masks: list[_Mask], source: Source) -> tuple[Labels, dict[str, int]]:
    """Paint the masks; a voxel of several goes to the organ whose mean density is nearest."""
    labels = np.zeros(source.voxels.shape, dtype=np.uint8)
    means = np.zeros(256, dtype=np.float64)
    overlaps: dict[str, int] = {}
    for mask in masks:
        number = mask.entry.number
        means[number] = mask.mean_hu
        view, hu = labels[mask.place], source.voxels[mask.place]
        taken = mask.inside & (view > 0)
        overlaps[mask.entry.name] = int(np.count_nonzero(taken))
        held, density = view[taken], hu[taken]
        nearer = np.abs(density - mask.mean_hu) < np.abs(density - means[held])
        view[mask.inside & ~taken] = number
        view[taken] = np.where(nearer, number, held)
    return labels, overlaps


def _record(
    source: Source,
    masks: list[_Mask],
    missing: list[dict[str, str]],
    labels: Labels,
    overlaps: dict[str, int],
) -> dict[str, Any]:
    voxel_ml = frame_of(source.affine_lps).voxel_ml
    segments = [
        _segment(mask, source, labels, voxel_ml, overlaps[mask.entry.name]) for mask in masks
    ]
    return {
        "version": 1,
        "algorithm": ALGORITHM,
        "source": {
            "study_instance_uid": source.study_uid,
            "series_instance_uid": source.series_uid,
            "frame_of_reference_uid": source.frame_of_reference_uid,
            "volume": source.file,
        },
        "title": "Abdominal organs",
        "labels": {"file": LABELS_FILE},
        "body_part": "ABDOMEN",
        "segments": segments,
        "missing": missing,
        "warnings": _warnings(masks, missing, overlaps),
    }


def _segment(
    mask: _Mask, source: Source, labels: Labels, voxel_ml: float, overlap: int
) -> dict[str, Any]:
    """Tell all of one organ: codes, measures and where it came from."""
    entry, record = mask.entry, mask.record
    inside = labels[mask.place] == entry.number
    voxels = int(np.count_nonzero(inside))
    corner = np.array([part.start for part in mask.place])
    centre = np.argwhere(inside).mean(axis=0) + corner if voxels else corner
    hu = source.voxels[mask.place][inside]
    return {
        "number": entry.number,
        "label": entry.label,
        "organ": entry.name,
        "color": list(entry.color),
        "category": asdict(ORGAN),
        "type": asdict(entry.type),
        "laterality": None if entry.laterality is None else asdict(entry.laterality),
        "voxels": voxels,
        "volume_ml": round(voxels * voxel_ml, 2),
        "mean_hu": round(float(hu.mean(dtype=np.float64)), 1) if voxels else None,
        "centroid_lps": [round(float(v), 2) for v in (source.affine_lps @ [*centre, 1.0])[:3]],
        "provenance": {
            "stage": record.get("stage"),
            "algorithm": record.get("algorithm"),
            "parameters": record.get("parameters"),
            "box": record.get("box"),
            "sha256": record.get("sha256"),
            "overlap_voxels": overlap,
        },
    }


def _warnings(
    masks: list[_Mask], missing: list[dict[str, str]], overlaps: dict[str, int]
) -> list[dict[str, str]]:
    """Say what a reader of the result must know."""
    warnings = [
        {"code": "ORGAN_NOT_FOUND", "message": f"{gone['organ']}: {gone['message']}"}
        for gone in missing
    ]
    for mask in masks:
        name = mask.entry.name
        if mask.record.get("at_edge"):
            warnings.append(
                {"code": "ORGAN_AT_EDGE", "message": f"{name} reaches the edge of its region"}
            )
        if overlaps[name]:
            warnings.append(
                {"code": "OVERLAP", "message": f"{overlaps[name]} voxels of {name} were contested"}
            )
    return warnings
