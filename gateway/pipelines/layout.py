"""Where the files of a job payload stand, for every room that reads or writes them.

::

    <folder>/input/dcm/<patient>/<study>/<series>/<sop>.dcm     read-only
    <folder>/operators/<operator>/                              an unnamed output
    <folder>/operators/<operator>/<output>/                     a named output

``<folder>`` is ``<data-dir>/payloads/<id>``.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from gateway.pipelines.model import Definition, Input, Operator

RESULTS_NAME = ".clara-results.json"
"""File of an operator's registrations, inside its first output."""
PRIVATE_OUTPUT = "/output"
"""Where an operator without any output sees a folder of its own."""


def input_dir(folder: Path) -> Path:
    """The payload's own input."""
    return folder / "input"


def operators_dir(folder: Path) -> Path:
    """The folder of all outputs; each attempt starts with it empty."""
    return folder / "operators"


def operator_dir(folder: Path, operator: Operator) -> Path:
    """The folder of one operator's outputs."""
    return operators_dir(folder) / operator.name


def output_dir(folder: Path, operator: Operator, name: str | None) -> Path:
    """The folder of the output ``name``; None = the operator's only output."""
    if name is None and operator.outputs:
        name = operator.outputs[0].name
    base = operator_dir(folder, operator)
    return base / name if name else base


def source_dir(folder: Path, definition: Definition, item: Input) -> Path:
    """The folder that stands behind an operator's input."""
    if item.source is None:
        return input_dir(folder)
    upstream = definition.operator(item.source)
    single = len(upstream.outputs) == 1
    return output_dir(folder, upstream, None if single else item.name)


def results_file(folder: Path, operator: Operator) -> Path:
    """The file in which an operator registers results; absent when it registered none.

    It lies in the operator's first output, or in its private folder when it declares none.
    """
    return output_dir(folder, operator, None) / RESULTS_NAME


def private_output(operator: Operator) -> str:
    """The path at which an operator without any output sees its own folder."""
    paths = [f"{i.path}/" for i in operator.inputs]
    path = PRIVATE_OUTPUT
    while any(p.startswith(f"{path}/") or f"{path}/".startswith(p) for p in paths):
        path += "-own"
    return path


def results_path(operator: Operator) -> str:
    """The same file as the operator sees it: the value of ``NVIDIA_CLARA_RESULTS``."""
    base = operator.outputs[0].path if operator.outputs else private_output(operator)
    return str(PurePosixPath(base) / RESULTS_NAME)
