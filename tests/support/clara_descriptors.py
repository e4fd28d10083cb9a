"""Prints what the named generated modules put on the wire, as JSON.

usage: clara_descriptors.py MODULE…      (runs in the gateway's and in the client's environment)
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from google.protobuf import descriptor_pb2

NAMES = ("common", "clara", "jobs", "models", "payloads", "pipelines", "metrics")


def _message(message: Any) -> dict[str, Any]:
    return {
        "fields": sorted([f.name, f.number, f.type, f.label, f.type_name] for f in message.field),
        "messages": {nested.name: _message(nested) for nested in message.nested_type},
        "enums": _enums(message.enum_type),
    }


def _enums(enums: Any) -> dict[str, Any]:
    return {enum.name: {value.name: value.number for value in enum.value} for enum in enums}


def described(package: str) -> dict[str, Any]:
    """Every file of ``package``: messages, fields, enumerations, services."""
    found = {}
    for name in NAMES:
        file = descriptor_pb2.FileDescriptorProto()
        importlib.import_module(f"{package}.{name}_pb2").DESCRIPTOR.CopyToProto(file)
        found[file.name] = {
            "package": file.package,
            "messages": {message.name: _message(message) for message in file.message_type},
            "enums": _enums(file.enum_type),
            "services": {
                service.name: sorted(
                    [m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming]
                    for m in service.method
                )
                for service in file.service
            },
        }
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(described(sys.argv[1])))
