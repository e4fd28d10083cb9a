"""A DICOM series as a volume, by the reader that operators use: the same geometry, exactly."""

from __future__ import annotations

from pathlib import Path

from gateway.operators.dicom_reader import tags
from gateway.operators.dicom_reader.header import read_header
from gateway.operators.dicom_reader.pixels import read_volume
from gateway.operators.dicom_reader.series import lay_out
from gateway.operators.sdk import refuse_mixed_patients
from gateway.render.making.grid import RAS_OF_LPS, Grid

_LEAST = 2
"""Fewest images that have three dimensions."""


def read_series(folder: Path, most_bytes: int) -> Grid:
    """The first volume of the series in ``folder``, in the unit of the Modality LUT.

    Raises InputRefusedError when it is none, and for files of several patients.
    """
    headers = [read_header(path) for path in sorted(folder.iterdir())]
    refuse_mixed_patients(header.patient() for header in headers)
    layout = lay_out(headers, _LEAST)
    values = read_volume(layout, most_bytes)
    affine = RAS_OF_LPS @ layout.stack.affine
    return Grid(values[0], affine, headers[0].text(tags.MODALITY))
