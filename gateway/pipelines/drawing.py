"""The graph of a definition as a picture: SVG, a column for each step, written without a library.

Folders are drawn as plain lines, data in shared memory as dashed ones; a line's title names the
output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from gateway.pipelines.graph import levels
from gateway.pipelines.model import Definition, Operator

_HEIGHT = 44
_ROW = 78
_GAP = 96
_CHARACTER = 7.2
_MARGIN = 24
_LETTERS = 40
"""Most letters of a name that are shown."""
_PAYLOAD = "payload input"
_SVG = "http://www.w3.org/2000/svg"
_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="#55697c"/></marker></defs>'
)

_STYLE = """\
  .box { fill: #eef3f8; stroke: #35526e; stroke-width: 1.2 }
  .payload { fill: #f7f2e6; stroke: #7a6226 }
  .edge { fill: none; stroke: #55697c; stroke-width: 1.3; marker-end: url(#tip) }
  .data { stroke-dasharray: 6 4 }
  text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #1c2733 }
  .small { font-size: 10px; fill: #55697c }
  .title { font-size: 14px; font-weight: bold }
  @media (prefers-color-scheme: dark) {
    .box { fill: #22313f; stroke: #86a9c9 } .payload { fill: #3a3320; stroke: #c9a94f }
    .edge { stroke: #9db1c4 } text { fill: #e6edf3 } .small { fill: #9db1c4 }
  }
"""


@dataclass(frozen=True)
class _Box:
    """Where an operator, or the payload, is drawn."""

    x: float
    y: float
    width: float

    @property
    def entry(self) -> tuple[float, float]:
        return self.x, self.y + _HEIGHT / 2

    @property
    def exit(self) -> tuple[float, float]:
        return self.x + self.width, self.y + _HEIGHT / 2


@dataclass(frozen=True)
class _Edge:
    source: str | None
    target: str
    label: str
    data: bool


def svg(definition: Definition) -> str:
    """The whole picture as one document."""
    boxes = _boxes(definition)
    width = max(box.x + box.width for box in boxes.values()) + _MARGIN
    height = max(box.y for box in boxes.values()) + _HEIGHT + _MARGIN
    title = escape(f"{definition.name} (api-version {definition.api_version})")
    lines = [
        f'<svg xmlns="{_SVG}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}">',
        f"<title>{title}</title>",
        f"<style>\n{_STYLE}</style>",
        _TIP,
        f'<text class="title" x="{_MARGIN}" y="{_MARGIN + 4}">{title}</text>',
        *(_line(boxes, edge) for edge in _edges(definition)),
        *_shapes(definition, boxes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _boxes(definition: Definition) -> dict[str | None, _Box]:
    """Places, by operator; None is the payload, at the left."""
    columns: list[list[str | None]] = [[None]]
    columns += [list(level) for level in levels(definition)]
    tallest = max(map(len, columns))
    x: float = _MARGIN
    boxes: dict[str | None, _Box] = {}
    for column in columns:
        wide = max(len(_shown(name or _PAYLOAD)) for name in column) * _CHARACTER + 28
        top = 2 * _MARGIN + (tallest - len(column)) * _ROW / 2
        for row, name in enumerate(column):
            boxes[name] = _Box(x, top + row * _ROW, wide)
        x += wide + _GAP
    return boxes


def _edges(definition: Definition) -> Iterator[_Edge]:
    for operator in definition.operators:
        for item in operator.inputs:
            yield _Edge(item.source, operator.name, item.name or item.path, data=False)
        for data in operator.data_inputs:
            yield _Edge(data.source, operator.name, f"{data.name}: {data.cells}", data=True)


def _line(boxes: dict[str | None, _Box], edge: _Edge) -> str:
    x1, y1 = boxes[edge.source].exit
    x2, y2 = boxes[edge.target].entry
    bend = max(30.0, (x2 - x1) / 2)
    way = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    kind = "edge data" if edge.data else "edge"
    return f'<path class="{kind}" d="{way}"><title>{escape(edge.label)}</title></path>'


def _shapes(definition: Definition, boxes: dict[str | None, _Box]) -> Iterator[str]:
    yield from _shape(boxes[None], _PAYLOAD, "", "box payload")
    for operator in definition.operators:
        yield from _shape(boxes[operator.name], operator.name, _needs(operator), "box")


def _shape(box: _Box, name: str, below: str, kind: str) -> Iterator[str]:
    yield (
        f'<rect class="{kind}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{_HEIGHT}" rx="7"/>'
    )
    middle = box.x + box.width / 2
    y = box.y + (19 if below else 27)
    yield f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle">{escape(_shown(name))}</text>'
    if below:
        yield (
            f'<text class="small" x="{middle:.1f}" y="{box.y + 34:.1f}" text-anchor="middle">'
            f"{escape(below)}</text>"
        )


def _needs(operator: Operator) -> str:
    wanted = operator.requests
    words = [f"{wanted.cpu:g} cpu", f"{wanted.memory} MB"]
    return ", ".join(words + ([f"{wanted.gpu} gpu"] if wanted.gpu else []))


def _shown(name: str) -> str:
    return name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
