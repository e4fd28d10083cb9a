"""The command of the dicom-writer operator; see the package for its contract."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset

from gateway.operators.dicom_writer.capture import make_captures
from gateway.operators.dicom_writer.labelled import make_labelled, title_of
from gateway.operators.dicom_writer.origin import origin_of
from gateway.operators.dicom_writer.report import make_report
from gateway.operators.dicom_writer.segmentation import make_segmentation
from gateway.operators.dicom_writer.source import load_case, load_labelled
from gateway.operators.sdk import Context, run


def main(context: Context) -> None:
    """Write what the inputs call for: the results of lung-density, or a label map's SEG.

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
    results = _labelled(context) if context.has_input("labels") else _lungs(context)
    for result in results:
        path = write_instance(result, context.output())
        context.log.info(
            "instance.written", sop=str(result.SOPInstanceUID), bytes=path.stat().st_size
        )


def _lungs(context: Context) -> list[Dataset]:
    """Make the four results of lung-density."""
    case = load_case(context.input("dcm"), context.input("lungs"), context.input("volume"))
    origin = origin_of(case.measurements, context.job_id, _attempt(context))
    segmentation = make_segmentation(case, origin)
    return [segmentation, make_report(case, origin, segmentation), *make_captures(case, origin)]


def _labelled(context: Context) -> list[Dataset]:
    """Make the segmentation of a label map that says itself what its labels are."""
    case = load_labelled(context.input("dcm"), context.input("labels"), context.input("volume"))
    model = title_of(case)
    origin = origin_of(case.measurements, context.job_id, _attempt(context), model)
    return [make_labelled(case, origin)]


def _attempt(context: Context) -> str:
    return context.environ.get("GATEWAY_JOB_ATTEMPT", "1")


def write_instance(result: Dataset, folder: Path) -> Path:
    """Write a result as `<series>/<sop>.dcm` below `folder` and return where."""
    path = folder / str(result.SeriesInstanceUID) / f"{result.SOPInstanceUID}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    result.save_as(path, enforce_file_format=True)
    return path


if __name__ == "__main__":
    raise SystemExit(run("dicom-writer", main, description="Write SEG, SR and SC of a result."))
