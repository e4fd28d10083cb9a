"""What an A-ASSOCIATE-AC answers: contexts, roles, limits (PS3.8 9.3.3, PS3.7 Annex D.3.3).

Every storage context is accepted with the transfer syntax its sender put first: senders list
what the object is in, or what they prefer, first, and the gateway stores any syntax as it came,
so the sender's first choice saves a conversion on its side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.dicom.pdu import (
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    ContextResult,
    ProposedContext,
    Role,
    UserInformation,
)
from gateway.dicom.policy import Admission
from gateway.dicom.sop_classes import Kind, is_uid, kind

_READABLE = frozenset({"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"})
"""Transfer syntaxes of what is read here rather than stored: little endian, not deflated."""


@dataclass(frozen=True)
class Context:
    """An accepted presentation context."""

    id: int
    kind: Kind
    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True)
class Agreement:
    """The outcome of a negotiation."""

    contexts: dict[int, Context]
    """Accepted contexts by their ID."""
    answer: AssociateAccept


def negotiate(request: AssociateRequest, admission: Admission, max_pdu: int) -> Agreement:
    """Answer each proposed context; ``max_pdu`` is the largest P-DATA-TF we take, in bytes."""
    roles = {role.sop_class_uid: role for role in request.user.roles}
    accepted: dict[int, Context] = {}
    answers = []
    for proposed in request.contexts:
        result = _result(proposed, admission, roles.get(proposed.abstract_syntax))
        syntax = next(_usable(proposed), "")
        if result == ContextResult.ACCEPTED:
            accepted[proposed.id] = Context(
                proposed.id, kind(proposed.abstract_syntax), proposed.abstract_syntax, syntax
            )
            answers.append(AnsweredContext(proposed.id, result, syntax))
        else:
            answers.append(AnsweredContext(proposed.id, result))
    taken = {context.abstract_syntax for context in accepted.values()}
    user = UserInformation(
        max_pdu=max_pdu,
        # One operation at a time: the next C-STORE is read after the last one is durable.
        asynchronous=(1, 1) if request.user.asynchronous is not None else None,
        roles=tuple(_answer(role) for uid, role in roles.items() if uid in taken),
    )
    answer = AssociateAccept(request.called_ae, request.calling_ae, tuple(answers), user)
    return Agreement(accepted, answer)


def _result(proposed: ProposedContext, admission: Admission, role: Role | None) -> ContextResult:
    what = kind(proposed.abstract_syntax)
    if what is Kind.OTHER:
        return ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    if what is Kind.STORAGE and not _may_store(proposed.abstract_syntax, admission):
        return ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    if next(_usable(proposed), None) is None:
        return ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    if role is not None and not role.scu and what is not Kind.COMMITMENT:
        # The peer wants to be SCP only; this gateway stores nothing on an association it took.
        return ContextResult.USER_REJECTION
    return ContextResult.ACCEPTED


def _usable(proposed: ProposedContext) -> Iterator[str]:
    """Transfer syntaxes to choose from: any to store, those we can read for what we must read."""
    readable = kind(proposed.abstract_syntax) is Kind.COMMITMENT
    for syntax in proposed.transfer_syntaxes:
        if is_uid(syntax) and (not readable or syntax in _READABLE):
            yield syntax


def _answer(role: Role) -> Role:
    """The requestor may be SCU as it proposed; it is never SCP of what it stores here.

    Of storage commitment it is SCU when it asks us, and SCP when it reports what we asked.
    """
    commitment = kind(role.sop_class_uid) is Kind.COMMITMENT
    return Role(role.sop_class_uid, scu=role.scu, scp=role.scp and commitment)


def _may_store(sop_class_uid: str, admission: Admission) -> bool:
    if not admission.stores or admission.application is None:
        return False
    listed = admission.application.accept.sop_classes
    if listed is None:
        return True
    # Ignored classes are answered Success and dropped by the spool, so they must get a context.
    return sop_class_uid in listed or sop_class_uid in (
        admission.application.accept.ignore_sop_classes
    )
