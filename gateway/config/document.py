"""YAML documents whose every value knows the line it came from.

A :class:`Document` holds plain Python data and, beside it, the line of each key.  Models are
checked against it with :func:`validate`, which turns pydantic's errors into
:class:`Fault` lines a person can act on.  YAML's dangerous corners are closed: no tags that make
objects, no duplicate keys, no recursive aliases, no alias bombs.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gateway.errors import Permanent

MAX_BYTES = 4 * 1024 * 1024
"""Largest document that is read, in bytes."""
MAX_NODES = 200_000
"""Most values a document may hold once its aliases are expanded."""
MAX_DEPTH = 60
"""Deepest nesting of lists and mappings."""

# In C where it was built with libyaml: many times faster, and a hostile document is long.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Key = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong in one file: where, which key, and what is allowed instead."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        """Render as ``file:line: key: message``, the form editors jump to."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class ConfigError(Permanent):
    """One or more faults in configuration; the message is one line per fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


@dataclass(frozen=True)
class Document:
    """The data of one YAML file and the line (from 1) of every key path in it."""

    file: str
    data: Any
    lines: Mapping[Key, int] = field(default_factory=dict)
    digest: str = ""
    """SHA-256 of the text, hexadecimal; empty for a document that no text was parsed for."""

    def line(self, key: Sequence[str | int]) -> int | None:
        """Line of ``key``, or of its nearest ancestor that stands in the file."""
        path = tuple(key)
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def fault(self, key: Sequence[str | int], message: str) -> Fault:
        """Make a fault for the value at ``key``."""
        return Fault(self.file, self.line(key), dotted(key), message)


def dotted(key: Sequence[str | int]) -> str:
    """Spell a key path as people write it: ``applications[0].ae-title``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read(path: Path) -> Document:
    """Read the YAML file ``path``; raise :class:`ConfigError` when it is unreadable or no YAML."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe would wait for its writer.
            raise ConfigError([Fault(str(path), None, "", "is no regular file")])
        if status.st_size > MAX_BYTES:
            raise ConfigError([Fault(str(path), None, "", f"larger than {MAX_BYTES} bytes")])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Fault(str(path), None, "", error.strerror or str(error))]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Fault(str(path), None, "", f"is not UTF-8: {error.reason}")]) from error
    return parse(text, str(path))


def parse(text: str, file: str) -> Document:
    """Parse YAML ``text``; ``file`` is the name used in faults.  An empty text is None."""
    if len(text) > MAX_BYTES:
        raise ConfigError([Fault(file, None, "", f"larger than {MAX_BYTES} characters")])
    try:
        _probe(text, file)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        message = f"is not YAML: {error.problem or error.context}"
        raise ConfigError([Fault(file, line, "", message)]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([Fault(file, None, "", f"is not YAML: {error}")]) from error
    builder = _Builder(file)
    data = None if node is None else builder.build(node, (), 0)
    return Document(file, data, builder.lines, hashlib.sha256(text.encode()).hexdigest())


def _probe(text: str, file: str) -> None:
    """Refuse what is nested too deep, or too large, before nodes are made of it.

    The composer in C recurses without a check: deep nesting would end the process.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        message = None
        if depth > MAX_DEPTH + 1:
            message = f"nested deeper than {MAX_DEPTH} levels"
        elif count > 3 * MAX_NODES + 4:  # a key, a start and an end for each value
            message = f"more than {MAX_NODES} values"
        if message is not None:
            mark = event.start_mark
            raise ConfigError([Fault(file, mark.line + 1 if mark else None, "", message)])


class _Builder:
    """Turns composed nodes into plain data while it notes the lines."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Key, int] = {}
        self._loader = yaml.SafeLoader("")
        self._nodes = 0

    def build(self, node: yaml.Node, key: Key, depth: int) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(key, line)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._fail(line, key, f"more than {MAX_NODES} values once aliases are expanded")
        if depth > MAX_DEPTH:
            self._fail(line, key, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(n, (*key, i), depth + 1) for i, n in enumerate(node.value)]
        return self._scalar(node, key)

    def _mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                self._fail(line, key, "a key must be a plain word")
            name = str(name_node.value)
            if name in data:
                self._fail(
                    line, (*key, name), f"the key stands here twice, first in line {first[name]}"
                )
            first[name] = line
            self.lines[(*key, name)] = line
            data[name] = self.build(value_node, (*key, name), depth + 1)
        return data

    def _scalar(self, node: yaml.Node, key: Key) -> Any:
        try:
            value = self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            problem = getattr(error, "problem", None) or error
            self._fail(node.start_mark.line + 1, key, f"{problem}")
        # YAML 1.1 turns 2020-01-01 into a date; no key of ours wants one.
        return str(node.value) if isinstance(value, dt.date | bytes) else value

    def _fail(self, line: int, key: Key, message: str) -> Any:
        raise ConfigError([Fault(self.file, line, dotted(key), message)])


def validate(model: type[Model], document: Document, data: Any = None, at: Key = ()) -> Model:
    """Check ``data`` (default: the whole document) against ``model``.

    ``at`` is where ``data`` stands in the document.  Raises :class:`ConfigError` with every fault.
    """
    value = document.data if data is None else data
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise ConfigError(faults_of(error, model, document, at)) from error


def faults_of(
    error: ValidationError, model: type[BaseModel], document: Document, at: Key = ()
) -> list[Fault]:
    """Turn pydantic's errors into faults with lines."""
    faults = []
    for item in error.errors(include_url=False):
        loc = tuple(p for p in item["loc"] if isinstance(p, int) or "[" not in p)
        key = at + loc
        message = _message(item, model, loc)
        faults.append(document.fault(key, message))
    return sorted(faults, key=lambda f: (f.line or 0, f.key))


def _message(item: Any, model: type[BaseModel], loc: Key) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        allowed = _allowed(model, loc[:-1])
        return "unknown key" + (f"; allowed: {', '.join(allowed)}" if allowed else "")
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    text = str(item["msg"])
    given = item.get("input")
    shown = f" (found {given!r})" if isinstance(given, str | int | float | bool) else ""
    return text[0].lower() + text[1:] + shown[:120]


def _allowed(model: type[BaseModel], loc: Key) -> list[str]:
    """Names of the keys that the model at ``loc`` allows."""
    current: type[BaseModel] = model
    for part in loc:
        if isinstance(part, int):
            continue
        fields = {f.alias or n: f.annotation for n, f in current.model_fields.items()}
        inner = _model_in(fields.get(part))
        if inner is None:
            return []
        current = inner
    return sorted(f.alias or n for n, f in current.model_fields.items())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the model inside ``list[Model]``, ``Model | None`` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
