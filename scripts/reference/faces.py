"""Blocks of the gateway's faces: command line, REST, metrics, events, exit codes."""

from __future__ import annotations

import inspect
import itertools
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import typer
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from reference.words import code, fence, table


def cli() -> str:
    """Every command with its help, from the program itself."""
    from gateway.cli.main import app

    command = typer.main.get_command(app)
    return "\n".join(_commands(command, "gateway"))


def _commands(command: Any, name: str) -> Iterator[str]:
    """One command, or those below it; programs found on PATH are none of ours."""
    below = getattr(command, "commands", {})
    if not below:
        with typer.Context(command, info_name=name, terminal_width=90) as context:
            # Click's mark before text that keeps its lines.
            text, _, kept = inspect.cleandoc(command.help or "").partition("\n\n\b\n")
            yield f"## {name}\n\n{text}\n"
            parameters = "\n".join(_parameters(command, context))
            yield fence(f"{parameters}\n\n{kept}" if kept else parameters)
    for sub, found in below.items():
        if not found.hidden:
            yield from _commands(found, f"{name} {sub}")


def _parameters(command: Any, context: Any) -> Iterator[str]:
    usage = " ".join(command.get_usage(context).split())
    yield usage.removeprefix("Usage: ")
    for parameter in command.params:
        shown = parameter.get_help_record(context)
        if shown is not None:
            names, text = shown
            lines = textwrap.wrap(text, 66) or [""]
            if len(names) > 26:
                yield f"  {names}"
                names = ""
            yield f"  {names:<26} {lines[0]}".rstrip()
            yield from (f"{' ' * 29}{line}" for line in lines[1:])


def rest() -> str:
    """Every route, from the OpenAPI description that the gateway serves."""
    from gateway.config.http import HttpSettings
    from gateway.web.application import create_app
    from gateway.web.services import Services

    # The description needs no services, only the version that stands in it.
    given = SimpleNamespace(version="0", database=None, http=HttpSettings(), console=Path())
    services = cast("Services", given)
    schema = create_app(services).openapi()
    rows = []
    for path, methods in sorted(schema["paths"].items()):
        for method, operation in methods.items():
            query = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
            text = operation.get("description", "").splitlines()[0]
            rows.append([method.upper(), code(path), text, ", ".join(map(code, query))])
    return table(("method", "path", "what it does", "query"), rows)


def _families(*collectors: Collector) -> Iterator[Metric]:
    return itertools.chain.from_iterable(each.collect() for each in collectors)


def metrics() -> str:
    """Every metric family, from a collector over an empty database."""
    from gateway.config.live import LiveAeConfig
    from gateway.config.settings import StorageSettings
    from gateway.database.engine import Database, sqlite_url
    from gateway.monitor.condition_metrics import ConditionCollector
    from gateway.monitor.machine_metrics import MachineCollector
    from gateway.monitor.metrics import GatewayCollector
    from gateway.monitor.sampler import Machine
    from gateway.monitor.waiting_metrics import WaitingCollector

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Database(sqlite_url(folder / "gateway.db"))
        database.create()
        live = LiveAeConfig(folder)
        records = GatewayCollector(database, live, folder)
        waiting = WaitingCollector(database, live)
        conditions = ConditionCollector(database, StorageSettings(), {})
        machine = MachineCollector(Machine, folder)
        rows = []
        for family in _families(records, waiting, conditions, machine):
            labels = ", ".join(code(label) for label in getattr(family, "_labelnames", ()))
            full = family.name + ("_total" if family.type == "counter" else "")
            rows.append([code(full), family.type, labels, family.documentation])
        database.close()
    return table(("metric", "type", "labels", "meaning"), rows)
