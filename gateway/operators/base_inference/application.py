"""One run: load, pre-transforms, inference, post-transforms, write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gateway.operators.base_inference.catalogue import default_registry
from gateway.operators.base_inference.config import Config, load_config
from gateway.operators.base_inference.files import SourceFile, find_source, read_volume
from gateway.operators.base_inference.inferers import InferenceRun
from gateway.operators.base_inference.registry import Registry
from gateway.operators.base_inference.volume import Fields
from gateway.operators.base_inference.writers import MetaImageWriter, NiftiWriter, WriteRun
from gateway.operators.sdk import Context, OperatorError, UsageError

CONFIG_VARIABLE: Final = "BASE_INFERENCE_CONFIG"
CONFIG_FOLDERS: Final = ("app_base_inference/config", "config")
"""Below the working folder, the first that is there; Clara's images keep theirs in the first."""
IMAGE: Final = "image"
MODEL: Final = "model"
RECORD: Final = "inference.json"


class Application:
    """The operator; subclass it, or hand it a registry with your own names.

    `prepare`, `infer`, `finish` and `write` are the steps, each free to be overridden.
    """

    name = "Base Inference"
    version = "1.0.0"

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry or default_registry()

    def main(self, context: Context) -> None:
        """Run once; what `sdk.run` calls.

        Raises:
            UsageError, InputRefusedError, OperatorError: by the names of the package.
        """
        config = load_config(config_folder(context), self.registry)
        source = find_source(context.input())
        context.log.info("volume.chosen", series=source.series_uid, others=len(source.others))
        fields = Fields({"input": read_volume(source.path)})
        self.prepare(fields, config, context)
        self.infer(fields, config, context)
        self.finish(fields, config, context)
        written = self.write(fields, config, source, context)
        self._record(written, config, source, context.output())
        context.log.info("inference.done", files=len(written))

    def prepare(self, fields: Fields, config: Config, context: Context) -> None:
        """Apply the pre-transforms.

        Raises:
            UsageError: NO_IMAGE, none of them loads the field `image`.
        """
        _apply(fields, config.pre, context)
        if IMAGE not in list(fields):
            raise UsageError("NO_IMAGE", "no pre_transform loads the field 'image' (LoadNifti)")
        if not fields[IMAGE].channels_first:
            raise UsageError(
                "NO_CHANNELS", "no pre_transform makes channels first (ConvertToChannelsFirst)"
            )

    def infer(self, fields: Fields, config: Config, context: Context) -> None:
        """Ask the model; its answer becomes the field `model` on the image's grid."""
        image = fields[IMAGE]
        spec = config.loader[1].spec(context.environ)
        run = InferenceRun(image.values, config.spec, context.environ, context.log, spec)
        fields[MODEL] = image.with_values(config.inferer[1](run))

    def finish(self, fields: Fields, config: Config, context: Context) -> None:
        """Apply the post-transforms."""
        _apply(fields, config.post, context)

    def write(
        self, fields: Fields, config: Config, source: SourceFile, context: Context
    ) -> list[str]:
        """Write the output; return the names of the files.

        Without `writers` the field `model` is written in the input's format.
        """
        folder = context.output()
        folder.mkdir(parents=True, exist_ok=True)
        run = WriteRun(fields, folder, source.stem)
        writer = MetaImageWriter() if source.suffix == ".mhd" else NiftiWriter()
        chosen = [one for _, one in config.writers] or [writer]
        return [write(run) for write in chosen]

    def _record(self, written: list[str], config: Config, source: SourceFile, folder: Path) -> None:
        inferer = config.inferer[1]
        record = {
            "version": 1,
            "algorithm": {"name": self.name, "version": self.version},
            "model": getattr(inferer, "model_name", "") or config.spec.model_name,
            "source": {
                "study_instance_uid": source.study_uid,
                "series_instance_uid": source.series_uid,
                "volume": source.path.name,
            },
            "not_used": list(source.others),
            "files": written,
        }
        part = folder / f".{RECORD}.part"
        part.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
        part.replace(folder / RECORD)


def _apply(fields: Fields, steps: tuple[tuple[str, Any], ...], context: Context) -> None:
    for name, step in steps:
        transform: Callable[[Fields], None] = step
        try:
            transform(fields)
        except OperatorError:
            context.log.failure("transform.failed", transform=name)
            raise
        context.log.info("transform.done", transform=name)


def config_folder(context: Context) -> Path:
    """Return the folder of the configuration: `--config`, the variable, or the usual places.

    Raises:
        UsageError: NO_CONFIG.
    """
    given = getattr(context.options, "config", None) or context.environ.get(CONFIG_VARIABLE)
    if given:
        return Path(given)
    for name in CONFIG_FOLDERS:
        if Path(name).is_dir():
            return Path(name)
    raise UsageError(
        "NO_CONFIG", f"say --config or {CONFIG_VARIABLE}: the folder of config_inference.json"
    )
