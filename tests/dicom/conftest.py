"""What the tests of the DICOM edge share."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dicompeer import Parrot, Station


@pytest.fixture
def stations(tmp_path: Path) -> Iterator[Callable[..., Station]]:
    """Makes running SCPs that end with the test."""
    made: list[Station] = []

    def make(**settings: Any) -> Station:
        station = Station(tmp_path / f"station{len(made)}", **settings)
        made.append(station)
        return station

    yield make
    for station in made:
        station.close()


@pytest.fixture
def station(stations: Callable[..., Station]) -> Station:
    """An SCP with the usual configuration and short time limits."""
    return stations()


@pytest.fixture
def parrot(station: Station) -> Iterator[Parrot]:
    """A connected byte-level peer of ``station``."""
    made = Parrot(station.port)
    yield made
    made.close()


@pytest.fixture(scope="session")
def unpacked(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Path]]:
    """Unpacks an archive of the real DICOM, ``set/archive``; returns its files."""
    folder = tmp_path_factory.mktemp("dicom")

    def unpack(name: str) -> list[Path]:
        target = folder / name.replace("/", "-")
        if not target.is_dir():
            with tarfile.open(data / f"{name}.tar.gz") as archive:
                archive.extractall(target, filter="data")
        return sorted(p for p in target.rglob("*") if p.is_file())

    return unpack
