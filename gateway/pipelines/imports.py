"""Imports put in place, and the parameters of operators filled in.

An operator or a service may stand in a file of its own::

    operators:
    - name: reader                     # a local name, if wanted
      import:
        path: operators/reader.yaml    # among the files registered together
        args: {FORMAT: nifti}          # values for that file's parameters

The file's placeholders are its own: what it does not declare is a fault in it.  Arguments and
defaults may hold placeholders of the definition that imports; those are filled with the job's
values later, in one pass, so no value is ever read as a placeholder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gateway.config.document import MAX_NODES, ConfigError, Document, Fault, Key, validate
from gateway.pipelines.composed import Composed, Part
from gateway.pipelines.shape import ImportShape, ParametersShape
from gateway.pipelines.sources import NotFoundError, Sources, plain
from gateway.pipelines.template import JOB_ID, Budget, Filler

MAX_DEPTH = 8
"""Most files that may import each other in a chain."""
MAX_IMPORTS = 1000
"""Most imports of one definition, nested ones included."""

_BESIDE = ("api-version", "import", "name")
"""Keys that may stand where something is imported."""


def expand(document: Document, sources: Sources) -> Document:
    """``document``, a pipeline, without any ``import`` and without operators' ``parameters``.

    Raises :class:`ConfigError` with every fault on the way.
    """
    data = document.data
    operators = data.get("operators") if isinstance(data, dict) else None
    if not isinstance(operators, list):
        return document
    given = data.get("parameters")
    outer = {JOB_ID, *(given if isinstance(given, dict) else {})}
    work = _Expansion(sources, frozenset(outer))
    trail = (plain(document.file),)
    fresh = []
    parts: list[Part] = []
    for index, item in enumerate(operators):
        one, found = work.entry(document, ("operators", index), item, trail)
        fresh.append(one)
        parts += found
    if work.faults:
        raise ConfigError(work.faults)
    return Composed(
        document.file,
        {**data, "operators": fresh},
        document.lines,
        document.digest,
        tuple(parts),
    )


class _Expansion:
    """One expansion; collects the faults of all files."""

    def __init__(self, sources: Sources, outer: frozenset[str]) -> None:
        self.faults: list[Fault] = []
        self._sources = sources
        self._outer = outer
        self._count = 0
        self._values = 0
        self._budget = Budget()

    def entry(
        self, document: Document, key: Key, item: Any, trail: tuple[str, ...]
    ) -> tuple[Any, list[Part]]:
        """An operator or service, imported or not, and the parts that it is made of."""
        if not isinstance(item, dict):
            return item, []
        try:
            if "import" in item:
                return self._imported(document, key, item, trail)
            return self._inline(document, key, item, trail)
        except ConfigError as error:
            self.faults += error.faults
            return item, []

    def _inline(
        self, document: Document, key: Key, item: Mapping[str, Any], trail: tuple[str, ...]
    ) -> tuple[Any, list[Part]]:
        data = dict(item)
        if "parameters" in data:
            declared = _parameters(document, data.pop("parameters"), (*key, "parameters"))
            self._check(document, (*key, "parameters"), declared)
            data = self._filled(document, key, data, declared, self._outer)
        return self._services(document, key, data, trail)

    def _imported(
        self, document: Document, key: Key, item: Mapping[str, Any], trail: tuple[str, ...]
    ) -> tuple[Any, list[Part]]:
        strange = [k for k in item if k not in _BESIDE]
        if strange:
            message = f"may not stand beside import; allowed: {', '.join(_BESIDE)}"
            raise ConfigError([document.fault((*key, k), message) for k in strange])
        here: Key = (*key, "import")
        wanted = validate(ImportShape, document, item["import"] or {}, here)
        self._check(document, (*here, "args"), wanted.args)
        inner, name = self._load(document, here, wanted.path, trail)
        args = self._arguments(document, here, wanted.args, inner)
        body, parts = self._body(inner, args, (*trail, name))
        kept = frozenset({"name"} & set(item))
        if kept:
            body = {"name": item["name"], **{k: v for k, v in body.items() if k != "name"}}
        home = Composed(inner.file, body, inner.lines, inner.digest, tuple(parts))
        return body, [Part(key, home, kept)]

    def _body(
        self, inner: Document, args: Mapping[str, str], trail: tuple[str, ...]
    ) -> tuple[dict[str, Any], list[Part]]:
        """The imported mapping, its own parameters filled and its own imports expanded."""
        data = {k: v for k, v in inner.data.items() if k != "parameters"}
        declared = _parameters(inner, inner.data.get("parameters"), ("parameters",))
        filled = self._filled(inner, (), data, {**declared, **args}, frozenset({JOB_ID}))
        return self.entry(inner, (), filled, trail)

    def _load(
        self, document: Document, here: Key, path: str, trail: tuple[str, ...]
    ) -> tuple[Document, str]:
        self._count += 1
        at: Key = (*here, "path")
        if self._count > MAX_IMPORTS:
            raise ConfigError([document.fault(at, f"more than {MAX_IMPORTS} imports")])
        try:
            name, inner = self._sources.find(trail[-1], path)
        except NotFoundError as error:
            raise ConfigError([document.fault(at, str(error))]) from error
        if name in trail:
            circle = " → ".join(map(self._sources.shown, (*trail[trail.index(name) :], name)))
            raise ConfigError([document.fault(at, f"the imports go in a circle: {circle}")])
        if len(trail) > MAX_DEPTH:
            raise ConfigError([document.fault(at, f"imports nested deeper than {MAX_DEPTH}")])
        self._values += len(inner.lines)
        if self._values > MAX_NODES:
            message = f"imports make the definition larger than {MAX_NODES} values"
            raise ConfigError([document.fault(at, message)])
        if not isinstance(inner.data, dict):
            raise ConfigError([inner.fault((), "must be a mapping, the keys of one operator")])
        if "operators" in inner.data:
            message = "is a pipeline; only an operator or a service can be imported"
            raise ConfigError([inner.fault(("operators",), message)])
        return inner, name

    def _arguments(
        self, document: Document, here: Key, args: Mapping[str, str], inner: Document
    ) -> Mapping[str, str]:
        given = inner.data.get("parameters")
        declared = given if isinstance(given, dict) else {}
        known = ", ".join(sorted(map(str, declared))) or "none"
        message = f"is no parameter of {inner.file}; declared: {known}"
        strange = [document.fault((*here, "args", a), message) for a in args if a not in declared]
        if strange:
            raise ConfigError(strange)
        return args

    def _services(
        self, document: Document, key: Key, data: dict[str, Any], trail: tuple[str, ...]
    ) -> tuple[dict[str, Any], list[Part]]:
        services = data.get("services")
        if not isinstance(services, list):
            return data, []
        parts: list[Part] = []
        fresh = []
        for index, item in enumerate(services):
            one, found = self.entry(document, (*key, "services", index), item, trail)
            fresh.append(one)
            parts += found
        return {**data, "services": fresh}, parts

    def _filled(
        self,
        document: Document,
        key: Key,
        data: dict[str, Any],
        values: Mapping[str, str],
        outer: Collection[str],
    ) -> dict[str, Any]:
        filler = Filler(document, values, outer, self._budget)
        fresh = {k: filler.fill((*key, k), v) for k, v in data.items()}
        if filler.faults:
            raise ConfigError(filler.faults)
        return fresh

    def _check(self, document: Document, key: Key, values: Mapping[str, str]) -> None:
        """Raise unless every placeholder in ``values`` is one of the outermost definition's."""
        filler = Filler(document, {}, self._outer)
        filler.fill(key, dict(values))
        if filler.faults:
            raise ConfigError(filler.faults)


def _parameters(document: Document, given: Any, key: Key) -> dict[str, str]:
    """A ``parameters`` mapping, checked."""
    if given is None:
        return {}
    shape = validate(ParametersShape, document, {"parameters": given}, key[:-1])
    if JOB_ID in shape.parameters:
        message = "is the job's id and cannot be declared"
        raise ConfigError([document.fault((*key, JOB_ID), message)])
    return dict(shape.parameters)
