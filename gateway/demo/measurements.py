"""Reading the measurements back out of a TID 1500 report, as a PACS user would see them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Measurement:
    """One number of the report."""

    site: str
    """Right, Left, or empty for both lungs together."""
    code: str
    meaning: str
    value: float
    unit: str


def measurements(report: Dataset) -> list[Measurement]:
    """Every NUM item of every measurement group (PS3.16 TID 1500, TID 1411)."""
    return [
        measurement
        for item in _walk(report)
        if _name(item).CodeValue == "125007"  # Measurement Group
        for measurement in _group(item)
    ]


def _group(group: Dataset) -> Iterator[Measurement]:
    site = next((_laterality(item) for item in _walk(group) if _laterality(item)), "")
    for item in group.get("ContentSequence", ()):
        if item.ValueType != "NUM":
            continue
        value = item.MeasuredValueSequence[0]
        name = _name(item)
        yield Measurement(
            site=site,
            code=str(name.CodeValue),
            meaning=str(name.CodeMeaning),
            value=float(value.NumericValue),
            unit=str(value.MeasurementUnitsCodeSequence[0].CodeValue),
        )


def _laterality(item: Dataset) -> str:
    """Right or Left when the item is a Laterality modifier (SCT 272741003)."""
    if item.get("ValueType") != "CODE" or _name(item).CodeValue != "272741003":
        return ""
    return str(item.ConceptCodeSequence[0].CodeMeaning)


def _walk(ds: Dataset) -> Iterator[Dataset]:
    for item in ds.get("ContentSequence", ()):
        if "ConceptNameCodeSequence" in item:
            yield item
        yield from _walk(item)


def _name(item: Dataset) -> Dataset:
    code: Dataset = item.ConceptNameCodeSequence[0]
    return code
