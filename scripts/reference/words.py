"""Markdown, and what the code says of itself."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import yaml

MEANINGS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "meanings.yaml"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells keep to one line and bars in them are escaped."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return re.sub(r"\s+", " ", str(value)).strip().replace("|", "\\|")


def code(value: object) -> str:
    """``value`` in code type."""
    return f"`{value}`"


def prose(text: str | None) -> str:
    """A docstring's words in Markdown: double backquotes become single, roles become code."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text or "")
    return text.replace("``", "`")


def fence(text: str, language: str = "text") -> str:
    """A block of text as it is."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def attribute_docs(module: ModuleType, name: str) -> dict[str, str]:
    """The strings below the attributes of the class ``name`` in ``module``."""
    tree = ast.parse(inspect.getsource(module))
    found: dict[str, str] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name != name:
            continue
        for first, second in zip(node.body, node.body[1:], strict=False):
            target = getattr(first, "target", None) or next(
                iter(getattr(first, "targets", [])), None
            )
            text = _text_of(second)
            if isinstance(target, ast.Name) and text is not None:
                found[target.id] = inspect.cleandoc(text)
    return found


def _text_of(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        value = node.value.value
        return value if isinstance(value, str) else None
    return None


def meanings(section: str, members: Iterable[str]) -> Mapping[str, str]:
    """The sentences of ``section``; raises when they are not exactly those of ``members``."""
    given: dict[str, str] = yaml.safe_load((MEANINGS).read_text())[section]
    wanted = set(members)
    if wanted != set(given):
        odd = ", ".join(sorted(wanted ^ set(given)))
        raise SystemExit(f"meanings.yaml, {section}: not the same as in the code: {odd}")
    return given
