"""Labels of machines, and jobs that ask for them.

``resources.labels`` say what a machine is (``{gpu: a100, room: mri}``).  Of a pipeline's and its
operators' ``x-gateway: {labels}`` those named ``node-…`` ask for one (``node-gpu: a100``); all
others are for people.  A job runs on one machine: it needs all that any of its operators asks for.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping

from gateway.errors import Refused
from gateway.pipelines.model import Definition

PREFIX = "node-"
"""Begins the names of labels that ask for a machine."""

Labels = frozenset[str]
"""Each as ``name=value``."""


def offered(labels: Mapping[str, str]) -> Labels:
    """What a machine with the labels of the settings offers."""
    return frozenset(f"{name}={value}" for name, value in labels.items())


def asked(definition: Definition) -> Labels:
    """What a job of this definition asks of its machine.

    Raises :class:`Refused` for one label with two values: no machine has both.
    """
    found: dict[str, str] = {}
    every = [definition.labels, *(operator.labels for operator in definition.operators)]
    for name, value in itertools.chain.from_iterable(labels.items() for labels in every):
        if not name.startswith(PREFIX):
            continue
        word = name.removeprefix(PREFIX)
        if found.setdefault(word, value) != value:
            raise Refused(f"the job asks for label {word} with two values: no node has both")
    return offered(found)


def lacking(wanted: Labels, owned: Labels) -> str | None:
    """Why a machine that has ``owned`` cannot run the job, as a sentence; None when it can."""
    missing = sorted(wanted - owned)
    if not missing:
        return None
    return f"the job asks for a node with {', '.join(missing)}, this one has {_words(owned)}"


def written(labels: Labels) -> str | None:
    """As the records keep them; the same labels always give the same text, none give None."""
    return json.dumps(sorted(labels)) if labels else None


def read(text: str | None) -> Labels:
    """What :func:`written` made a text of."""
    return frozenset(json.loads(text)) if text else frozenset()


def _words(labels: Iterable[str]) -> str:
    return ", ".join(sorted(labels)) or "no labels"
