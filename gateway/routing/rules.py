"""From a rule and what is known of a payload to a judgement: does it match, and with which series.

``when`` decides over the payload, ``select`` over each series, ``prefer`` keeps the best of the
selected ones.  An error inside an expression means "not matched" for what it was evaluated on:
the payload for ``when``, the one series for ``select`` and ``prefer``; its text is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.config.applications import Rule
from gateway.routing.checks import check, expressions
from gateway.routing.context import Facts, per_series, variables
from gateway.routing.engine import Engine, Verdict
from gateway.routing.errors import ExpressionError
from gateway.routing.names import Names


class Outcome(StrEnum):
    """How a rule decided."""

    MATCHED = "MATCHED"
    NOT_MATCHED = "NOT_MATCHED"
    ERROR = "ERROR"
    UNCHANGED = "UNCHANGED"
    """Matched, but its selected instances are those of the last job: no new one."""


@dataclass(frozen=True)
class Judgement:
    """What one rule says of one payload.

    ``values`` is patient data: everything the expressions saw and yielded, as JSON (see
    :func:`judge`).  ``selected`` holds Series Instance UIDs in the order the series arrived.
    ``error`` can stand beside MATCHED: some series could not be judged and were not selected.
    """

    rule: Rule
    outcome: Outcome
    selected: tuple[str, ...] = ()
    error: str | None = None
    values: Mapping[str, Any] | None = None
    elapsed_ms: float = 0.0


def evaluate_rules(engine: Engine, rules: Sequence[Rule], facts: Facts) -> list[Judgement]:
    """Judge every rule by ``facts``, in order; raises WorkerError when nothing can be evaluated."""
    requests: dict[str, dict[str, Any]] = {}
    judged: dict[str, Judgement] = {}
    for rule in rules:
        try:
            requests[rule.name] = request_for(rule, facts)
        except ExpressionError as error:
            judged[rule.name] = Judgement(rule, Outcome.ERROR, error=str(error))
    verdicts = engine.evaluate(list(requests.values()))
    for (name, request), verdict in zip(requests.items(), verdicts, strict=True):
        rule = next(rule for rule in rules if rule.name == name)
        judged[name] = judge(rule, facts, request, verdict)
    return [judged[rule.name] for rule in rules]


def names_of(rule: Rule) -> Names:
    """What the expressions of ``rule`` use together."""
    names = Names()
    for key, text in expressions(rule).items():
        names |= check(text, per_series=key != "when")
    return names


def request_for(rule: Rule, facts: Facts) -> dict[str, Any]:
    """The request of :mod:`gateway.routing.evaluation` for ``rule``.

    Raises :class:`ExpressionError` for an expression that no load of the file has checked.
    """
    request: dict[str, Any] = {"when": None, "select": None, "prefer": None}
    for key, text in expressions(rule).items():
        names = check(text, per_series=key != "when")
        request[key] = {"text": text, "variables": variables(names, facts)}
        if key != "when":
            request[key]["each"] = per_series(names, facts)
    return request | {"series": len(facts.series)}


def judge(rule: Rule, facts: Facts, request: Mapping[str, Any], verdict: Verdict) -> Judgement:
    """Turn the engine's verdict into a judgement.

    ``values`` = ``{"variables": {…}, "when": [value, error], "series": [{"uid": …, "attributes":
    {…}, "select": [value, error], "prefer": [value, error]}, …]}``, with what was evaluated only.
    """
    values = _values(facts, request, verdict)
    outcome, selected, error = _decide(facts, request, verdict)
    return Judgement(rule, outcome, selected, error, values, verdict.elapsed_ms)


def _decide(
    facts: Facts, request: Mapping[str, Any], verdict: Verdict
) -> tuple[Outcome, tuple[str, ...], str | None]:
    if verdict.error is not None:
        return Outcome.ERROR, (), verdict.error
    if verdict.when is not None:
        value, error = verdict.when
        if error is not None:
            return Outcome.ERROR, (), f"when: {error}"
        if not value:
            return Outcome.NOT_MATCHED, (), None
    chosen, error = _select(facts, verdict)
    if chosen and request["prefer"] is not None:
        chosen, worse = _prefer(facts, chosen, verdict)
        error = error or worse
    if chosen:
        return Outcome.MATCHED, tuple(facts.series[i].uid for i in chosen), error
    return (Outcome.ERROR if error else Outcome.NOT_MATCHED), (), error


def _select(facts: Facts, verdict: Verdict) -> tuple[list[int], str | None]:
    """Indices of the selected series, and the first error."""
    if verdict.select is None:
        return list(range(len(facts.series))), None
    chosen = [i for i, (value, _) in enumerate(verdict.select) if value is True]
    return chosen, _first_error("select", facts, verdict.select)


def _prefer(facts: Facts, chosen: list[int], verdict: Verdict) -> tuple[list[int], str | None]:
    """The best of ``chosen``: highest number, then more instances, then the lower UID."""
    answers = verdict.prefer or []
    ranked = []
    for index in chosen:
        answer = answers[index]
        if answer is not None and answer[1] is None:
            series = facts.series[index]
            ranked.append((-answer[0], -series.instances, series.uid, index))
    error = _first_error("prefer", facts, answers)
    return ([min(ranked)[3]] if ranked else []), error


def _first_error(key: str, facts: Facts, answers: Sequence[Sequence[Any] | None]) -> str | None:
    errors = [(i, a[1]) for i, a in enumerate(answers) if a is not None and a[1] is not None]
    if not errors:
        return None
    index, text = errors[0]
    more = f" (and {len(errors) - 1} more series)" if len(errors) > 1 else ""
    return f"{key}: series {facts.series[index].uid}: {text}{more}"


def _values(facts: Facts, request: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    attributes: list[dict[str, Any]] = [{} for _ in facts.series]
    for part in (request[key] for key in ("when", "select", "prefer") if request[key] is not None):
        given = dict(part["variables"])
        rows = given.pop("series", [])
        for found, row in zip(attributes, part.get("each", rows), strict=False):
            found.update(row)
        study = seen.get("study", {}) | given.pop("study", {})
        seen |= given | ({"study": study} if study else {})
    return {
        "variables": seen,
        "when": verdict.when,
        "series": [
            {"uid": item.uid, "attributes": attributes[index]} | _answers(index, verdict)
            for index, item in enumerate(facts.series)
        ],
    }


def _answers(index: int, verdict: Verdict) -> dict[str, Any]:
    """What ``select`` and ``prefer`` yielded for one series, where they were evaluated."""
    found: dict[str, Any] = {}
    if verdict.select is not None:
        found["select"] = verdict.select[index]
    if verdict.prefer is not None and verdict.prefer[index] is not None:
        found["prefer"] = verdict.prefer[index]
    return found
