"""A definition written anew: checked, and with its imports put in place if wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from gateway.config import document as yaml_document
from gateway.pipelines.parse import expanded, parse

_FOLDED = "\x85\u2028\u2029"
"""Line breaks beyond ASCII: the library writes them as they are and reads them as blanks."""


def compiled(
    text: str,
    file: str,
    files: Mapping[str, str] | None = None,
    *,
    resolve_imports: bool = False,
    host_volumes: Sequence[str] | None = None,
) -> str:
    """The definition as plain YAML: no anchors, no comments, keys in their order.

    ``resolve_imports`` replaces each import by the operator of its file, and operators' parameters
    by their values; placeholders of the definition's own parameters stay.  Raises
    :class:`~gateway.config.document.ConfigError` with every fault.
    """
    parse(text, file, files, host_volumes=host_volumes)
    whole = expanded(text, file, files) if resolve_imports else yaml_document.parse(text, file)
    return dumped(whole.data)


def dumped(data: Any) -> str:
    """``data`` as YAML that reads the same again, in UTF-8."""
    return yaml.dump(
        data, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )


class _PlainDumper(yaml.SafeDumper):
    """Writes a value that stands in several places out in each, and odd line breaks as escapes."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the dumper's own signature
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """A text; one with a line break that YAML would fold is put in double quotes."""
        style = '"' if any(c in data for c in _FOLDED) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_PlainDumper.add_representer(str, _PlainDumper.represent_text)
