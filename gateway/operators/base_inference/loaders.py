"""Model loaders: they read the file beside the model; the inferer checks the server against it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.operators.sdk import UsageError

PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
SPEC_LIMIT: Final = 1 << 20


class TritonModelLoader:
    """Let the server hold the model; a `config.pbtxt`, where one is named, must agree with it.

    `{NAME}` in the file's name is the environment variable of that name; where that is not set
    (as `{PBTXT_PATH}` in configurations that came from training) the server alone is asked.
    """

    def __init__(self, model_spec_file_name: str | None = None) -> None:
        self.file = model_spec_file_name

    def spec(self, environ: Mapping[str, str]) -> Mapping[str, Any] | None:
        """Return what the file says of the model, None without a file.

        Raises:
            UsageError: BAD_MODEL_SPEC, the file is not there or is no model configuration.
        """
        path = self._path(environ)
        return None if path is None else _read(path)

    def _path(self, environ: Mapping[str, str]) -> Path | None:
        if not self.file:
            return None
        names = PLACEHOLDER.findall(self.file)
        if any(not environ.get(name) for name in names):
            return None
        return Path(PLACEHOLDER.sub(lambda match: environ[match[1]], self.file))


def _read(path: Path) -> Mapping[str, Any]:
    """Read a `config.pbtxt`: the protocol buffer text of Triton's ModelConfig."""
    try:
        from google.protobuf import json_format, text_format
        from tritonclient.grpc import model_config_pb2
    except ImportError as error:
        raise UsageError(
            "NO_GRPC_CLIENT", "reading a model_spec_file_name needs gateway[triton]"
        ) from error
    try:
        if path.stat().st_size > SPEC_LIMIT:
            raise UsageError("BAD_MODEL_SPEC", "the model_spec_file_name is too big")
        message = text_format.Parse(path.read_text("utf-8"), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise UsageError(
            "BAD_MODEL_SPEC",
            f"{os.fspath(path)!r} is no readable config.pbtxt ({type(error).__name__})",
        ) from error
    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found
