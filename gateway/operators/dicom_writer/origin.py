"""Who made the results, and under which UIDs and numbers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

import highdicom
from pydicom.sr.codedict import codes
from pydicom.uid import UID

MANUFACTURER: Final = "Gateway"
MODEL: Final = "Lung Density"
NAMESPACE: Final = uuid.UUID("6f1c7a39-4c5f-5f0e-9d0c-0d1f5a3b7c11")
SEG_SERIES: Final = 9001
SR_SERIES: Final = 9002
SC_SERIES: Final = 9003
RIGHT_RGB: Final = (255, 150, 40)
LEFT_RGB: Final = (70, 160, 255)


@dataclass(frozen=True)
class Origin:
    """The algorithm and the seed of all UIDs of one run."""

    algorithm: str
    version: str
    seed: str
    model: str = MODEL

    def uid(self, what: str) -> UID:
        """Derive a UID (PS3.5 B.2) for one thing of this run; equal for equal runs."""
        return UID(f"2.25.{uuid.uuid5(NAMESPACE, f'{self.seed}/{what}').int}")

    def equipment(self) -> dict[str, str]:
        """Give the General Equipment attributes (PS3.3 C.7.5.1) in highdicom's words."""
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": self.model,
            "software_versions": self.version,
            "device_serial_number": "1",
        }

    def identification(self) -> highdicom.AlgorithmIdentificationSequence:
        """Give the Algorithm Identification (PS3.3 10.16)."""
        return highdicom.AlgorithmIdentificationSequence(
            name=self.algorithm,
            version=self.version,
            family=codes.DCM.MorphologicalOperations,
            source=MANUFACTURER,
        )


def origin_of(
    measurements: dict[str, Any], job_id: str, attempt: str = "1", model: str = MODEL
) -> Origin:
    """Tell the origin from the measurements' algorithm and the job (empty = none).

    Each attempt of a job has UIDs of its own: a rerun may give other bytes, and a PACS that has
    the first ones would take the new ones for the same object.
    """
    algorithm = measurements.get("algorithm") or {}
    name, version = str(algorithm.get("name") or MODEL), str(algorithm.get("version") or "0")
    series = str(measurements["source"]["series_instance_uid"])
    seed = f"{job_id}/{attempt}" if job_id else f"{series}/{name}/{version}"
    return Origin(name, version, seed, model)
