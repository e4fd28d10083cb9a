"""What is asked of the process that makes a volume, and what it says while it works."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Format = Literal["dicom", "seg", "nifti", "mhd"]
Role = Literal["image", "label"]

MANIFEST = "volume.json"
"""What was made; there when the coarsest level is."""
READY = "ready"
"""Said when the manifest and the coarsest level are there."""
REFUSED = "refused"
"""Said, with a code and a sentence, when the files are no volume."""


@dataclass(frozen=True)
class Order:
    """One volume to be made."""

    source: Path
    """A folder that holds its files, and nothing else."""
    format: Format
    role: Role
    most_bytes: int
    """Largest volume, in bytes of its voxels."""

    def written(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self) | {"source": str(self.source)})

    @classmethod
    def read(cls, text: str) -> Order:
        """The order in a JSON text that :meth:`written` made."""
        found = json.loads(text)
        return cls(**(found | {"source": Path(found["source"])}))
