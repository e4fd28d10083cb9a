"""The transform that loads the input."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.operators.base_inference.spatial import Orientation
from gateway.operators.base_inference.volume import Fields


class LoadVolume:
    """Load the input volume (NIfTI, MetaImage or dicom-reader's) as the named field.

    The operator has chosen and read the file already, for the input is one volume; with
    `as_closest_canonical` its axes are turned to RAS.
    """

    def __init__(self, fields: Sequence[str], as_closest_canonical: bool) -> None:
        self.fields, self.canonical = tuple(fields), as_closest_canonical

    def __call__(self, fields: Fields) -> None:
        """Put the input's volume under the names."""
        source = fields["input"]
        for name in self.fields:
            fields[name] = source
        if self.canonical:
            Orientation(self.fields, "RAS")(fields)
