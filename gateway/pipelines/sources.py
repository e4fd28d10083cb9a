"""The files of one pipeline: the definition and the operators it imports.

They are registered together, so an import is looked up among them and never on a disk.  Only
:func:`gather`, for people who have a folder, reads one; it leaves that folder for nothing.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.config import document as yaml_document
from gateway.config.document import MAX_BYTES, ConfigError, Document, Fault

MAX_FILES = 200
"""Most files that may be registered with one definition."""


class NotFoundError(ValueError):
    """An import that names no file; the message says which there are."""


class Sources:
    """The texts that imports are looked up in; immutable.

    ``files`` maps names to texts; a name is relative to the definition's folder, or as the
    definition's own name is.  Raises :class:`ConfigError` above the limits.
    """

    def __init__(self, file: str, files: Mapping[str, str] | None = None) -> None:
        given = dict(files or {})
        if len(given) > MAX_FILES:
            message = f"{len(given)} files come with it, at most {MAX_FILES} are taken"
            raise ConfigError([Fault(file, None, "", message)])
        if sum(map(len, given.values())) > MAX_BYTES:
            message = f"the files that come with it are larger than {MAX_BYTES} characters"
            raise ConfigError([Fault(file, None, "", message)])
        self._folder = posixpath.dirname(plain(file))
        self._files = {plain(name): (name, text) for name, text in given.items()}
        self._documents: dict[str, Document] = {}

    def find(self, importer: str, path: str) -> tuple[str, Document]:
        """Plain name and document of what ``importer`` (plain name, or a file's) calls ``path``.

        Raises :class:`NotFoundError` when there is none, :class:`ConfigError` when it is no YAML.
        """
        check(path)
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(plain(importer)), path))
        for name in (beside, posixpath.normpath(path)):
            if name in self._files:
                return name, self._document(name)
        if posixpath.normpath(path).startswith(".."):
            raise NotFoundError(f"{path!r} leads out of the definition's folder")
        known = ", ".join(sorted(map(self.shown, self._files))) or "none"
        raise NotFoundError(f"no file {path!r} was given with the definition; given: {known}")

    def _document(self, name: str) -> Document:
        if name not in self._documents:
            shown, text = self._files[name]
            self._documents[name] = yaml_document.parse(text, shown)
        return self._documents[name]

    def shown(self, name: str) -> str:
        """A plain name as people know it: relative to the definition's folder."""
        return name.removeprefix(f"{self._folder}/") if self._folder else name


def plain(name: str) -> str:
    """A file's name without ``.``, doubled slashes and a slash in front."""
    return posixpath.normpath(name.replace("\\", "/")).lstrip("/")


def check(path: str) -> None:
    """Raise :class:`NotFoundError` unless ``path`` is a plain relative path."""
    if "${{" in path:
        raise NotFoundError("must be a path without placeholders")
    if (
        path.startswith("/")
        or re.search(r"[\x00-\x1f\x7f\\]", path)
        or re.match(r"[A-Za-z]:", path)
    ):
        raise NotFoundError(
            f"{path[:80]!r} must be relative, with /, without control characters and drive"
        )


def gather(file: Path, text: str) -> dict[str, str]:
    """Texts of all files that ``text`` imports from below the folder of ``file``, by their names.

    What is missing, unreadable or elsewhere is left out: expanding the imports says so, with its
    line.  Raises :class:`ConfigError` above the limits.
    """
    root = file.parent
    found: dict[str, str] = {}
    todo = [(PurePosixPath(), text)]
    while todo:
        folder, current = todo.pop()
        for path in _imports(current, str(file)):
            name = posixpath.normpath(folder / path)
            shown = str(root / name)
            content = None if shown in found else _read(root, name)
            if content is not None:
                found[shown] = content
                todo.append((PurePosixPath(name).parent, content))
        Sources(str(file), found)
    return found


def _read(root: Path, name: str) -> str | None:
    try:
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root.resolve()) or not path.is_file():
            return None
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        return raw.decode()
    except (OSError, ValueError, RuntimeError):
        return None


def _imports(text: str, file: str) -> Iterator[str]:
    """Paths that a document imports, as far as it can be read."""
    try:
        data = yaml_document.parse(text, file).data
    except ConfigError:
        return
    for item in _entries(data):
        given = item.get("import")
        path = given.get("path") if isinstance(given, dict) else None
        if not isinstance(path, str):
            continue
        try:
            check(path)
        except NotFoundError:
            continue
        yield path


def _entries(data: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in which an import may stand: the document, its operators, their services."""
    if not isinstance(data, dict):
        return
    yield data
    for key in ("operators", "services"):
        items = data.get(key)
        for item in items if isinstance(items, list) else []:
            yield from _entries(item)
