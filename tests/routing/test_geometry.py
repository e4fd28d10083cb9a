"""Spacing and orientation of series."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.routing.geometry import orientation, spacing

AXIAL = [1, 0, 0, 0, 1, 0]
CORONAL = [1, 0, 0, 0, 0, -1]
SAGITTAL = [0, 1, 0, 0, 0, -1]


def tilted(degrees: float) -> list[float]:
    """An axial plane turned about the x axis, as a gantry does."""
    angle = math.radians(degrees)
    return [1, 0, 0, 0, math.cos(angle), math.sin(angle)]


def slices(positions: list[float], cosines: list[float], **more: Any) -> list[dict[str, Any]]:
    return [
        {"position": [0, 0, z], "orientation": cosines, "spacing": [0.7, 0.8]} | more
        for z in positions
    ]


@pytest.mark.parametrize(
    ("cosines", "name"),
    [
        (AXIAL, "axial"), (CORONAL, "coronal"), (SAGITTAL, "sagittal"),
        (tilted(20), "axial"), (tilted(-30), "axial"), (tilted(45), "oblique"),
        (tilted(89), "coronal"),
    ],
)  # fmt: skip
def test_planes(cosines: list[float], name: str) -> None:
    assert orientation(slices([0, 1], cosines)) == name


def test_a_localizer_of_three_planes_is_oblique() -> None:
    assert orientation(slices([0], AXIAL) + slices([0], CORONAL)) == "oblique"


@pytest.mark.parametrize("bad", [None, {}, {"orientation": None}, {"orientation": [0] * 6},
                                 {"orientation": [1, 0, 0]}])  # fmt: skip
def test_no_orientation_is_null(bad: Any) -> None:
    assert orientation([bad]) is None
    assert orientation([]) is None


def test_spacing_is_the_median_step_of_distinct_positions() -> None:
    # Unsorted, one position twice (two time points) and one slice missing.
    found = spacing(slices([10.0, 0.0, 2.5, 2.5, 5.0, 7.5, 15.0], AXIAL))
    assert found == [0.7, 0.8, 2.5]


def test_spacing_is_measured_along_the_normal() -> None:
    # Positions march along the table: 2.5 mm there are 2.5 * cos(20°) between the planes.
    found = spacing(slices([0, 2.5, 5.0], tilted(20)))
    assert found is not None
    assert found[2] == pytest.approx(2.5 * math.cos(math.radians(20)))


def test_a_single_position_falls_back_to_the_attributes() -> None:
    one = slices([0], AXIAL, thickness=5.0)
    assert spacing(one) == [0.7, 0.8, 5.0]
    assert spacing([one[0] | {"spacing_between_slices": -4.0}]) == [0.7, 0.8, 4.0]
    assert spacing(slices([0], AXIAL)) == [0.7, 0.8, None]


def test_without_pixel_spacing_there_is_none() -> None:
    assert spacing([{"position": [0, 0, 0], "orientation": AXIAL}, None]) is None
    assert spacing([]) is None


def test_slices_of_another_plane_do_not_disturb() -> None:
    mixed = slices([0, 2, 4], AXIAL) + slices([1.1], CORONAL)
    assert spacing(mixed) == [0.7, 0.8, 2.0]
