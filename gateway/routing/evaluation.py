"""Evaluating one rule: what the evaluating process does with a request.

A request and its answer are JSON.  Request::

    {"when":   {"text": CEL, "variables": {…}},
     "select": {"text": CEL, "variables": {…}, "each": [{…}, …]},
     "prefer": {"text": CEL, "variables": {…}, "each": [{…}, …]},
     "series": number of series}

A missing expression is null.  ``each`` holds one mapping per series: the ``s`` of that series.
Answer: ``{"when": A, "select": [A, …], "prefer": [A, …]}`` with ``A = [value, error]``, null
where nothing was evaluated.  This module imports nothing of the gateway, so that the process
starts fast and holds no secret.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cel

Answer = tuple[Any, str | None]
"""A value and no error, or null and why there is none."""

MAX_ERROR = 300
"""Longest error text, in characters."""

CEL_ERRORS = (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError)
"""What the library raises for an expression that cannot be evaluated."""


def evaluate(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one request; an error inside an expression is part of the answer."""
    answer: dict[str, Any] = {"when": None, "select": None, "prefer": None}
    if request["when"] is not None:
        answer["when"] = _once(request["when"])
        if answer["when"][0] is not True:
            return answer
    chosen = list(range(request["series"]))
    if request["select"] is not None:
        answer["select"] = list(_select(request["select"]))
        chosen = [i for i in chosen if answer["select"][i][0] is True]
    if request["prefer"] is not None:
        answer["prefer"] = _prefer(request["prefer"], chosen, request["series"])
    return answer


def _once(part: Mapping[str, Any]) -> Answer:
    return _bool(_run(cel.compile(part["text"]), part["variables"]))


def _select(part: Mapping[str, Any]) -> Iterator[Answer]:
    """One answer per series."""
    each = part["each"]
    if "series" in part["variables"]:
        # With the whole list in the context, one pass inside CEL costs a small part of one
        # evaluation per series; where a series errs, each is evaluated alone to tell which.
        text = f"series.map(s, ({part['text']}\n))"
        values, error = _run(cel.compile(text), part["variables"])
        if error is None and isinstance(values, list) and len(values) == len(each):
            for value in values:
                yield _bool((value, None))
            return
    program = cel.compile(part["text"])
    for series in each:
        yield _bool(_run(program, {**part["variables"], "s": series}))


def _prefer(part: Mapping[str, Any], chosen: Sequence[int], count: int) -> list[Answer | None]:
    """One answer per chosen series, None for the others."""
    program = cel.compile(part["text"])
    answers: list[Answer | None] = [None] * count
    for index in chosen:
        variables = {**part["variables"], "s": part["each"][index]}
        answers[index] = _number(_run(program, variables))
    return answers


def _run(program: Any, variables: Mapping[str, Any]) -> Answer:
    try:
        return program.execute(dict(variables)), None
    except CEL_ERRORS as error:
        return None, _explained(error, variables)


def _explained(error: Exception, variables: Mapping[str, Any]) -> str:
    """The library's first sentence, and which attributes were null: nearly always the cause."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    text = text.partition(". ")[0].rstrip(".")
    nulls = [
        f"{name}.{key}"
        for name in ("study", "s")
        for key, value in variables.get(name, {}).items()
        if value is None
    ]
    series = variables.get("series", [])
    nulls += sorted(
        {f"series.{key}" for item in series for key, value in item.items() if value is None}
    )
    hint = f" (null: {', '.join(nulls)})" if nulls else ""
    return f"{text}{hint}"[:MAX_ERROR]


def _bool(answer: Answer) -> Answer:
    value, error = answer
    if error is None and not isinstance(value, bool):
        return None, f"yields {_kind(value)}, not bool"
    return answer


def _number(answer: Answer) -> Answer:
    value, error = answer
    if error is not None:
        return answer
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, f"yields {_kind(value)}, not a number"
    if math.isnan(value) or math.isinf(value):
        return None, f"yields {value}, which cannot be compared"
    return answer


def _kind(value: Any) -> str:
    names = {"NoneType": "null", "str": "string", "float": "double", "dict": "map"}
    return names.get(type(value).__name__, type(value).__name__)
