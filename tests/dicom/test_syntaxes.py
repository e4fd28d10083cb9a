"""Every transfer syntax and SOP class arrives byte for byte as it was sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import UID, AllTransferSyntaxes

from gateway.dicom.files import read_instance
from gateway.dicom.scu import StoreScu
from tests.support.dicompeer import Station
from tests.support.instances import write


def data_set(path: Path) -> bytes:
    return path.read_bytes()[read_instance(path).offset :]


def arrives_as_it_is(station: Station, paths: list[Path]) -> None:
    results = list(StoreScu(station.peer()).send(paths))
    assert [r.outcome.value for r in results] == ["success"] * len(paths)
    for path, stored in zip(paths, station.spool.stored, strict=True):
        instance = read_instance(path)
        assert stored.arrival.transfer_syntax_uid == instance.transfer_syntax_uid, path
        assert stored.arrival.sop_class_uid == instance.sop_class_uid
        assert stored.arrival.sop_instance_uid == instance.sop_instance_uid
        assert stored.data == data_set(path), path


@pytest.mark.data
@pytest.mark.parametrize(
    "archive",
    [
        "transfer-syntaxes/ct-one-slice-15-syntaxes",  # incl. deflated, big endian, RLE, JPEG…
        "transfer-syntaxes/nema-raw-vs-htj2k",
        "enhanced-multiframe/enhanced",
        "charsets/charsets-a",
    ],
)
def test_real_objects(
    station: Station, unpacked: Callable[[str], list[Path]], archive: str
) -> None:
    arrives_as_it_is(station, unpacked(archive))


def test_every_encapsulated_syntax_there_is(station: Station, tmp_path: Path) -> None:
    syntaxes = [s for s in AllTransferSyntaxes if UID(s).is_encapsulated]
    assert any("MPEG-4" in s.name for s in syntaxes)
    assert any("HTJ2K" in s.name or "High-Throughput" in s.name for s in syntaxes)
    syntaxes.append(UID("1.2.826.0.1.3680043.8.498.77"))  # a private one
    paths = [
        write(tmp_path / f"{i}", i, syntax=syntax, size=70_000 + i)
        for i, syntax in enumerate(syntaxes)
    ]
    arrives_as_it_is(station, paths)


@pytest.mark.parametrize(
    "sop_class",
    ["1.2.840.113619.4.26", "1.2.840.10008.5.1.4.1.1.9999", "1.2.840.10008.5.1.4.1.1.3"],
)
def test_private_unknown_and_retired_classes(
    station: Station, tmp_path: Path, sop_class: str
) -> None:
    arrives_as_it_is(station, [write(tmp_path / "a", sop_class=sop_class)])


@pytest.mark.parametrize("size", [0, 1, 2, 130_000, 131_066, 131_072, 1_100_001, 5_000_000])
def test_sizes_around_the_limits(station: Station, tmp_path: Path, size: int) -> None:
    arrives_as_it_is(station, [write(tmp_path / "a", size=size)])
