"""Blocks of states, statuses, codes, operators and folders."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from reference.words import attribute_docs, code, fence, meanings, prose, table


def events() -> str:
    """Every kind of event with its topic."""
    from gateway.events.record import Kind

    text = meanings("events", [kind.value for kind in Kind])
    return table(
        ("kind", "topic", "meaning"),
        ([code(k), code(f"<prefix>/{k}"), text[k.value]] for k in Kind),
    )


def states() -> str:
    """Every state machine as a picture and a table."""
    from gateway.delivery import states as circuits
    from gateway.jobs import states as jobs
    from gateway.payloads import states as payloads
    from gateway.results import states as results

    job = {key: step.to for key, step in jobs.JOB_TABLE.items()}
    operator = {key: step.to for key, step in jobs.OPERATOR_TABLE.items()}
    return "\n".join(
        (
            _machine("Payload", payloads.TRANSITIONS),
            _machine("Job", job, attribute_docs(jobs, "JobEvent"), jobs.JobEvent),
            _machine("Operator", operator),
            _machine("Result", results.TRANSITIONS, attribute_docs(results, "Event"),
                     results.Event),
            _machine("Circuit of a destination", circuits.CIRCUIT,
                     attribute_docs(circuits, "Signal"), circuits.Signal),
            _members("States of a result", results, results.State),
            _members("States of one file of a result", results, results.FileState),
        )
    )  # fmt: skip


def _machine(
    title: str,
    moves: Mapping[tuple[Any, Any], Any],
    docs: Mapping[str, str] | None = None,
    events: Iterable[Enum] = (),
) -> str:
    lines = ["stateDiagram-v2"]
    lines += [f"    {_plain(a)} --> {_plain(b)}: {event}" for (a, event), b in moves.items()]
    rows = [[code(a), code(event), code(b)] for (a, event), b in moves.items()]
    text = f"## {title}\n\n{fence(chr(10).join(lines), 'mermaid')}\n"
    text += table(("state", "event", "then"), rows)
    if docs:
        known = [[code(e.value), prose(docs[e.name])] for e in events if e.name in docs]
        text += "\n" + table(("event", "meaning"), known)
    return text


def _plain(state: object) -> str:
    return str(state).replace("/", "_")


def _members(title: str, module: ModuleType, kind: type[Enum]) -> str:
    docs = attribute_docs(module, kind.__name__)
    rows = [[code(member.value), prose(docs[member.name])] for member in kind]
    return f"## {title}\n\n" + table(("state", "meaning"), rows)


def exit_codes() -> str:
    """The exit codes of the command line, as its module tells them."""
    from gateway.cli import errors

    document = inspect.getdoc(errors) or ""
    found = re.findall(r"^\s+(\d+)\s{2}(.+)$", document, re.MULTILINE)
    return table(("code", "meaning"), [[code(n), text] for n, text in found])


def operator_exit_codes() -> str:
    """The exit codes of operators made with the SDK."""
    from gateway.operators.sdk.errors import ExitCode

    text = meanings("operator-exit-codes", [str(c.value) for c in ExitCode])
    return table(
        ("code", "name", "meaning"),
        ([code(c.value), code(c.name), text[str(c.value)]] for c in ExitCode),
    )


def statuses() -> str:
    """C-STORE statuses that the gateway answers."""
    from gateway.payloads.receiving import Status

    text = meanings("statuses", [f"{status.value:04X}" for status in Status])
    rows = [[code(f"{s.value:04X}H"), s.name, text[f"{s.value:04X}"]] for s in Status]
    return table(("status", "name", "when"), rows)


def verdicts() -> str:
    """What delivery makes of each status of a destination."""
    from gateway.delivery import agent
    from gateway.delivery.statuses import verdict, words

    docs = attribute_docs(agent, "Verdict")
    asked = (
        0x0000, 0x0001, 0x0107, 0x0110, 0x0111, 0x0116, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211,
        0x0212, 0x0213, 0xA700, 0xA900, 0xB000, 0xB006, 0xB007, 0xC000,
    )  # fmt: skip
    rows = []
    for status in asked:
        first = verdict(status, sent_before=False)
        again = verdict(status, sent_before=True)
        found = code(first) if first is again else f"{code(first)}; {code(again)} if sent before"
        rows.append([words(status), found])
    told = [[code(v.value), prose(docs[v.name])] for v in agent.Verdict]
    return table(("status", "verdict"), rows) + "\n" + table(("verdict", "meaning"), told)


def rejections() -> str:
    """Reasons to refuse an association."""
    from gateway.dicom.policy import Why

    text = meanings("rejections", [why.name for why in Why])
    rows = [["/".join(map(str, why.value[:3])), why.name, text[why.name]] for why in Why]
    return table(("result/source/reason", "name", "when"), rows)


def limits() -> str:
    """Limits of associations, both ways."""
    from gateway.delivery import policy
    from gateway.dicom import limits as module

    parts = []
    for title, place, kind in (
        ("Associations the gateway accepts", module, module.Limits),
        ("Associations the gateway opens", module, module.RequestorTimeouts),
        ("Delivery", policy, policy.Policy),
    ):
        docs = attribute_docs(place, kind.__name__)
        made = kind()
        rows = [[code(n), _value(getattr(made, n)), prose(docs[n])] for n in docs]
        parts.append(f"### {title}\n\n" + table(("limit", "value", "meaning"), rows))
    return "\n".join(parts)


def _value(value: object) -> str:
    from gateway.results.backoff import Backoff

    if isinstance(value, Backoff):
        return f"up to {value.base_seconds:g} s, doubling, at most {value.cap_seconds:g} s"
    return "none" if value is None else code(f"{value:g}")


def reader_codes() -> str:
    """The names under which the reader refuses and warns."""
    from gateway.operators.dicom_reader import codes

    parts = []
    for kind, title in (
        (codes.RunRefusal, "The whole run is refused"), (codes.FileRefusal, "A file is left aside"),
        (codes.SeriesRefusal, "A series is no volume"),
        (codes.FormatRefusal, "A format is not written"), (codes.Warn, "Warnings"),
    ):  # fmt: skip
        text = meanings(f"reader-{kind.__name__}", [member.value for member in kind])
        rows = [[code(member.value), text[member.value]] for member in kind]
        parts.append(f"### {title}\n\n" + table(("code", "meaning"), rows))
    return "\n".join(parts)


def shipped_operators() -> str:
    """The contracts of the operators that ship, as their packages tell them."""
    import gateway.operators

    parts = []
    for command in sorted(Path(gateway.operators.__path__[0]).glob("*/__main__.py")):
        folder = command.parent.name
        package = importlib.import_module(f"gateway.operators.{folder}")
        name = folder.replace("_", "-")
        parts.append(f"## gateway/{name}\n\n" + fence(inspect.getdoc(package) or ""))
    return "\n".join(parts)


def grpc_codes() -> str:
    """Codes of the platform API's response headers."""
    from gateway.platform import errors

    docs = attribute_docs(errors, "Code")
    rows = [[code(c.value), c.name, prose(docs[c.name])] for c in errors.Code]
    return table(("code", "name", "meaning"), rows)


def grpc_limits() -> str:
    """What the platform API takes."""
    from gateway.platform import jobs, listing, metadata, model_files, models, names, pipelines

    rows = [
        ("length of a metadata key, bytes", metadata.KEY_BYTES),
        ("length of a metadata value, bytes", metadata.VALUE_BYTES),
        ("metadata of one thing, bytes (16 more for each pair)", metadata.TOTAL_BYTES),
        ("length of a file name, bytes", names.NAME_BYTES),
        ("length of one part of a file name, bytes", names.PART_BYTES),
        ("parts of a file name", names.MOST_PARTS),
        ("length of a job's name, characters", jobs.NAME_LENGTH),
        ("input payloads of a job", jobs.MOST_INPUTS),
        ("variables of a start", jobs.MOST_VARIABLES),
        ("length of a variable's value, characters", jobs.VALUE_LENGTH),
        ("values of one condition of a filter", listing.MOST_VALUES),
        ("files of a pipeline", pipelines.MOST_FILES),
        ("files of a pipeline, bytes together", pipelines.MOST_BYTES),
        ("files of a model", model_files.MOST_FILES),
        ("a model unpacked, bytes", model_files.MOST_BYTES),
        ("models of a catalog or instance", models.MOST_MODELS),
    ]
    return table(("limit", "at most"), rows)


def folders() -> str:
    """Where things lie, as the two modules tell that own the places."""
    from gateway.payloads import folders as data_dir
    from gateway.pipelines import layout

    parts = []
    for module in (data_dir, layout):
        document = inspect.getdoc(module) or ""
        block = document.split("::\n", 1)[1]
        parts.append(fence(textwrap.dedent(block.split("\n\n``", 1)[0]).strip("\n")))
    return "\n".join(parts)
