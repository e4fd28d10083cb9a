"""The command of the chest-xray operator; see the package for its contract."""

from __future__ import annotations

from pathlib import Path

from gateway.operators.base_inference.triton import Model, find_address, open_transport
from gateway.operators.chest_xray.detect import MODEL, find
from gateway.operators.chest_xray.images import Radiograph, Skipped, read_radiographs
from gateway.operators.chest_xray.report import Reported, make_report
from gateway.operators.chest_xray.tables import write_tables
from gateway.operators.sdk import (
    Context,
    InputRefusedError,
    patient_of_dataset,
    refuse_mixed_patients,
    run,
)

TIMEOUT = 60.0


def main(context: Context) -> None:
    """Find, then write tables and report.

    Raises:
        InputRefusedError, OperatorError, UsageError: by the names of the package.
    """
    address = find_address(context.environ)
    context.log.info("triton.address", server=str(address), protocol=address.protocol)
    model = Model.connect(open_transport(address, TIMEOUT), MODEL, log=context.log)
    try:
        images, skipped = _look(context, model)
    finally:
        model.close()
    if not images:
        codes = ", ".join(sorted({one.code for one in skipped})) or "no DICOM at all"
        raise InputRefusedError("NO_RADIOGRAPH", f"no chest radiograph in the input: {codes}")
    refuse_mixed_patients(patient_of_dataset(image.header) for image in images)
    if len({str(image.header.StudyInstanceUID) for image in images}) > 1:
        raise InputRefusedError("MIXED_STUDIES", "the images belong to more than one study")
    results, dicom = _folders(context)
    write_tables(results, images, skipped)
    report = make_report(images, context.job_id, context.environ.get("GATEWAY_JOB_ATTEMPT", "1"))
    path = dicom / str(report.SeriesInstanceUID) / f"{report.SOPInstanceUID}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    report.save_as(path, enforce_file_format=True)
    found = sum(len(image.findings) for image in images)
    context.log.info("chest.done", images=len(images), findings=found, skipped=len(skipped))


def _look(context: Context, model: Model) -> tuple[list[Reported], list[Skipped]]:
    """Look at one image after the other: only one is in memory."""
    images: list[Reported] = []
    skipped: list[Skipped] = []
    for one in read_radiographs(context.input(), context.log):
        if isinstance(one, Radiograph):
            findings = find(model, one)
            images.append(Reported(one.header, one.spacing, findings))
            uid = str(one.header.SOPInstanceUID)
            context.log.info("image.done", sop=uid, findings=len(findings))
        else:
            skipped.append(one)
    return images, skipped


def _folders(context: Context) -> tuple[Path, Path]:
    """Return where tables and where DICOM go: outputs of those names, else the first one."""
    named = {mount.name: mount.path for mount in context.outputs}
    first = context.output()
    return named.get("results", first), named.get("dicom", first / "dicom")


if __name__ == "__main__":
    raise SystemExit(run("chest-xray", main, description="Find round spots in chest radiographs."))
