"""What the demonstration shows: what arrived, whether it is right, and the way it took."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.demo.measurements import measurements
from gateway.demo.phantom import Series

VOLUME_PERCENT = 2.0
"""How far a lung volume may be from the phantom's truth."""
LAA_POINTS = 1.0
"""How far LAA-950 may be, in percentage points."""
WANTED = ("SEG", "SR", "OT")
UNITS = {"[hnsf'U]": "HU"}
"""UCUM codes as people write them."""


@dataclass(frozen=True)
class Check:
    """One thing looked at: what, what was found, and whether it is as it should be."""

    what: str
    found: str
    ok: bool
    detail: str = ""


def check(arrived: list[Dataset], series: Series) -> list[Check]:
    """Look at everything the PACS holds."""
    groups: dict[tuple[str, str, str], list[Dataset]] = defaultdict(list)
    for ds in arrived:
        key = (str(ds.SeriesInstanceUID), UID(ds.SOPClassUID).name, str(ds.Modality))
        groups[key].append(ds)
    checks = []
    for (_, sop_class, _), members in sorted(groups.items(), key=lambda item: item[0][1]):
        right = all(ds.StudyInstanceUID == series.study_uid for ds in members)
        description = str(members[0].get("SeriesDescription", ""))
        found = f"{len(members)} instance" + ("s" if len(members) > 1 else "")
        checks.append(Check(sop_class, found, right, description))
    modalities = {modality for _, _, modality in groups}
    checks += [
        Check(f"{name} in the PACS", "nothing", ok=False)
        for name in WANTED
        if name not in modalities
    ]
    for ds in arrived:
        if ds.Modality == "SR":
            checks += _numbers(ds, series)
    return checks


def _numbers(report: Dataset, series: Series) -> list[Check]:
    """Compare the report's volumes and LAA-950 with the phantom's truth."""
    checks = []
    for item in measurements(report):
        side = item.site if item.site in {"Right", "Left"} else "total"
        truth = series.truth[side.lower()]
        name = f"{side.capitalize()}: {item.meaning}"
        found = f"{item.value:.1f} {UNITS.get(item.unit, item.unit)}"
        if item.unit == "ml":
            off = 100 * (item.value / truth.volume_ml - 1)
            good = abs(off) <= VOLUME_PERCENT
            checks.append(
                Check(name, found, good, f"truth {truth.volume_ml:.1f}, off {off:+.2f} %")
            )
        elif item.code == "LAA950":
            off = item.value - truth.laa950_percent
            good = abs(off) <= LAA_POINTS
            checks.append(
                Check(name, found, good, f"truth {truth.laa950_percent:.2f}, off {off:+.2f} points")
            )
        else:
            checks.append(Check(name, found, ok=True))
    return checks


def show_arrivals(console: Console, checks: list[Check]) -> None:
    """Print the table of what arrived."""
    table = Table(title="What the PACS holds")
    for column in ("what", "found", "series or truth", ""):
        table.add_column(column)
    for item in checks:
        verdict = "ok" if item.ok else "[red]wrong[/]"
        table.add_row(escape(item.what), escape(item.found), escape(item.detail), verdict)
    console.print(table)


def show_timeline(console: Console, story: dict[str, Any]) -> None:
    """Print the way of the study, one line a step."""
    table = Table(title="The way of the study")
    for column in ("time", "what", ""):
        table.add_column(column)
    for payload in story["payloads"]:
        for entry in payload["timeline"]:
            table.add_row(entry["time"][11:23], entry["kind"], escape(entry["text"]))
    console.print(table)
