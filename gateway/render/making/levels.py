"""A volume in several resolutions, the coarsest first, as NIfTI files with exact geometry."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import nibabel
import numpy as np

from gateway.render.making.grid import Grid
from gateway.render.making.order import MANIFEST, Role

FIRST_VOXELS: Final = 2_500_000
"""Most voxels of what is shown first: some MB, there and drawn at once."""
_FACTORS: Final = (8, 4, 2, 1)
_LABEL: Final = 1002
"""NIFTI_INTENT_LABEL: each value stands for itself."""


def write_levels(grid: Grid, role: Role, folder: Path) -> Iterator[str]:
    """Write each level into ``folder``, then yield its name; the manifest comes with the first.

    Images are plain, so that a part of one can be asked for by its bytes; label maps, which are
    nearly all nothing, are compressed.
    """
    factors = _factors(grid)
    ending = ".nii.gz" if role == "label" else ".nii"
    for number, factor in enumerate(factors):
        level = grid.thinned(factor)
        if role == "label":
            level = level.framed()
        name = f"level-{factor}{ending}"
        _write(level, folder / name, _LABEL if role == "label" else 0)
        if number == 0:
            _manifest(grid, level, factors, ending, folder)
        yield name


def _factors(grid: Grid) -> list[int]:
    fitting = [f for f in _FACTORS if grid.thinned(f).voxels.size <= FIRST_VOXELS]
    first = min(fitting, default=_FACTORS[0])
    return [factor for factor in _FACTORS if factor <= first]


def _write(grid: Grid, path: Path, intent: int) -> None:
    shape = tuple(reversed(grid.voxels.shape))
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(grid.voxels.dtype.newbyteorder("<"))
    header.set_data_shape(shape)
    header.set_xyzt_units("mm", "sec")
    header.set_qform(grid.affine, code=1)
    header.set_sform(grid.affine, code=1)
    header.set_slope_inter(1.0, 0.0)
    header["intent_code"] = intent
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    part = path.with_name(f".{path.name}")
    voxels = np.ascontiguousarray(grid.voxels, dtype=grid.voxels.dtype.newbyteorder("<"))
    with part.open("wb") as file:
        head = bytes(header.binaryblock) + b"\0" * 4
        if path.suffix == ".gz":
            # No name and no time inside: equal volumes are equal files.
            with gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
                packed.write(head)
                packed.write(voxels.data.cast("B"))
        else:
            file.write(head)
            file.flush()
            voxels.tofile(file)
    part.replace(path)


def _manifest(grid: Grid, first: Grid, factors: list[int], ending: str, folder: Path) -> None:
    low, high = (float(value) for value in (first.voxels.min(), first.voxels.max()))
    window = [float(value) for value in np.percentile(first.voxels[::2, ::2, ::2], (1.0, 99.5))]
    found: dict[str, Any] = {
        "modality": grid.modality,
        "shape": list(reversed(grid.voxels.shape)),
        "spacing": grid.spacing,
        "dtype": grid.voxels.dtype.name,
        "affine": grid.affine.tolist(),
        "range": [low, high],
        "window": window,
        "segments": [asdict(segment) for segment in grid.segments],
        "levels": [
            {"factor": factor, "file": f"level-{factor}{ending}", "bytes": _bytes(grid, factor)}
            for factor in factors
        ],
    }
    part = folder / f".{MANIFEST}"
    part.write_text(json.dumps(found))
    part.replace(folder / MANIFEST)


def _bytes(grid: Grid, factor: int) -> int:
    """Size of a level's voxels before compression."""
    return int(grid.thinned(factor).voxels.nbytes) if factor > 1 else int(grid.voxels.nbytes)
