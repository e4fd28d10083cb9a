"""Template parameters: ``${{ name }}`` in any text of a definition.

Values go in after the YAML is parsed, so a value can never add a key, a line or an operator, and
a value that itself looks like a placeholder stays as it is.  ``${{JOB_ID}}`` is the job's id and
needs no declaration.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

from gateway.config.document import MAX_BYTES, ConfigError, Document, Fault, Key

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
    values = {JOB_ID: UNKNOWN_JOB, **{k: plain(v) for k, v in declared.items()}, **arguments}
    filler = Filler(document, values)
    fresh = {k: v if k in _UNTOUCHED else filler.fill((k,), v) for k, v in data.items()}
    faults += filler.faults
    if faults:
        raise ConfigError(faults)
    return dataclasses.replace(document, data=fresh)


def plain(value: Any) -> str:
    """A default or an argument as text: true and false as YAML writes them."""
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


class Budget:
    """Characters that placeholders may still add to a definition."""

    def __init__(self) -> None:
        self.told = False
        """True once a fault says that nothing is left."""
        self._left = MAX_BYTES

    def spend(self, characters: int) -> bool:
        """Take ``characters`` off; False when they are more than is left."""
        self._left -= characters
        return self._left >= 0


class Filler:
    """Replaces placeholders in values of one document and collects what is wrong with them.

    Names in ``outer`` are left as they are, for whoever fills them later.  ``budget`` bounds what
    all values together add; fillers of one definition share it.
    """

    def __init__(
        self,
        document: Document,
        values: Mapping[str, str],
        outer: Collection[str] = (),
        budget: Budget | None = None,
    ) -> None:
        self.faults: list[Fault] = []
        self._document = document
        self._values = values
        self._outer = frozenset(outer)
        self._budget = budget or Budget()

    def fill(self, key: Key, value: Any) -> Any:
        """``value``, which stands at ``key``, with its placeholders replaced at every depth."""
        if isinstance(value, dict):
            return {k: self.fill((*key, k), v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.fill((*key, i), v) for i, v in enumerate(value)]
        if not isinstance(value, str) or "${{" not in value:
            return value
        return _PLACEHOLDER.sub(lambda match: self._value(key, match), value)

    def _value(self, key: Key, match: re.Match[str]) -> str:
        name = match[1].strip()
        if name in self._values:
            return self._spent(key, self._values[name])
        if name in self._outer:
            return match[0]
        if _NAME.fullmatch(name):
            known = ", ".join(sorted({*self._values, *self._outer}))
            message = f"the placeholder {name!r} is not declared; declared: {known}"
        else:
            message = f"{match[0][:80]!r} is no placeholder: write ${{{{ name }}}}"
        self.faults.append(self._document.fault(key, message))
        return ""

    def _spent(self, key: Key, value: str) -> str:
        if self._budget.spend(len(value)):
            return value
        if not self._budget.told:
            self._budget.told = True
            message = f"placeholders make the definition larger than {MAX_BYTES} characters"
            self.faults.append(self._document.fault(key, message))
        return ""
