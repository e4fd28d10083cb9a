"""Jobs that ended, with a phantom as input and what an operator could have left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import sqlalchemy as sa
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes

from gateway.database.schema import jobs
from gateway.demo.phantom import Options, Series, write_series
from gateway.render.cache import Cache
from gateway.render.datasets import Dataset, Datasets
from gateway.render.sources import Source
from tests.support.job_payload import JobPayload

COLUMNS, ROWS, SLICES = 32, 32, 12
RED, GREEN = (220, 30, 30), (30, 200, 60)
WAIT = 60.0


@dataclass
class World:
    """Data sets and their volumes over one data-dir."""

    house: JobPayload
    datasets: Datasets
    cache: Cache

    def job(self, *, series: Series | None = None) -> str:
        """A job that ended; its input is the series, if there is one."""
        job_id = self.house.job()
        with self.house.database.begin() as connection:
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(state="STOPPED"))
        if series is not None:
            folder = self.house.folder(job_id) / "input" / "dcm" / "p" / "st" / "se"
            folder.mkdir(parents=True)
            for number, path in enumerate(series.files):
                shutil.copyfile(path, folder / f"{number}.dcm")
        return job_id

    def output(self, job_id: str) -> Path:
        """Where the writer of :mod:`tests.support.job_payload` writes."""
        folder = self.house.folder(job_id) / "operators" / "writer" / "seg"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def of_job(self, job_id: str) -> Dataset:
        """The job's data set."""
        return self.datasets.get(f"j{job_id}")

    def load(self, found: Dataset, volume: Source, level: int = -1) -> tuple[Any, dict[str, Any]]:
        """One level as nibabel reads it, and the manifest."""
        manifest = self.cache.manifest(found, volume, WAIT)
        path = self.cache.level(found, volume, manifest["levels"][level]["file"], WAIT)
        return nibabel.load(path), manifest


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    house = JobPayload(tmp_path / "data")
    yield World(house, Datasets(house.database, house.data_dir), Cache(house.data_dir))
    house.close()


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """A small phantom."""
    options = Options(slices=SLICES, matrix=COLUMNS)
    return write_series(tmp_path_factory.mktemp("series"), options)


def segmentation(series: Series, path: Path, *, skip: int = 3) -> None:
    """Two boxes, on the patient's right and left; the first ``skip`` slices hold nothing."""
    images = [pydicom.dcmread(file) for file in series.files]
    masks = np.zeros((len(images), ROWS, COLUMNS), np.uint8)
    masks[skip:, 10:20, 4:12] = 1
    masks[skip:, 10:20, 20:28] = 2
    found = highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=masks,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(1, "One", RED), _segment(2, "Two", GREEN)],
        series_instance_uid=highdicom.UID(),
        series_number=7,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=True,
    )
    found.save_as(path)


def _segment(number: int, label: str, rgb: tuple[int, int, int]) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.Lung,
        algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        display_color=highdicom.color.CIELabColor.from_rgb(*rgb),
    )


def manifest_of(folder: Path) -> dict[str, Any]:
    """What lies in a folder of the cache."""
    found: dict[str, Any] = json.loads((folder / "volume.json").read_text())
    return found
