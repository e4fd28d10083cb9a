"""Which presentation contexts to propose for a list of instances, at most 128 an association."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.dicom.files import Instance
from gateway.dicom.negotiation import Context
from gateway.dicom.pdu import ProposedContext
from gateway.dicom.transcode import UNCOMPRESSED, can_transcode

MAX_CONTEXTS = 128
"""Context IDs are the odd numbers of one byte (PS3.8 9.3.2.2)."""

Proposal = tuple[str, tuple[str, ...]]
"""SOP class and transfer syntaxes of one context."""


@dataclass(frozen=True)
class Batch:
    """Instances that go over one association, in order, and what it must negotiate."""

    instances: tuple[Instance, ...]
    contexts: tuple[ProposedContext, ...]


def plan(instances: Iterable[Instance]) -> list[Batch]:
    """Split into batches whose contexts fit one association each, keeping the order.

    One context per pair of class and syntax, so that the peer's choice says exactly what it
    takes, and one more per class with the uncompressed syntaxes to fall back to.
    """
    batches: list[Batch] = []
    current: list[Instance] = []
    proposals: dict[Proposal, None] = {}
    for instance in instances:
        wanted = _wanted(instance)
        fresh = [proposal for proposal in wanted if proposal not in proposals]
        if len(proposals) + len(fresh) > MAX_CONTEXTS:
            batches.append(_batch(current, proposals))
            current, proposals, fresh = [], {}, wanted
        current.append(instance)
        proposals.update(dict.fromkeys(fresh))
    if current:
        batches.append(_batch(current, proposals))
    return batches


def choose(instance: Instance, contexts: Iterable[Context]) -> Context | None:
    """The accepted context to send on: as the file is, else one to fall back to, else None."""
    fallback = None
    for context in contexts:
        if context.abstract_syntax != instance.sop_class_uid:
            continue
        if context.transfer_syntax == instance.transfer_syntax_uid:
            return context
        if context.transfer_syntax in UNCOMPRESSED and can_transcode(instance.transfer_syntax_uid):
            fallback = context
    return fallback


def _wanted(instance: Instance) -> list[Proposal]:
    exact: Proposal = (instance.sop_class_uid, (instance.transfer_syntax_uid,))
    if not can_transcode(instance.transfer_syntax_uid):
        return [exact]
    return [exact, (instance.sop_class_uid, UNCOMPRESSED)]


def _batch(instances: Sequence[Instance], proposals: Iterable[Proposal]) -> Batch:
    contexts = tuple(
        ProposedContext(2 * index + 1, sop_class, syntaxes)
        for index, (sop_class, syntaxes) in enumerate(proposals)
    )
    return Batch(tuple(instances), contexts)
