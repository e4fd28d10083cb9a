"""Time the dicom-reader against dcm2niix: one CT of 275 slices of 512 x 512, uncompressed NIfTI.

Both convert the same folder in the same run, in alternating rounds; medians count. dcm2niix starts
as a process each round, as it always does; ours is a warm process. Prints both times, their ratio
(to be at most 1.2) and our peak memory; exit 1 above it.

Usage: python benchmarks/bench_volume.py [--rounds N] [--slices N]
"""

from __future__ import annotations

import argparse
import io
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateway.operators.dicom_reader.convert import Wishes
from gateway.operators.dicom_reader.reader import read_folder
from gateway.operators.sdk import Log

LIMIT = 1.2
_ROOT = "1.2.826.0.1.3680043.8.498.9"


def write_series(folder: Path, slices: int) -> None:
    """Write a CT of `slices` noisy slices, files in no order of position."""
    generator = np.random.default_rng(275)
    for index in generator.permutation(slices):
        pixels = generator.integers(0, 4096, (512, 512), dtype=np.uint16)
        _slice(int(index), pixels).save_as(
            folder / f"{generator.integers(1 << 40):010x}.dcm", enforce_file_format=True
        )


def _slice(index: int, pixels: np.ndarray) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"{_ROOT}.3.{index + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{_ROOT}.1", f"{_ROOT}.2"
    dataset.FrameOfReferenceUID = f"{_ROOT}.4"
    dataset.Modality, dataset.Manufacturer = "CT", "Benchmark"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientID, dataset.PatientName = "BENCH", "Bench^Mark"
    dataset.StudyDate, dataset.StudyTime = "20240101", "120000"
    dataset.SeriesNumber, dataset.InstanceNumber = 2, index + 1
    dataset.ImagePositionPatient = [-180, -180, index - 100]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.7, 0.7], 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    return dataset


def time_ours(source: Path, target: Path) -> float:
    """Convert in this process and return the seconds it took."""
    wishes = Wishes(("nifti",), level=0, least=6, most_bytes=4 << 30)
    log = Log("bench", io.StringIO())
    start = time.perf_counter()
    read_folder(source, target, wishes, log)
    return time.perf_counter() - start


def time_theirs(source: Path, target: Path) -> float:
    """Convert with dcm2niix and return the seconds it took."""
    target.mkdir()
    command = ["dcm2niix", "-z", "n", "-b", "n", "-f", "out", "-o", str(target), str(source)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def check_same(ours: Path, theirs: Path) -> None:
    """Make sure that both did the same work."""
    mine, other = (
        nibabel.as_closest_canonical(nibabel.load(next(folder.glob("*.nii"))))
        for folder in (ours, theirs)
    )
    assert np.array_equal(np.asanyarray(mine.dataobj), np.asanyarray(other.dataobj))
    assert np.allclose(mine.affine, other.affine, atol=1e-3)


def main() -> int:
    """Run the rounds and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slices", type=int, default=275)
    options = parser.parse_args()
    if shutil.which("dcm2niix") is None:
        print("bench-volume: dcm2niix is not installed", file=sys.stderr)
        return 2
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="bench-volume-") as name:
        root = Path(name)
        (root / "dicom").mkdir()
        write_series(root / "dicom", options.slices)
        for turn in range(options.rounds + 1):
            mine, other = root / f"ours-{turn}", root / f"theirs-{turn}"
            seconds = time_ours(root / "dicom", mine), time_theirs(root / "dicom", other)
            if turn == 0:
                continue  # warms the process and the page cache; its files are compared below
            ours.append(seconds[0])
            theirs.append(seconds[1])
            shutil.rmtree(mine)
            shutil.rmtree(other)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        check_same(root / "ours-0", root / "theirs-0")
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"dicom-reader {statistics.median(ours) * 1000:7.1f} ms  {_list(ours)}")
    print(f"dcm2niix     {statistics.median(theirs) * 1000:7.1f} ms  {_list(theirs)}")
    print(f"ratio        {ratio:7.2f} (at most {LIMIT}); peak memory {peak:.0f} MB")
    return 0 if ratio <= LIMIT else 1


def _list(seconds: list[float]) -> str:
    return " ".join(f"{value * 1000:.0f}" for value in seconds)


if __name__ == "__main__":
    sys.exit(main())
