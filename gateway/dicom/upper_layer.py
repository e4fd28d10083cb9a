"""What an acceptor does with each PDU in each state (PS3.8 9.2, Table 9-10), as data.

::

    AWAIT_REQUEST (Sta2) ──A-ASSOCIATE-RQ──▶ ESTABLISHED (Sta6) ──▶ AWAIT_CLOSE (Sta13)

Only the states in which this gateway reads; AWAIT_CLOSE is :meth:`Wire.linger`, which takes and
drops whatever comes.
"""

from __future__ import annotations

from enum import Enum, auto

from gateway.dicom.errors import PeerAborted, ProtocolViolation, WrongPort
from gateway.dicom.pdu import PduType


class State(Enum):
    """States of an accepted connection in which a PDU is read."""

    AWAIT_REQUEST = "waiting for A-ASSOCIATE-RQ"
    ESTABLISHED = "established"


class Action(Enum):
    """What to do with a PDU."""

    NEGOTIATE = auto()
    DATA = auto()
    RELEASE = auto()
    PEER_ABORT = auto()
    UNEXPECTED = auto()
    UNRECOGNIZED = auto()


TABLE: dict[tuple[State, PduType], Action] = {
    (State.AWAIT_REQUEST, PduType.ASSOCIATE_RQ): Action.NEGOTIATE,
    (State.AWAIT_REQUEST, PduType.ASSOCIATE_AC): Action.UNEXPECTED,
    (State.AWAIT_REQUEST, PduType.ASSOCIATE_RJ): Action.UNEXPECTED,
    (State.AWAIT_REQUEST, PduType.P_DATA): Action.UNEXPECTED,
    (State.AWAIT_REQUEST, PduType.RELEASE_RQ): Action.UNEXPECTED,
    (State.AWAIT_REQUEST, PduType.RELEASE_RP): Action.UNEXPECTED,
    (State.AWAIT_REQUEST, PduType.ABORT): Action.PEER_ABORT,
    (State.ESTABLISHED, PduType.ASSOCIATE_RQ): Action.UNEXPECTED,
    (State.ESTABLISHED, PduType.ASSOCIATE_AC): Action.UNEXPECTED,
    (State.ESTABLISHED, PduType.ASSOCIATE_RJ): Action.UNEXPECTED,
    (State.ESTABLISHED, PduType.P_DATA): Action.DATA,
    (State.ESTABLISHED, PduType.RELEASE_RQ): Action.RELEASE,
    (State.ESTABLISHED, PduType.RELEASE_RP): Action.UNEXPECTED,
    (State.ESTABLISHED, PduType.ABORT): Action.PEER_ABORT,
}

MAX_CONTROL_LENGTH = 1024
"""Longest release, reject or abort PDU taken; the standard's are 4 bytes."""


TLS_HANDSHAKE = 0x16
"""First byte of a TLS connection; no PDU type."""


def action(state: State, kind: int) -> Action:
    """Look up the action; an unknown PDU type is UNRECOGNIZED."""
    try:
        return TABLE[state, PduType(kind)]
    except ValueError:
        return Action.UNRECOGNIZED


def violation(state: State, kind: int) -> ProtocolViolation:
    """The fault of a PDU that does not belong into ``state``.

    Before the association there is no provider to speak for: AA-1 aborts as service-user;
    afterwards AA-8 aborts as service-provider with the reason.
    """
    known = kind in PduType.__members__.values()
    what = f"{PduType(kind).name} PDU" if known else f"PDU of unknown type {kind:#04x}"
    text = f"the peer sent a {what} while {state.value}"
    if kind == TLS_HANDSHAKE and state is State.AWAIT_REQUEST:
        return WrongPort("the peer speaks TLS, and this port takes none")
    if state is State.AWAIT_REQUEST:
        return ProtocolViolation(text, source=0, reason=0)
    return ProtocolViolation(text, source=2, reason=2 if known else 1)


def aborted_by_peer(body: memoryview) -> PeerAborted:
    """The fault of an A-ABORT, with its source in words."""
    source, reason = (body[2], body[3]) if len(body) >= 4 else (0, 0)
    who = "the peer" if source == 0 else f"the peer's upper layer (reason {reason})"
    return PeerAborted(f"aborted by {who}")
