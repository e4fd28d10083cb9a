"""A JSON Schema of the language, for editors, made from the tables that the parser uses.

It describes a definition as it is written: imports and parameters of operators included, a
placeholder allowed in every text.  What needs the whole document (references, types that fit,
cycles) it does not tell; the parser does.
"""

from __future__ import annotations

import json
from typing import Any

from gateway.pipelines.shape import ImportShape, ParametersShape, PipelineShape
from gateway.pipelines.versions import SUPPORTED
from gateway.pipelines.words import PLACEHOLDER

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The whole schema; its references are inside it."""
    made = PipelineShape.model_json_schema(by_alias=True)
    imports = ImportShape.model_json_schema(by_alias=True)
    parameters = ParametersShape.model_json_schema(by_alias=True)
    made["properties"]["api-version"] |= {"enum": list(SUPPORTED)}
    shapes = made["$defs"]
    shapes["ImportShape"] = imports
    shapes["OperatorShape"]["properties"] |= parameters["properties"]
    for name, kind in (("Operator", "operators"), ("Service", "services")):
        shapes[f"Imported{name}"] = _imported(shapes[f"{name}Shape"], name)
        owner = made if kind == "operators" else shapes["OperatorShape"]
        owner["properties"][kind]["items"] = {
            "if": {"required": ["import"]},
            "then": {"$ref": f"#/$defs/Imported{name}"},
            "else": {"$ref": f"#/$defs/{name}Shape"},
        }
    _tidied(made)
    return {
        "$schema": _DRAFT,
        "title": "Pipeline definition",
        **{key: value for key, value in made.items() if key != "$defs"},
        "$defs": dict(sorted(shapes.items())),
    }


def text() -> str:
    """The schema as the published file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _imported(shape: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": f"{name} that stands in a file of its own.",
        "additionalProperties": False,
        "required": ["import"],
        "properties": {
            "api-version": shape["properties"]["api-version"],
            "name": {**shape["properties"]["name"], "description": "A local name."},
            "import": {"$ref": "#/$defs/ImportShape"},
        },
    }


def _tidied(node: Any) -> None:
    """Take out titles that repeat a key's name, and say of a mapping's keys what they may be."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        for pattern, inner in node.pop("patternProperties", {}).items():
            # A key is never filled in, so it holds no placeholder.
            node["propertyNames"] = {"pattern": pattern.removesuffix(PLACEHOLDER)}
            node["additionalProperties"] = inner
        for value in node.values():
            _tidied(value)
    elif isinstance(node, list):
        for value in node:
            _tidied(value)
