"""The command line as a process, against the served application of the web tests."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateway.cli.main import main
from tests.support import seed
from tests.web.conftest import site, template

__all__ = ["site", "template"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Gateway = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def process(home: Path) -> Gateway:
    """Run the command as a process in an empty home folder; keywords are its environment."""

    def run(*arguments: object, **variables: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", *map(str, arguments)],
            env=_environment() | {"HOME": str(home)} | variables,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def gateway(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Gateway]:
    """The same within this process: the same entry point, exit codes and streams, but quicker."""

    def run(*arguments: object, **variables: str) -> Done:
        with monkeypatch.context() as patch:
            patch.chdir(home)
            patch.setattr(os, "environ", _environment() | {"HOME": str(home)} | variables)
            patch.setattr(sys, "argv", ["gateway", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
        written = capsys.readouterr()
        return Done(int(ended.value.code or 0), written.out, written.err)

    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield run
    root.handlers[:] = before
    root.setLevel(level)


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("GATEWAY_", "XDG_"))}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with three CT slices and one file that is no DICOM."""
    folder = tmp_path / "study"
    folder.mkdir()
    for number in range(1, 4):
        slice_ = pydicom.Dataset()
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.file_meta.MediaStorageSOPClassUID = slice_.SOPClassUID = CTImageStorage
        uid = f"{seed.SERIES}.{number}"
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID = uid
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = seed.STUDY, seed.SERIES
        slice_.Modality, slice_.PatientID, slice_.PatientName = "CT", "1", "A^B"
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.ImagePositionPatient = [0, 0, 2.5 * number]
        slice_.PixelSpacing = [1, 1]
        slice_.Rows = slice_.Columns = 4
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation, slice_.SamplesPerPixel = 15, 1, 1
        slice_.PhotometricInterpretation = "MONOCHROME2"
        slice_.PixelData = bytes(32)
        slice_.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    (folder / "README").write_text("no DICOM")
    return folder
