"""Which rules would match files on disk, and why: the same engine, no database, nothing started.

For ``gateway rules explain``.  Files are grouped as the called application groups instances.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError
from sqlalchemy.engine import Connection, Row

from gateway.config.applications import AeConfig, Application
from gateway.errors import Refused
from gateway.routing.attributes import extract
from gateway.routing.checks import expressions
from gateway.routing.context import Facts, SeriesFacts
from gateway.routing.engine import Engine
from gateway.routing.geometry import orientation, spacing
from gateway.routing.names import Names
from gateway.routing.records import facts_of
from gateway.routing.rules import Judgement, evaluate_rules, names_of

log = logging.getLogger(__name__)

_SHOWN = Names(series=frozenset({"Modality", "SeriesDescription", "spacing", "orientation"}))
"""What the table of series shows, whatever the rules name."""


@dataclass(frozen=True)
class SeriesLine:
    """One line of the table of series."""

    uid: str
    modality: str | None
    description: str | None
    instances: int
    sop_classes: tuple[str, ...]
    spacing: list[float | None] | None
    orientation: str | None


@dataclass(frozen=True)
class ExpressionLine:
    """One expression of a rule: its text and what it yielded.

    ``value`` is null when it was not evaluated or erred; per-series results stand in
    :attr:`RuleLine.per_series`.
    """

    key: str
    text: str
    value: Any = None
    error: str | None = None


@dataclass(frozen=True)
class RuleLine:
    """What one rule decides and why.

    ``names`` are the values that its expressions saw outside of the series; ``per_series`` holds
    ``{"uid", "attributes", "select"?, "prefer"?}`` per series, results as (value, error).
    """

    name: str
    pipeline: str
    outcome: str
    selected: tuple[str, ...]
    error: str | None
    expressions: tuple[ExpressionLine, ...]
    names: Mapping[str, Any]
    per_series: Sequence[Mapping[str, Any]]
    elapsed_ms: float


@dataclass(frozen=True)
class Explanation:
    """One payload that the files would make."""

    called: str
    calling: str
    host: str
    group_by: str
    group_key: str
    instances: int
    series: tuple[SeriesLine, ...]
    rules: tuple[RuleLine, ...]
    otherwise: str | None
    """What happens when no rule matched: keep or discard; None when one did."""


@dataclass
class _Series:
    attributes: dict[str, Any]
    sop_classes: set[str] = field(default_factory=set)
    geometries: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By SOP Instance UID, so that the same instance given twice counts once."""


def explain(
    paths: Iterable[Path], called: str, calling: str, host: str, ae_config: AeConfig
) -> list[Explanation]:
    """Explain what the rules of ``called`` would do with the DICOM files at and below ``paths``.

    Files that are no DICOM are skipped with a warning in the log.  Raises :class:`Refused` when no
    application has that title or no file is DICOM, and WorkerError when rules cannot be evaluated.
    """
    application = ae_config.application(called)
    if application is None:
        known = ", ".join(sorted(a.ae_title for a in ae_config.applications)) or "none"
        raise Refused(f"no application is called {called!r}; known: {known}")
    groups = _groups(paths, application.group_by)
    if not groups:
        raise Refused("none of the files is DICOM with a Study, Series and SOP Instance UID")
    with Engine() as engine:
        return [
            _explanation(engine, application, _facts(series, called, calling, host), key)
            for key, series in groups.items()
        ]


def explain_payload(connection: Connection, payload: Row[Any], ae_config: AeConfig) -> Explanation:
    """Explain what the rules would do with a received payload (a row of ``payloads``) as it is.

    Reads only.  Raises :class:`Refused` when no application has its called AE title any more, and
    WorkerError when rules cannot be evaluated.
    """
    application = ae_config.application(payload.called_ae)
    if application is None:
        raise Refused(f"no application is called {payload.called_ae!r} any more")
    names = _SHOWN
    for rule in application.rules:
        names |= names_of(rule)
    facts = facts_of(connection, payload, names)
    with Engine() as engine:
        return _explanation(engine, application, facts, payload.group_key)


def _explanation(
    engine: Engine, application: Application, facts: Facts, group_key: str
) -> Explanation:
    judgements = evaluate_rules(engine, application.rules, facts)
    matched = any(judgement.selected for judgement in judgements)
    return Explanation(
        called=facts.called,
        calling=facts.calling,
        host=facts.host,
        group_by=application.group_by,
        group_key=group_key,
        instances=sum(series.instances for series in facts.series),
        series=tuple(_series_line(series) for series in facts.series),
        rules=tuple(_rule_line(judgement) for judgement in judgements),
        otherwise=None if matched else application.otherwise,
    )


def _series_line(series: SeriesFacts) -> SeriesLine:
    return SeriesLine(
        uid=series.uid,
        modality=series.attributes.get("Modality"),
        description=series.attributes.get("SeriesDescription"),
        instances=series.instances,
        sop_classes=series.sop_classes,
        spacing=spacing(series.geometries),
        orientation=orientation(series.geometries),
    )


def _rule_line(judgement: Judgement) -> RuleLine:
    values = judgement.values or {}
    when = values.get("when") or (None, None)
    lines = tuple(
        ExpressionLine(key, text, *(when if key == "when" else ()))
        for key, text in expressions(judgement.rule).items()
    )
    return RuleLine(
        name=judgement.rule.name,
        pipeline=judgement.rule.pipeline,
        outcome=judgement.outcome.value,
        selected=judgement.selected,
        error=judgement.error,
        expressions=lines,
        names=values.get("variables", {}),
        per_series=values.get("series", []),
        elapsed_ms=judgement.elapsed_ms,
    )


def _facts(found: Mapping[str, _Series], called: str, calling: str, host: str) -> Facts:
    series = tuple(
        SeriesFacts(
            uid=uid,
            attributes=item.attributes,
            instances=len(item.geometries),
            sop_classes=tuple(sorted(item.sop_classes)),
            geometries=list(item.geometries.values()),
        )
        for uid, item in found.items()
    )
    return Facts(called=called, calling=calling, host=host, series=series)


def _groups(paths: Iterable[Path], group_by: str) -> dict[str, dict[str, _Series]]:
    """Group key → Series Instance UID → what is known of the series, in the order of files."""
    groups: dict[str, dict[str, _Series]] = defaultdict(dict)
    keyword = {"patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
    for dataset in _datasets(paths):
        key = str(dataset.get(keyword[group_by], "") or "").strip()
        uid = str(dataset.SeriesInstanceUID)
        series = groups[key].get(uid)
        if series is None:
            series = groups[key][uid] = _Series(extract(dataset))
        series.sop_classes.add(str(dataset.get("SOPClassUID", "")))
        series.geometries.setdefault(str(dataset.SOPInstanceUID), _geometry(extract(dataset)))
    return dict(groups)


def _datasets(paths: Iterable[Path]) -> Iterator[pydicom.Dataset]:
    for path in _files(paths):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, OSError, ValueError, KeyError, EOFError) as error:
            log.warning("file is skipped", extra={"error": type(error).__name__})
            continue
        uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        if all(dataset.get(keyword) for keyword in uids):
            yield dataset
        else:
            log.warning("file is skipped: it lacks a UID")


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file())
        else:
            yield path


def _geometry(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The geometry of one instance as :mod:`gateway.routing.geometry` takes it."""
    return {
        "position": _exactly(attributes.get("ImagePositionPatient"), 3),
        "orientation": _exactly(attributes.get("ImageOrientationPatient"), 6),
        "spacing": _exactly(attributes.get("PixelSpacing"), 2),
        "thickness": attributes.get("SliceThickness"),
        "spacing_between_slices": attributes.get("SpacingBetweenSlices"),
    }


def _exactly(values: Any, count: int) -> Any:
    return values if isinstance(values, list) and len(values) == count else None
