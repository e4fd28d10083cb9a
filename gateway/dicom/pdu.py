"""Protocol data units of the upper layer, encoded and decoded (PS3.8 9.3, PS3.7 Annex D.3.3).

Everything but P-DATA-TF, whose payload :mod:`gateway.dicom.wire` streams without building
objects.  Decoding takes what a peer sent: it never trusts a length, skips sub-items it does not
know as the standard asks, and raises :class:`~gateway.dicom.errors.ProtocolViolation` for the
rest.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from gateway.dicom.errors import ProtocolViolation

HEADER = struct.Struct(">BxL")
"""PDU type and length of what follows."""

_ITEM = struct.Struct(">BxH")
_FIXED = struct.Struct(">H2x16s16s32x")

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""The DICOM application context name (PS3.7 A.2.1)."""

IMPLEMENTATION_CLASS_UID = "2.25.31831683295725585605456568289969039805"
"""Names this implementation to its peers (PS3.7 D.3.3.2)."""

IMPLEMENTATION_VERSION = "GATEWAY_0_1"
"""Version name sent beside the class UID, at most 16 characters."""

MAX_ASSOCIATE_LENGTH = 1 << 20
"""Longest A-ASSOCIATE PDU taken: 128 contexts with over 100 transfer syntaxes each fit."""


class PduType(IntEnum):
    """First byte of a PDU."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class ContextResult(IntEnum):
    """Answer to one proposed presentation context (PS3.8 9.3.3.2)."""

    ACCEPTED = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True)
class ProposedContext:
    """One presentation context of an A-ASSOCIATE-RQ."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class AnsweredContext:
    """One presentation context of an A-ASSOCIATE-AC; the syntax counts only when accepted."""

    id: int
    result: int
    transfer_syntax: str = "1.2.840.10008.1.2"


@dataclass(frozen=True)
class Role:
    """SCP/SCU role selection for one SOP class, seen from the requestor (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    scu: bool
    scp: bool


@dataclass(frozen=True)
class UserInformation:
    """What the user information item holds of what this gateway negotiates."""

    max_pdu: int = 0
    """Largest P-DATA-TF its sender wants to receive, in bytes; 0 = no limit."""
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID
    implementation_version: str = IMPLEMENTATION_VERSION
    asynchronous: tuple[int, int] | None = None
    """Operations invoked and performed at once; None = not negotiated."""
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ."""

    called_ae: str
    calling_ae: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True)
class AssociateAccept:
    """An A-ASSOCIATE-AC; AE titles are echoed from the request."""

    called_ae: str
    calling_ae: str
    contexts: tuple[AnsweredContext, ...]
    user: UserInformation


def abort(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 9.3.8)."""
    return HEADER.pack(PduType.ABORT, 4) + bytes((0, 0, source, reason))


def reject(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return HEADER.pack(PduType.ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))


RELEASE_RQ = HEADER.pack(PduType.RELEASE_RQ, 4) + bytes(4)
RELEASE_RP = HEADER.pack(PduType.RELEASE_RP, 4) + bytes(4)


def encode_request(request: AssociateRequest) -> bytes:
    """A-ASSOCIATE-RQ as bytes."""
    items = [_item(0x10, request.application_context.encode("ascii"))]
    for context in request.contexts:
        syntaxes = b"".join(_item(0x40, s.encode("ascii")) for s in context.transfer_syntaxes)
        abstract = _item(0x30, context.abstract_syntax.encode("ascii"))
        items.append(_item(0x20, bytes((context.id, 0, 0, 0)) + abstract + syntaxes))
    items.append(_user_item(request.user))
    fixed = _FIXED.pack(request.protocol_version, _ae(request.called_ae), _ae(request.calling_ae))
    body = fixed + b"".join(items)
    return HEADER.pack(PduType.ASSOCIATE_RQ, len(body)) + body


def encode_accept(accept: AssociateAccept) -> bytes:
    """A-ASSOCIATE-AC as bytes."""
    items = [_item(0x10, APPLICATION_CONTEXT.encode("ascii"))]
    for context in accept.contexts:
        syntax = _item(0x40, context.transfer_syntax.encode("ascii"))
        items.append(_item(0x21, bytes((context.id, 0, context.result, 0)) + syntax))
    items.append(_user_item(accept.user))
    body = _FIXED.pack(1, _ae(accept.called_ae), _ae(accept.calling_ae)) + b"".join(items)
    return HEADER.pack(PduType.ASSOCIATE_AC, len(body)) + body


def decode_request(body: memoryview) -> AssociateRequest:
    """Read the body of an A-ASSOCIATE-RQ; raises ProtocolViolation."""
    version, called, calling = _fixed(body)
    application_context = ""
    contexts: list[ProposedContext] = []
    user = UserInformation(0, "", "")
    for kind, value in _items(body[_FIXED.size :]):
        if kind == 0x10:
            application_context = text(value)
        elif kind == 0x20:
            contexts.append(_proposed(value))
        elif kind == 0x50:
            user = _user(value)
    ids = [context.id for context in contexts]
    if len(set(ids)) != len(ids):
        raise ProtocolViolation("the A-ASSOCIATE-RQ proposes one presentation context ID twice")
    return AssociateRequest(called, calling, tuple(contexts), user, application_context, version)


def decode_accept(body: memoryview) -> AssociateAccept:
    """Read the body of an A-ASSOCIATE-AC; raises ProtocolViolation."""
    _, called, calling = _fixed(body)
    contexts: list[AnsweredContext] = []
    user = UserInformation(0, "", "")
    for kind, value in _items(body[_FIXED.size :]):
        if kind == 0x21:
            contexts.append(_answered(value))
        elif kind == 0x50:
            user = _user(value)
    return AssociateAccept(called, calling, tuple(contexts), user)


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _ae(title: str) -> bytes:
    return title.encode("ascii", "replace")[:16].ljust(16)


def _user_item(user: UserInformation) -> bytes:
    items = [_item(0x51, struct.pack(">L", user.max_pdu))]
    items.append(_item(0x52, user.implementation_class_uid.encode("ascii")))
    if user.asynchronous is not None:
        items.append(_item(0x53, struct.pack(">HH", *user.asynchronous)))
    for role in user.roles:
        uid = role.sop_class_uid.encode("ascii")
        value = struct.pack(">H", len(uid)) + uid + bytes((role.scu, role.scp))
        items.append(_item(0x54, value))
    items.append(_item(0x55, user.implementation_version.encode("ascii")))
    return _item(0x50, b"".join(items))


def _fixed(body: memoryview) -> tuple[int, str, str]:
    if len(body) < _FIXED.size:
        raise ProtocolViolation("an A-ASSOCIATE PDU is too short for its fixed fields")
    version, called, calling = _FIXED.unpack_from(body)
    return version, text(called), text(calling)


def text(raw: bytes | memoryview) -> str:
    """A string a peer sent, without padding and with ``?`` for what is not printable ASCII.

    It goes into records, logs and events, where a NUL or an escape sequence does harm.
    """
    plain = bytes(raw).decode("ascii", "replace").strip(" \0")
    return plain if plain.isprintable() and plain.isascii() else _UNPRINTABLE.sub("?", plain)


def _items(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Walk items or sub-items; a length beyond its parent is a violation."""
    at = 0
    while at < len(data):
        if len(data) - at < _ITEM.size:
            raise ProtocolViolation("an item header of an A-ASSOCIATE PDU is cut off")
        kind, length = _ITEM.unpack_from(data, at)
        at += _ITEM.size
        if length > len(data) - at:
            raise ProtocolViolation(f"item {kind:02X}H claims {length} bytes, more than there are")
        yield kind, data[at : at + length]
        at += length


def _proposed(value: memoryview) -> ProposedContext:
    if len(value) < 4 or value[0] % 2 == 0:
        raise ProtocolViolation("a presentation context has no odd ID (PS3.8 9.3.2.2)")
    abstract = ""
    syntaxes: list[str] = []
    for kind, inner in _items(value[4:]):
        if kind == 0x30:
            abstract = text(inner)
        elif kind == 0x40:
            syntaxes.append(text(inner))
    return ProposedContext(value[0], abstract, tuple(syntaxes))


def _answered(value: memoryview) -> AnsweredContext:
    if len(value) < 4:
        raise ProtocolViolation("a presentation context answer is cut off")
    syntax = ""
    for kind, inner in _items(value[4:]):
        if kind == 0x40:
            syntax = text(inner)
    return AnsweredContext(value[0], value[2], syntax)


def _user(value: memoryview) -> UserInformation:
    max_pdu, class_uid, version = 0, "", ""
    asynchronous: tuple[int, int] | None = None
    roles: list[Role] = []
    for kind, inner in _items(value):
        if kind == 0x51 and len(inner) == 4:
            max_pdu = struct.unpack(">L", inner)[0]
        elif kind == 0x52:
            class_uid = text(inner)
        elif kind == 0x53 and len(inner) == 4:
            asynchronous = struct.unpack(">HH", inner)
        elif kind == 0x54:
            roles.append(_role(inner))
        elif kind == 0x55:
            version = text(inner)
    return UserInformation(max_pdu, class_uid, version, asynchronous, tuple(roles))


def _role(value: memoryview) -> Role:
    length = int.from_bytes(value[:2], "big")
    if len(value) < length + 4:
        raise ProtocolViolation("a role selection sub-item is cut off (PS3.7 D.3.3.4)")
    return Role(text(value[2 : 2 + length]), value[2 + length] == 1, value[3 + length] == 1)
