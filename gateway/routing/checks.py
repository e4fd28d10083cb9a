"""Checking a rule's expressions when its file is loaded."""

from __future__ import annotations

from collections.abc import Iterator

import cel

from gateway.config.applications import Rule
from gateway.routing.errors import ExpressionError
from gateway.routing.names import Names, analyse
from gateway.routing.tokens import tokens

EXPRESSIONS = ("when", "select", "prefer")
"""Keys of a rule that hold CEL."""


def expressions(rule: Rule) -> dict[str, str]:
    """The expressions that ``rule`` has, by key."""
    found = {key: getattr(rule, key) for key in EXPRESSIONS}
    return {key: text for key, text in found.items() if text is not None}


def check_rule(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for each expression of ``rule`` that cannot be accepted.

    This is the ``check_rule`` that :func:`gateway.config.applications.load` takes.
    """
    for key, text in expressions(rule).items():
        try:
            check(text, per_series=key != "when")
        except ExpressionError as error:
            yield key, str(error)


def check(text: str, *, per_series: bool) -> Names:
    """Accept one expression and return the names it uses; raises :class:`ExpressionError`.

    The order matters: cutting into tokens bounds length and nesting before the compiler sees it.
    """
    syntax = _syntax_error(text)
    if syntax:
        raise ExpressionError(syntax)
    return analyse(text, per_series=per_series)


def _syntax_error(text: str) -> str:
    """What the CEL compiler says against ``text``, in one line, or ``""``."""
    if len(tokens(text)) == 1:
        return "is empty"
    try:
        cel.compile(text)
    except (ValueError, RuntimeError) as error:
        return f"is not CEL: {_readable(str(error))}"
    return ""


def _readable(said: str) -> str:
    """The compiler's first complaint without its list of every token that could follow.

    It says "Failed to parse expression '…': ERROR: <input>:1:3: Syntax error: …\\n| …\\n| ..^",
    once per fault; those after the first only follow from it.
    """
    tail = said.partition("ERROR: <input>:")[2] or said
    line = tail.splitlines()[0].partition(" expecting {")[0]
    line = line.replace("'<EOF>'", "the end").replace("<EOF>", "the end")
    place, _, what = line.partition(": ")
    return f"{what} (line:column {place})" if what else line
