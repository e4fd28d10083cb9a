"""Writes the abdominal phantom as a proper CT series and says where its organs are.

    python -m gateway.demo.abdomen OUT --slices 80 --matrix 256 --position HFS

writes one CT Image Storage file per slice into OUT, as `gateway.demo.phantom` does for the chest,
and prints UIDs and the volume of each organ in ml as JSON. `--labels FILE` writes the true label
map as NIfTI: 1 liver, 2 spleen, 3 right kidney, 4 left kidney. Another `--seed` is another patient.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.demo.abdomen_anatomy import ORGANS
from gateway.demo.abdomen_voxels import sample_abdomen
from gateway.demo.phantom import (
    POSITIONS,
    THORAX_CENTRE,
    Identity,
    Options,
    make_grid,
    write_images,
)
from gateway.demo.phantom_anatomy import Labels, Vector
from gateway.demo.phantom_voxels import Tissue, Voxels

EXTENT_MM: Final = 236.0
SCAN_MIDDLE_Z: Final = 27.0
"""Where `make_grid` centres a scan; the abdomen's own origin is the middle of its scan."""


@dataclass(frozen=True)
class Abdomen:
    """All that shapes an abdominal series; the options of the chest that mean something here."""

    slices: int = 80
    matrix: int = 256
    field_of_view: float = 380.0
    position: str = "HFS"
    reverse_instance_numbers: bool = False
    noise_hu: float = 14.0
    seed: int = 1
    missing: tuple[str, ...] = ()
    identity: Identity = field(
        default_factory=lambda: Identity(
            patient_id="PHANTOM-2", patient_name="Phantom^Abdomen", accession_number="ACC-PHANTOM-2"
        )
    )

    def options(self) -> Options:
        """Give the options of the series; refuses what gives none with ValueError."""
        unknown = set(self.missing) - set(ORGANS)
        if unknown:
            raise ValueError(f"no organs {sorted(unknown)}: there are {', '.join(ORGANS)}")
        what = f" without {', '.join(sorted(self.missing))}" if self.missing else ""
        return Options(
            slices=self.slices,
            matrix=self.matrix,
            field_of_view=self.field_of_view,
            spacing=round(EXTENT_MM / self.slices, 3),
            position=self.position,
            reverse_instance_numbers=self.reverse_instance_numbers,
            tissue=Tissue(noise_hu=self.noise_hu, seed=self.seed),
            identity=self.identity,
            series_description=f"Abdomen phantom portal venous{what}",
            study_description="CT abdomen phantom",
            body_part="ABDOMEN",
        )


@dataclass(frozen=True)
class AbdomenSeries:
    """A written series: its files and identifiers, the true labels and where they lie.

    `labels` is (slice in table order, row, column); `affine_lps` turns (column, row, slice) into
    millimetres of the patient.
    """

    files: tuple[Path, ...]
    study_uid: str
    series_uid: str
    labels: Labels
    affine_lps: Vector
    volumes_ml: dict[str, float]

    def record(self) -> dict[str, Any]:
        """Give the JSON that the command prints."""
        return {
            "study_uid": self.study_uid,
            "series_uid": self.series_uid,
            "instances": len(self.files),
            "volumes_ml": self.volumes_ml,
        }


def build_abdomen(abdomen: Abdomen) -> Voxels:
    """Sample the phantom without writing it (slices in table order)."""
    options = abdomen.options()
    grid = make_grid(options)
    grid.origin[2] -= SCAN_MIDDLE_Z
    return sample_abdomen(grid, options.tissue, frozenset(abdomen.missing))


def write_abdomen(folder: Path, abdomen: Abdomen | None = None) -> AbdomenSeries:
    """Write the series into `folder` (made if missing) and give its truth."""
    chosen = abdomen or Abdomen()
    voxels = build_abdomen(chosen)
    files, study_uid, series_uid = write_images(folder, chosen.options(), voxels)
    grid = voxels.grid
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = grid.column_step, grid.row_step
    affine[:3, 2] = grid.slice_step
    affine[:3, 3] = grid.origin + np.asarray(THORAX_CENTRE)
    volume = grid.voxel_volume_ml()
    volumes = {
        name: round(float(np.count_nonzero(voxels.labels == label)) * volume, 2)
        for name, label in ORGANS.items()
    }
    return AbdomenSeries(files, study_uid, series_uid, voxels.labels, affine, volumes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; prints the record as JSON and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.demo.abdomen",
        description="Write an abdominal CT phantom with known organs.",
    )
    parser.add_argument("out", type=Path, help="folder for the files")
    parser.add_argument("--slices", type=int, default=Abdomen.slices)
    parser.add_argument("--matrix", type=int, default=Abdomen.matrix)
    parser.add_argument("--position", choices=sorted(POSITIONS), default=Abdomen.position)
    parser.add_argument("--seed", type=int, default=Abdomen.seed)
    parser.add_argument("--noise", type=float, default=Abdomen.noise_hu, help="HU")
    parser.add_argument("--missing", nargs="*", choices=sorted(ORGANS), default=())
    parser.add_argument("--labels", type=Path, metavar="FILE", help="true labels as .nii.gz")
    given = parser.parse_args(arguments)
    series = write_abdomen(
        given.out,
        Abdomen(
            slices=given.slices,
            matrix=given.matrix,
            position=given.position,
            seed=given.seed,
            noise_hu=given.noise,
            missing=tuple(given.missing),
        ),
    )
    if given.labels is not None:
        _write_labels(given.labels, series)
    sys.stdout.write(json.dumps(series.record(), indent=2) + "\n")
    return 0


def _write_labels(path: Path, series: AbdomenSeries) -> None:
    """Write the true labels as NIfTI, whose axes are RAS."""
    import nibabel

    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ series.affine_lps
    nibabel.save(nibabel.Nifti1Image(series.labels.transpose(2, 1, 0), affine), path)


if __name__ == "__main__":
    sys.exit(main())
