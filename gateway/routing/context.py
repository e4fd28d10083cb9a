"""What a rule sees: the variables of its expressions, cut down to the names it uses.

Converting the context is what CEL spends its time on, so nothing goes in that no expression
names; every name that an expression uses is there, null when the data has no value for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.routing.geometry import Geometry, orientation, spacing
from gateway.routing.keywords import PATIENT_AND_STUDY
from gateway.routing.names import Names


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of one series of a payload.

    ``attributes`` are those of its first instance (:func:`gateway.routing.attributes.extract`);
    ``geometries`` of all instances, empty when no rule asks for spacing or orientation.
    """

    uid: str
    attributes: Mapping[str, Any]
    instances: int
    sop_classes: tuple[str, ...] = ()
    geometries: Sequence[Geometry | None] = field(default=(), repr=False)


@dataclass(frozen=True)
class Facts:
    """What is known of one payload at one revision; ``series`` in the order they arrived."""

    called: str
    calling: str
    host: str
    series: tuple[SeriesFacts, ...]


def variables(names: Names, facts: Facts) -> dict[str, Any]:
    """The variables that ``names`` asks for, but for ``s``."""
    found: dict[str, Any] = {
        name: getattr(facts, name)
        for name in ("called", "calling", "host")
        if name in names.variables
    }
    if "study" in names.variables:
        found["study"] = {name: _of_study(name, facts) for name in sorted(names.study)}
    if "series" in names.variables:
        found["series"] = per_series(names, facts)
    return found


def per_series(names: Names, facts: Facts) -> list[dict[str, Any]]:
    """One mapping per series with the attributes that ``names`` asks for."""
    wanted = sorted(names.series)
    return [{name: _of_series(name, series) for name in wanted} for series in facts.series]


def _of_series(name: str, series: SeriesFacts) -> Any:
    if name == "instances":
        return series.instances
    if name == "uid":
        return series.uid
    if name == "sop_classes":
        return list(series.sop_classes)
    if name == "spacing":
        return spacing(series.geometries)
    if name == "orientation":
        return orientation(series.geometries)
    return series.attributes.get(name)


def _of_study(name: str, facts: Facts) -> Any:
    """An attribute of the study: what the series agree on.

    Where they differ, an attribute of patient or study is that of the series that came first; any
    other one (the modality of a CT with its dose report, say) belongs to no study and is null.
    """
    if name == "instances":
        return sum(series.instances for series in facts.series)
    if name == "modalities":
        found = {series.attributes.get("Modality") for series in facts.series}
        return sorted(modality for modality in found if isinstance(modality, str))
    values = [s.attributes[name] for s in facts.series if s.attributes.get(name) is not None]
    if not values:
        return None
    agreed = all(value == values[0] for value in values)
    return values[0] if agreed or name in PATIENT_AND_STUDY else None
