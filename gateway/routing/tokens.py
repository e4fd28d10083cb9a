"""Cutting a CEL expression into tokens, by the lexical part of the CEL specification.

Strings and comments are recognised so that nothing inside them is taken for a name.  The limits
here are what keep a hostile expression from exhausting the compiler's stack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.routing.errors import ExpressionError

MAX_LENGTH = 4000
"""Longest expression, in characters."""
MAX_DEPTH = 40
"""Deepest nesting of brackets, and most conditions (``?:``) of one expression."""

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\r\n]*)
    | (?P<string>
          [bB]?[rR](?:\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|"[^"\r\n]*"|'[^'\r\n]*')
        | [bB]?(?:\"{3}(?:\\[\s\S]|[^\\])*?\"{3}|'{3}(?:\\[\s\S]|[^\\])*?'{3}
                 |"(?:\\.|[^"\\\r\n])*"|'(?:\\.|[^'\\\r\n])*'))
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|\d*\.\d+(?:[eE][+-]?\d+)?|\d+(?:[eE][+-]?\d+)?[uU]?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_STRING = re.compile(r"""([bBrR]*)("{3}|'{3}|"|')([\s\S]*)\2""")


@dataclass(frozen=True)
class Token:
    """One token: ``kind`` is string, number, name, sign or end; ``at`` its offset."""

    kind: str
    text: str
    at: int

    def plain(self) -> str | None:
        """The value of a string literal without prefix and escapes; None for any other token."""
        match = _STRING.fullmatch(self.text) if self.kind == "string" else None
        if match is None or match[1] or "\\" in match[3]:
            return None
        return match[3]


def tokens(text: str) -> list[Token]:
    """Cut ``text`` up, closed by an ``end`` token; raises :class:`ExpressionError`."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"is longer than {MAX_LENGTH} characters")
    found: list[Token] = []
    at = depth = conditions = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(f"column {at + 1}: {text[at]!r} begins no CEL token")
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match[0], at))
            depth += (match[0] in {"(", "[", "{"}) - (match[0] in {")", "]", "}"})
            conditions += match[0] == "?"
        if depth > MAX_DEPTH or conditions > MAX_DEPTH:
            raise ExpressionError(f"is nested deeper than {MAX_DEPTH} brackets or conditions")
        at = match.end()
    return [*found, Token("end", "", len(text))]
