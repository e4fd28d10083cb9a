"""Types of inputs and outputs (0.5.0): what each needs, and what fits what."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.document import Document, Fault, Key
from gateway.pipelines import cells
from gateway.pipelines.cells import Cells
from gateway.pipelines.shape import InputShape, OutputShape, PipelineShape
from gateway.pipelines.versions import TYPED, at_least

_TYPE_KEYS = ("type", "element-type", "format", "shape")


def a(kind: str | None) -> str:
    """A type with its article, for a sentence."""
    return f"{'an' if str(kind)[0] in 'ai' else 'a'} {kind}"


def is_data(item: InputShape | OutputShape) -> bool:
    """True when the item's own words say that it goes through shared memory."""
    return item.type not in (None, cells.STREAM)


def word(item: InputShape | OutputShape) -> str | None:
    """What a stream holds, in the definition's word; None = it does not say."""
    return item.element_type or item.format


def cells_of(item: InputShape | OutputShape) -> Cells | None:
    """The array that the item stands for; None for a stream and for what is faulty."""
    if not is_data(item) or item.type is None:
        return None
    name = cells.element(item.element_type or "")
    if item.type == cells.ARRAY and (name is None or item.shape is None):
        return None
    return cells.cells(item.type, name, item.shape)


def faults(
    document: Document, shape: PipelineShape, item: InputShape | OutputShape, at: Key
) -> Iterator[Fault]:
    """What is wrong with the keys of one input or output, taken together."""
    if not at_least(shape.api_version, TYPED):
        message = f"needs api-version {TYPED} or later; the pipeline says {shape.api_version}"
        for key in _given(item):
            yield document.fault((*at, key), message)
        if item.path is None:
            yield document.fault((*at, "path"), "is required")
        return
    if isinstance(item, OutputShape) and item.name is None:
        yield document.fault((*at, "name"), f"is required from api-version {TYPED}")
    if is_data(item):
        yield from _data(document, shape, item, at)
    else:
        yield from _stream(document, item, at)


def _given(item: InputShape | OutputShape) -> list[str]:
    values = (item.type, item.element_type, item.format, item.shape)
    return [key for key, value in zip(_TYPE_KEYS, values, strict=True) if value is not None]


def _data(
    document: Document, shape: PipelineShape, item: InputShape | OutputShape, at: Key
) -> Iterator[Fault]:
    def refused(key: str, why: str) -> Fault:
        return document.fault((*at, key), why)

    if item.path is not None:
        yield refused("path", f"is for streams; {a(item.type)} goes through shared memory")
    if item.format is not None:
        yield refused("format", f"is for streams, not for {a(item.type)}")
    if isinstance(item, InputShape) and item.source is None:
        yield refused("from", f"is required: {a(item.type)} comes from an operator")
    if shape.orchestrator == "Argo":
        yield refused("type", f"Argo has no shared memory: {item.type} needs orchestrator Clara")
    if item.type == cells.ARRAY:
        yield from _array(document, item, at)
        return
    for key, value in (("element-type", item.element_type), ("shape", item.shape)):
        if value is not None:
            yield refused(key, f"is for arrays; {a(item.type)} has none")


def _array(document: Document, item: InputShape | OutputShape, at: Key) -> Iterator[Fault]:
    known = cells.element(item.element_type or "")
    if item.element_type is None:
        message = f"is required for an array: {cells.primitives()}"
        yield document.fault((*at, "element-type"), message)
    elif known is None:
        message = f"{item.element_type[:80]!r} is no element of an array; {cells.primitives()}"
        yield document.fault((*at, "element-type"), message)
    if item.shape is None:
        yield document.fault((*at, "shape"), "is required for an array: [3, -1], -1 = any size")
    size = None if (made := cells_of(item)) is None else made.size
    if size is not None and size > cells.MAX_BYTES:
        message = f"the array has {size} bytes, at most {cells.MAX_BYTES} are allowed"
        yield document.fault((*at, "shape"), message)


def _stream(document: Document, item: InputShape | OutputShape, at: Key) -> Iterator[Fault]:
    if item.path is None and not (isinstance(item, InputShape) and _takes_type(item)):
        yield document.fault((*at, "path"), "is required for a stream")
    if item.shape is not None:
        yield document.fault((*at, "shape"), "is for arrays; a stream has none")
    if item.element_type is not None and item.format is not None:
        message = "says the same as element-type; give one of them"
        yield document.fault((*at, "format"), message)
    if item.type == cells.STREAM and isinstance(item, OutputShape) and word(item) is None:
        message = "is required for a stream: any word for what its files are (or format)"
        yield document.fault((*at, "element-type"), message)


def _takes_type(item: InputShape) -> bool:
    """True for an input whose type, and so its need of a path, is that of the output it reads."""
    return item.type is None and item.source is not None


def mismatch(
    document: Document, item: InputShape, output: OutputShape, upstream: str, at: Key
) -> Iterator[Fault]:
    """What keeps ``item`` from reading ``output`` of the operator ``upstream``."""
    name = f"output {output.name!r} of {upstream!r}" if output.name else f"output of {upstream!r}"
    given, wanted = cells_of(output), cells_of(item)
    if is_data(output):
        if item.type is None and item.path is not None:
            message = f"the {name} is {a(output.type)} in shared memory and has no path"
            yield document.fault((*at, "path"), message)
        elif item.type == cells.STREAM:
            message = f"the {name} is {a(output.type)}, not a stream"
            yield document.fault((*at, "type"), message)
        elif given is not None and wanted is not None:
            yield from _unlike(document, item, (given, wanted), name, at)
    elif is_data(item):
        yield document.fault((*at, "type"), f"the {name} is a stream, not {a(item.type)}")
    else:
        yield from _streams(document, item, output, name, at)


def _unlike(
    document: Document, item: InputShape, pair: tuple[Cells, Cells], name: str, at: Key
) -> Iterator[Fault]:
    given, wanted = pair
    why = cells.mismatch(given, wanted)
    if why is None:
        return
    key = "element-type" if given.element != wanted.element else "shape"
    if item.type != cells.ARRAY:  # a string and a primitive have neither key
        key = "type"
    yield document.fault((*at, key), f"the {name}: {why}")


def _streams(
    document: Document, item: InputShape, output: OutputShape, name: str, at: Key
) -> Iterator[Fault]:
    if item.path is None and _takes_type(item):
        yield document.fault((*at, "path"), "is required for a stream")
    given, wanted = word(output), word(item)
    if given and wanted and given.lower() != wanted.lower():
        key = "element-type" if item.element_type else "format"
        yield document.fault((*at, key), f"the {name} holds {given!r}, not {wanted!r}")
