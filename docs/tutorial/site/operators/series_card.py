"""series-card: one Secondary Capture per series that says how many slices it has."""

from __future__ import annotations

import uuid
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from gateway.operators.sdk import Context, patient_of_dataset, refuse_mixed_patients, run


def main(context: Context) -> None:
    """Read the headers of the input, write one card into the output."""
    paths = sorted(context.input().rglob("*.dcm"))
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    # Ends with MIXED_PATIENTS or NO_INSTANCES where the input is not one patient's.
    refuse_mixed_patients(patient_of_dataset(header) for header in headers)
    # Each attempt of a job has UIDs of its own: it may write other bytes than the one before.
    seed = f"{context.job_id}/{context.environ.get('GATEWAY_JOB_ATTEMPT', '1')}"
    card = make_card(headers[0], f"{len(headers)} slices", seed)
    target: Path = context.output() / f"{card.SOPInstanceUID}.dcm"
    card.save_as(target, enforce_file_format=True)
    context.log.info("card.written", slices=len(headers), sop=str(card.SOPInstanceUID))


def make_card(source: Dataset, text: str, seed: str) -> Dataset:
    """The card as a Secondary Capture in the study of ``source``."""
    picture = Image.new("L", (256, 64))
    ImageDraw.Draw(picture).text((16, 24), text, fill=255)
    card: Dataset = highdicom.sc.SCImage.from_ref_dataset(
        source,
        pixel_array=np.asarray(picture),
        photometric_interpretation="MONOCHROME2",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        series_instance_uid=uid(seed, "series"),
        series_number=9101,
        sop_instance_uid=uid(seed, "card"),
        instance_number=1,
        manufacturer="Tutorial",
        series_description="Series card",
    )
    # Type 2C (PS3.3 C.7.3.1): empty says that it does not apply.
    card.Laterality = ""
    return card


def uid(seed: str, what: str) -> str:
    """A UID that the same job and attempt always give."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{seed} {what}').int}"


if __name__ == "__main__":
    raise SystemExit(run("series-card", main))
