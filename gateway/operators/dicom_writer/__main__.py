"""The command of the dicom-writer operator; see the package for its contract."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset

from gateway.operators.dicom_writer.capture import make_captures
from gateway.operators.dicom_writer.origin import origin_of
from gateway.operators.dicom_writer.report import make_report
from gateway.operators.dicom_writer.segmentation import make_segmentation
from gateway.operators.dicom_writer.source import load_case
from gateway.operators.sdk import Context, run


def main(context: Context) -> None:
    """Write SEG, SR and SC of the measured series.

    Raises:
        InputRefusedError: what goes in does not belong together, by name.
    """
    with _discreet():
        _write_results(context)


@contextmanager
def _discreet() -> Iterator[None]:
    """Keep libraries' warnings out of the log: they quote the values they find odd."""
    silent = logging.NullHandler()
    logging.getLogger().addHandler(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeHandler(silent)


def _write_results(context: Context) -> None:
    case = load_case(context.input("dcm"), context.input("lungs"), context.input("volume"))
    attempt = context.environ.get("GATEWAY_JOB_ATTEMPT", "1")
    origin = origin_of(case.measurements, context.job_id, attempt)
    segmentation = make_segmentation(case, origin)
    results = [segmentation, make_report(case, origin, segmentation), *make_captures(case, origin)]
    for result in results:
        path = write_instance(result, context.output())
        context.log.info(
            "instance.written", sop=str(result.SOPInstanceUID), bytes=path.stat().st_size
        )


def write_instance(result: Dataset, folder: Path) -> Path:
    """Write a result as `<series>/<sop>.dcm` below `folder` and return where."""
    path = folder / str(result.SeriesInstanceUID) / f"{result.SOPInstanceUID}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    result.save_as(path, enforce_file_format=True)
    return path


if __name__ == "__main__":
    raise SystemExit(run("dicom-writer", main, description="Write SEG, SR and SC of a result."))
