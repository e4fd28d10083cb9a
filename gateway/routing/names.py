"""Which names a CEL expression uses: its variables and the attributes of study and series.

:func:`analyse` walks the expression by the grammar of the CEL specification, just deep enough to
know which parts stand for the study, for a series or for the list of series, so that the context
can be cut down to what a rule names and a misspelt keyword is found when the file is loaded.
What a walk could not follow (a series hidden in a map, an attribute chosen at run time) is
refused.  Whether the expression is CEL at all is the compiler's to say, not this module's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from gateway.routing.errors import ExpressionError
from gateway.routing.keywords import SERIES_DERIVED, STUDY_DERIVED, check_keyword, nearest
from gateway.routing.tokens import Token, tokens


class Shape(Enum):
    """What a part of an expression stands for."""

    OTHER = auto()
    STUDY = auto()
    SERIES = auto()
    SERIES_LIST = auto()


@dataclass(frozen=True)
class Names:
    """What one expression uses.

    ``variables`` are free ones among called, calling, host, study, series and s; ``study`` and
    ``series`` the names of attributes.
    """

    variables: frozenset[str] = frozenset()
    study: frozenset[str] = frozenset()
    series: frozenset[str] = frozenset()

    def __or__(self, other: Names) -> Names:
        """What either expression uses."""
        return Names(
            self.variables | other.variables,
            self.study | other.study,
            self.series | other.series,
        )


MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
"""Macros that bind a variable to each element of a list."""
TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "string", "uint"})
"""Names of types, for ``type(x) == int``."""
FUNCTIONS = frozenset({
    "bytes", "contains", "double", "duration", "dyn", "endsWith", "getDate", "getDayOfMonth",
    "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes",
    "getMonth", "getSeconds", "has", "int", "matches", "size", "startsWith", "string",
    "timestamp", "type", "uint",
})  # fmt: skip
"""Functions and methods of CEL's standard library that the engine has."""
ROOTS = {
    "called": Shape.OTHER,
    "calling": Shape.OTHER,
    "host": Shape.OTHER,
    "study": Shape.STUDY,
    "series": Shape.SERIES_LIST,
}
"""Variables of every expression."""

_BINARY = frozenset({"&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in"})


def analyse(text: str, *, per_series: bool) -> Names:
    """Find the names in ``text``; ``per_series`` = ``s`` is the series (select, prefer).

    Raises :class:`ExpressionError` for a name that is not known where it stands.
    """
    return _Walk(text, per_series=per_series).names()


class _Walk:
    """One pass over the tokens of one expression, by recursive descent."""

    def __init__(self, text: str, *, per_series: bool) -> None:
        self._tokens = tokens(text)
        self._next = 0
        self._roots = ROOTS | ({"s": Shape.SERIES} if per_series else {})
        self._bound: list[tuple[str, Shape]] = []
        self._variables: set[str] = set()
        self._study: set[str] = set()
        self._series: set[str] = set()

    def names(self) -> Names:
        self._expression()
        if self._peek().kind != "end":
            self._unexpected(self._peek())
        return Names(frozenset(self._variables), frozenset(self._study), frozenset(self._series))

    # -- tokens ------------------------------------------------------------------------------

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token

    def _accept(self, sign: str) -> bool:
        token = self._peek()
        if token.kind in {"sign", "name"} and token.text == sign:
            self._next += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            self._unexpected(self._peek(), f", expected {sign!r}")

    def _identifier(self) -> str:
        token = self._take()
        if token.kind != "name":
            self._unexpected(token, ", expected a name")
        return token.text

    def _unexpected(self, token: Token, hint: str = "") -> None:
        found = repr(token.text) if token.text else "end"
        raise ExpressionError(f"column {token.at + 1}: unexpected {found}{hint}")

    # -- grammar -----------------------------------------------------------------------------

    def _expression(self) -> Shape:
        shape = self._operands()
        if not self._accept("?"):
            return shape
        yes = self._expression()
        self._expect(":")
        return _either(yes, self._expression())

    def _operands(self) -> Shape:
        """Operands joined by binary operators; which bind tighter does not matter for names."""
        shape = self._unary()
        while self._peek().kind != "string" and self._peek().text in _BINARY:
            sign = self._take().text
            right = self._unary()
            if sign == "in" and right in {Shape.STUDY, Shape.SERIES}:
                raise ExpressionError("use has(…) or == null to ask for an attribute, not 'in'")
            joined = sign == "+" and Shape.SERIES_LIST in {shape, right}
            shape = Shape.SERIES_LIST if joined else Shape.OTHER
        return shape

    def _unary(self) -> Shape:
        signs = 0
        while self._accept("!") or self._accept("-"):
            signs += 1
        shape = self._member()
        return Shape.OTHER if signs else shape

    def _member(self) -> Shape:
        shape = self._primary()
        while True:
            if self._accept("."):
                name = self._identifier()
                called = self._accept("(")
                shape = self._method(shape, name) if called else self._attribute(shape, name)
            elif self._accept("["):
                shape = self._index(shape)
            else:
                return shape

    def _primary(self) -> Shape:
        token = self._take()
        if token.kind in {"number", "string"} or token.text in {"true", "false", "null"}:
            return Shape.OTHER
        if token.kind == "name":
            return self._function(token.text) if self._accept("(") else self._variable(token.text)
        if token.text == "(":
            shape = self._expression()
            self._expect(")")
            return shape
        if token.text == "[":
            return self._list()
        if token.text == "{":
            return self._map()
        self._unexpected(token)
        return Shape.OTHER

    def _list(self) -> Shape:
        shapes = self._sequence("]")
        if shapes & {Shape.STUDY, Shape.SERIES_LIST}:
            raise ExpressionError("study and series cannot be elements of a list")
        return Shape.SERIES_LIST if Shape.SERIES in shapes else Shape.OTHER

    def _map(self) -> Shape:
        while not self._accept("}"):
            self._plain("a key of a map")
            self._expect(":")
            self._plain("a value of a map")
            if not self._accept(","):
                self._expect("}")
                break
        return Shape.OTHER

    def _sequence(self, closing: str) -> set[Shape]:
        shapes: set[Shape] = set()
        while not self._accept(closing):
            shapes.add(self._expression())
            if not self._accept(","):
                self._expect(closing)
                break
        return shapes

    def _plain(self, what: str) -> None:
        if self._expression() is not Shape.OTHER:
            raise ExpressionError(f"study, series and s cannot be {what}; name an attribute")

    # -- names -------------------------------------------------------------------------------

    def _variable(self, name: str) -> Shape:
        for bound, shape in reversed(self._bound):
            if bound == name:
                return shape
        if name in self._roots:
            self._variables.add(name)
            return self._roots[name]
        if name in TYPES:
            return Shape.OTHER
        if name == "s":
            raise ExpressionError(
                "'s' is known only in select and prefer, or where series.exists(s, …) and the "
                "like bind it"
            )
        known = frozenset(self._roots) | {bound for bound, _ in self._bound}
        raise ExpressionError(
            f"unknown name {name!r}{nearest(name, known)}; known: {', '.join(sorted(known))}"
        )

    def _attribute(self, shape: Shape, name: str) -> Shape:
        if shape is Shape.STUDY:
            check_keyword(name, STUDY_DERIVED)
            self._study.add(name)
        elif shape is Shape.SERIES:
            check_keyword(name, SERIES_DERIVED)
            self._series.add(name)
        elif shape is Shape.SERIES_LIST:
            raise ExpressionError(
                f"series is a list and has no {name!r}; write series.exists(s, s.{name} …)"
            )
        return Shape.OTHER

    def _index(self, shape: Shape) -> Shape:
        if shape in {Shape.STUDY, Shape.SERIES}:
            name = self._take().plain()
            if name is None:
                raise ExpressionError("name an attribute with a dot: s.Modality")
            self._expect("]")
            return self._attribute(shape, name)
        self._plain("an index")
        self._expect("]")
        return Shape.SERIES if shape is Shape.SERIES_LIST else Shape.OTHER

    def _function(self, name: str) -> Shape:
        _known_function(name)
        shapes = self._sequence(")")
        allowed = {Shape.OTHER, Shape.SERIES_LIST} if name == "size" else {Shape.OTHER}
        if shapes - allowed:
            raise ExpressionError(f"{name}(…) takes an attribute, not study or series")
        return Shape.OTHER

    def _method(self, shape: Shape, name: str) -> Shape:
        if name in MACROS:
            return self._macro(shape, name)
        _known_function(name)
        if shape is not Shape.OTHER and (shape, name) != (Shape.SERIES_LIST, "size"):
            raise ExpressionError(f"{name}() belongs to an attribute, not to study or series")
        if self._sequence(")") - {Shape.OTHER}:
            raise ExpressionError(f"{name}(…) takes an attribute, not study or series")
        return Shape.OTHER

    def _macro(self, shape: Shape, name: str) -> Shape:
        """``list.name(x, expression)``: ``x`` is an element of the list inside."""
        if shape in {Shape.STUDY, Shape.SERIES}:
            raise ExpressionError(f"{name}(…) belongs to a list, not to study or a series")
        element = Shape.SERIES if shape is Shape.SERIES_LIST else Shape.OTHER
        variable = self._identifier()
        self._expect(",")
        self._bound.append((variable, element))
        body = self._expression()
        if name == "map" and self._accept(","):
            body = self._expression()
        self._bound.pop()
        self._expect(")")
        if name == "filter":
            return shape
        if name != "map":
            return Shape.OTHER
        if body in {Shape.STUDY, Shape.SERIES_LIST}:
            raise ExpressionError("study and series cannot be elements of a list")
        return Shape.SERIES_LIST if body is Shape.SERIES else Shape.OTHER


def _either(yes: Shape, no: Shape) -> Shape:
    """The shape of ``c ? yes : no``; null or a plain value may stand on one side."""
    if yes is no or no is Shape.OTHER:
        return yes
    if yes is Shape.OTHER:
        return no
    raise ExpressionError("both sides of '?:' must be of one kind: study, a series or a list")


def _known_function(name: str) -> None:
    if name not in FUNCTIONS:
        hint = nearest(name, FUNCTIONS | MACROS)
        raise ExpressionError(f"unknown function {name!r}{hint}")
