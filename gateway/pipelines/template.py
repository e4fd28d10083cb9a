"""Template parameters: ``${{ name }}`` in any text of a definition.

Values go in after the YAML is parsed, so a value can never add a key, a line or an operator, and
a value that itself looks like a placeholder stays as it is.  ``${{JOB_ID}}`` is the job's id and
needs no declaration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.config.document import ConfigError, Document, Fault, Key

JOB_ID = "JOB_ID"
"""The placeholder that every definition has."""
UNKNOWN_JOB = "0" * 32
"""What stands for the job's id while there is no job yet."""

_UNTOUCHED = frozenset({"api-version", "name", "parameters"})
_PLACEHOLDER = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def substitute(document: Document, arguments: Mapping[str, str]) -> Document:
    """Return ``document`` with every placeholder replaced.

    ``arguments`` holds values for declared parameters and, where there is a job, for ``JOB_ID``;
    a parameter without argument takes its default.  Raises :class:`ConfigError` with every
    undeclared or misspelt placeholder and every argument that is no parameter.
    """
    data = document.data
    if not isinstance(data, dict):
        return document
    given = data.get("parameters")
    declared = given if isinstance(given, dict) else {}
    faults = _strange(document, declared, arguments)
    values = {JOB_ID: UNKNOWN_JOB, **{k: _plain(v) for k, v in declared.items()}, **arguments}
    fresh = {
        key: value if key in _UNTOUCHED else _walk(document, (key,), value, values, faults)
        for key, value in data.items()
    }
    if faults:
        raise ConfigError(faults)
    return Document(document.file, fresh, document.lines)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _strange(
    document: Document, declared: Mapping[str, Any], arguments: Mapping[str, str]
) -> list[Fault]:
    """Faults of the parameters and arguments themselves."""
    faults = []
    if JOB_ID in declared:
        message = "is the job's id and cannot be declared"
        faults.append(document.fault(("parameters", JOB_ID), message))
    allowed = ", ".join(sorted(map(str, declared))) or "none"
    for name in arguments:
        if name not in declared and name != JOB_ID:
            message = f"{name!r} is no parameter of this pipeline; declared: {allowed}"
            faults.append(document.fault(("parameters",), message))
    return faults


def _walk(
    document: Document, key: Key, value: Any, values: Mapping[str, str], faults: list[Fault]
) -> Any:
    if isinstance(value, dict):
        return {k: _walk(document, (*key, k), v, values, faults) for k, v in value.items()}
    if isinstance(value, list):
        return [_walk(document, (*key, i), v, values, faults) for i, v in enumerate(value)]
    if not isinstance(value, str) or "${{" not in value:
        return value
    return _PLACEHOLDER.sub(lambda match: _value(document, key, match, values, faults), value)


def _value(
    document: Document,
    key: Key,
    match: re.Match[str],
    values: Mapping[str, str],
    faults: list[Fault],
) -> str:
    name = match[1].strip()
    if name in values:
        return values[name]
    if _NAME.fullmatch(name):
        message = f"the placeholder {name!r} is not declared; declared: {', '.join(sorted(values))}"
    else:
        message = f"{match[0][:80]!r} is no placeholder: write ${{{{ name }}}}"
    faults.append(document.fault(key, message))
    return ""
