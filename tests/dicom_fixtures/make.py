"""Makes the fixtures again: `python tests/dicom_fixtures/make.py` (equal bytes every time)."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.uid import JPEGLSLossless

from gateway.demo.phantom import Identity, Options, write_series

HERE = Path(__file__).parent


def main() -> None:
    """Write every fixture beside this file."""
    write_series(HERE / "chest-ct", Options(matrix=64, slices=24))
    names = {
        "gb18030": Identity(patient_name="Wang^XiaoDong=王^小东", character_set="GB18030"),
        "iso2022-jp": Identity(
            patient_name="Yamada^Tarou=山田^太郎=やまだ^たろう",
            character_set=("", "ISO 2022 IR 87"),
        ),
    }
    for name, identity in names.items():
        _single(name, Options(matrix=32, slices=1, identity=identity))
    _single("jpeg-ls", Options(matrix=32, slices=1, transfer_syntax=JPEGLSLossless))
    _single("hardly-any-attributes", Options(matrix=32, slices=1))
    bare = HERE / "hardly-any-attributes.dcm"
    dataset = dcmread(bare)
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
        "ReferringPhysicianName",
        "SpecificCharacterSet",
    ):
        delattr(dataset, keyword)
    dataset.save_as(bare)


def _single(name: str, options: Options) -> None:
    """Write one slice as a file of its own."""
    folder = HERE / "single"
    (path,) = write_series(folder, options).files
    path.replace(HERE / f"{name}.dcm")
    folder.rmdir()


if __name__ == "__main__":
    main()
