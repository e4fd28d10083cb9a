"""Blocks of the names that a configuration of base-inference may use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reference.words import code, table


def base_inference() -> str:
    """Every component with its arguments, by group."""
    from gateway.operators.base_inference.catalogue import default_registry
    from gateway.operators.base_inference.registry import GROUPS

    registry = default_registry()
    parts = []
    for group in GROUPS:
        rows = [
            [code(one.name), one.note, "<br>".join(_argument(a) for a in one.arguments) or "none"]
            for one in registry.components(group)
        ]
        parts.append(f"### {group}\n\n" + table(("name", "what it does", "arguments"), rows))
    return "\n".join(parts)


def base_inference_files() -> str:
    """The keys of both files."""
    from gateway.operators.base_inference import config

    keys = ", ".join(code(key) for key in config.KEYS)
    ignored = ", ".join(code(key) for key in config.IGNORED)
    rows = [
        [code(one.name), one.kind.allowed, code(_shown(one.default))] for one in config.MODEL_KEYS
    ]
    return (
        f"`{config.INFERENCE_FILE}` holds {keys}; accepted without effect, because they are of "
        f"training: {ignored}.\n\n`{config.MODEL_FILE}`:\n\n"
        + table(("key", "allowed", "default"), rows)
    )


def _argument(argument: Any) -> str:
    from gateway.operators.base_inference.arguments import REQUIRED

    must = argument.default is REQUIRED
    rest = "must be given" if must else f"default {code(_shown(argument.default))}"
    return f"{code(argument.name)}: {argument.kind.allowed}; {rest}"


def _shown(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = list(value)
    return json.dumps(value)
