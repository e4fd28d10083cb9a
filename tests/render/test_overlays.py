"""A label map lies over the images it was drawn on, and over no other one."""

from __future__ import annotations

from pathlib import Path

from gateway.render.datasets import Dataset
from gateway.render.sources import Source


def image(name: str, *, series: str = "", frame: str = "") -> Source:
    return Source("nifti", "image", name, "CT", (f"{name}.nii.gz",), series, frame)


def label(*, series: str = "", frame: str = "") -> Source:
    return Source("nifti", "label", "seg", "SEG", ("seg.nii.gz",), series, frame)


def shown(one: Source, *images: Source) -> list[str]:
    found = Dataset("j", "job", "pipeline", "payload", Path(), (one, *images))
    return [each.name for each in images if found.overlays(one, each)]


def test_the_frame_of_reference_decides() -> None:
    images = image("a", series="1", frame="f"), image("b", series="2", frame="g")
    assert shown(label(series="2", frame="f"), *images) == ["a"]


def test_the_series_decides_where_no_frame_is_known() -> None:
    assert shown(label(series="2"), image("a", series="1"), image("b", series="2")) == ["b"]


def test_a_label_that_says_nothing_lies_over_the_only_image() -> None:
    assert shown(label(), image("a")) == ["a"]
    assert shown(label(), image("a", series="1", frame="f")) == ["a"]


def test_a_label_that_says_nothing_lies_over_none_of_several_images() -> None:
    assert shown(label(), image("a"), image("b")) == []
    assert shown(label(), image("a", frame="f"), image("b", frame="g")) == []


def test_images_lie_over_nothing() -> None:
    found = Dataset("j", "job", "p", "payload", Path(), (image("a"), image("b")))
    assert not found.overlays(*found.volumes)
