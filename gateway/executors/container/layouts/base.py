"""What a way to lay out an operator's folders has to say before its container is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.executors.sandbox import Bind
from gateway.jobs.executor import JobRun
from gateway.pipelines import layout
from gateway.pipelines.model import Operator


@dataclass(frozen=True)
class Staged:
    """An operator's folders and what goes with them."""

    binds: tuple[Bind, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    """Laid over the image's variables; the definition's win over it."""
    command: tuple[str, ...] = ()
    """When the definition names none; empty = the image's own."""
    folder: str | None = None
    """Working folder; None = the image's own."""
    notes: tuple[str, ...] = ()
    """Sentences for the operator's log."""
    after: Callable[[], tuple[str, ...]] = tuple
    """Tidies up when the program ended; further sentences for the log."""


class Layout(Protocol):
    """One way; any thread."""

    def stage(self, job: JobRun, operator: Operator) -> Staged:
        """Lay out the folders of ``operator``, whose outputs are there and empty.

        Raises OSError when they cannot be made.
        """


def inputs(job: JobRun, operator: Operator) -> list[Bind]:
    """The operator's inputs at the paths of the definition, read-only."""
    return [Bind(layout.source_dir(job.folder, job.definition, i), i.path) for i in operator.inputs]


def outputs(job: JobRun, operator: Operator) -> list[Bind]:
    """Its outputs at the paths of the definition, or its private folder when it declares none."""
    if not operator.outputs:
        folder = layout.operator_dir(job.folder, operator)
        return [Bind(folder, layout.private_output(operator), writable=True)]
    return [
        Bind(layout.output_dir(job.folder, operator, o.name), o.path, writable=True)
        for o in operator.outputs
    ]


class ClaraLayout:
    """Clara's way: every folder exactly where the definition says."""

    def stage(self, job: JobRun, operator: Operator) -> Staged:
        """The definition's folders."""
        return Staged((*inputs(job, operator), *outputs(job, operator)))
