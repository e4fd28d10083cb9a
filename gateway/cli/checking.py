"""Checking every configuration file together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.config import applications, settings
from gateway.config.applications import AeConfig
from gateway.config.document import ConfigError, Fault
from gateway.pipelines.folder import definitions
from gateway.pipelines.parse import parse
from gateway.routing.checks import check_rule


def check_all(config_file: Path | None) -> list[str]:
    """Check settings, AE configuration and pipelines; one line about each.

    Raises :class:`ConfigError` with every fault of all of them; settings come first, because the
    rest is found through them.
    """
    found = settings.load(config_file)
    faults: list[Fault] = []
    ae_config: AeConfig | None = None
    try:
        ae_config = applications.load(found.ae_config, check_rule)
    except ConfigError as error:
        faults += error.faults
    names, pipeline_faults = _pipelines(found.pipelines, found.host_volumes)
    faults += pipeline_faults
    if ae_config is not None:
        faults += _unknown_pipelines(found.ae_config, ae_config, names)
    if faults or ae_config is None:
        raise ConfigError(faults)
    rules = sum(len(a.rules) for a in ae_config.applications)
    counts = (
        f"{len(ae_config.applications)} applications, {rules} rules, "
        f"{len(ae_config.sources)} sources, {len(ae_config.destinations)} destinations"
    )
    return [
        "settings: good",
        f"ae_config: good, {counts}",
        f"pipelines: good, {len(names)}: {', '.join(sorted(names)) or 'none'}",
    ]


def _pipelines(folder: Path, host_volumes: Sequence[str]) -> tuple[set[str], list[Fault]]:
    names: set[str] = set()
    written, unreadable = definitions(folder)
    faults = list(unreadable)
    for one in written:
        try:
            names.add(parse(one.text, one.file, one.files, host_volumes=host_volumes).name.lower())
        except ConfigError as error:
            faults += error.faults
    return names, faults


def _unknown_pipelines(folder: Path, ae_config: AeConfig, names: set[str]) -> list[Fault]:
    known = ", ".join(sorted(names)) or "none"
    return [
        Fault(
            str(folder),
            None,
            f"{application.ae_title}: rule {rule.name!r}",
            f"no file defines the pipeline {rule.pipeline!r}; known: {known}",
        )
        for application in ae_config.applications
        for rule in application.rules
        if rule.pipeline.lower() not in names
    ]
