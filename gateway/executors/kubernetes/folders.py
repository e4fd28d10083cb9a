"""Folders of one attempt before its Pod is made: the whole Pod's, for all start together."""

from __future__ import annotations

from gateway.executors import access, outputs
from gateway.jobs.executor import JobRun
from gateway.pipelines import layout


def prepare(run: JobRun) -> None:
    """Empty the outputs and make those of this attempt, the operators' own; ``OSError``.

    What an earlier attempt may still have open on a lost node is removed, not emptied: whatever it
    writes goes nowhere.
    """
    outputs.clear(run)
    owner = access.user()
    for operator in run.definition.operators:
        if operator.name in run.kept:
            continue
        outputs.prepare(run, operator)
        access.give(layout.operator_dir(run.folder, operator), owner)
        for output in operator.outputs:
            access.give(layout.output_dir(run.folder, operator, output.name), owner)
    access.open_to_group(layout.input_dir(run.folder))
    for operator in run.definition.operators:
        if operator.name in run.kept:
            access.open_to_group(layout.operator_dir(run.folder, operator))
