"""A definition put together from several files, whose faults still name file and line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config.document import Document, Fault, Key


@dataclass(frozen=True)
class Part:
    """An imported document and the key at which it stands.

    ``kept`` are the keys that the importing document gave itself, the local name say.
    """

    at: Key
    document: Document
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Composed(Document):
    """A document with others put in; its data holds theirs."""

    parts: tuple[Part, ...] = ()

    def line(self, key: Sequence[str | int]) -> int | None:
        """Line of ``key`` in the file in which it stands."""
        document, inner = self._home(key)
        return super().line(key) if document is self else document.line(inner)

    def fault(self, key: Sequence[str | int], message: str) -> Fault:
        """Make a fault in the file in which ``key`` stands."""
        document, inner = self._home(key)
        return super().fault(key, message) if document is self else document.fault(inner, message)

    def file_of(self, key: Sequence[str | int]) -> str:
        """Name of the file in which ``key`` stands."""
        document, inner = self._home(key)
        if document is not self and isinstance(document, Composed):
            return document.file_of(inner)
        return document.file

    def _home(self, key: Sequence[str | int]) -> tuple[Document, Key]:
        path = tuple(key)
        for part in self.parts:
            size = len(part.at)
            if path[:size] == part.at and (len(path) == size or path[size] not in part.kept):
                return part.document, path[size:]
        return self, path


def place(document: Document, key: Sequence[str | int]) -> str:
    """Where ``key`` stands, for a fault somewhere else: ``line 7``, or with the file's name."""
    line = f"line {document.line(key)}"
    if isinstance(document, Composed) and document.parts:
        return f"{line} of {document.file_of(key)}"
    return line
