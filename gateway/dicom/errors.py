"""The faults of the DICOM edge.

::

    Transient
    ├── Unreachable           no connection, no answer in time
    ├── RejectedForNow        A-ASSOCIATE-RJ that may pass: result 2, or source 3
    └── Interrupted           the association ended before every instance was answered
    Permanent
    ├── RejectedForGood       A-ASSOCIATE-RJ that a person must change something about
    ├── UnsupportedByGateway  the configuration asks for something that is not there
    ├── NotDicom              a file that holds no DICOM instance
    └── ProtocolViolation     the peer broke PS3.7 or PS3.8; says which A-ABORT answers it
        └── WrongPort         the peer speaks TLS where none is taken, or none where it is
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.errors import GatewayError, Permanent, Transient


class Unreachable(Transient):
    """The peer took no connection or did not answer in time."""


class RejectedForNow(Transient):
    """The peer refused the association for a reason that may pass by itself."""


class RejectedForGood(Permanent):
    """The peer refused the association and will again until a person changes something."""


class Interrupted(Transient):
    """The association ended early; ``unsent`` has no positive response and is to be sent again."""

    def __init__(self, message: str, unsent: Sequence[Path] = ()) -> None:
        super().__init__(message)
        self.unsent = tuple(unsent)


class NotDicom(Permanent):
    """A file holds no DICOM instance that could be sent."""


class ProtocolViolation(Permanent):
    """The peer broke the protocol; ``source`` and ``reason`` belong into the A-ABORT.

    PS3.8 9.3.8: source 0 = service-user (reason always 0), 2 = service-provider with reason
    0 not specified, 1 unrecognized PDU, 2 unexpected PDU, 4 unrecognized PDU parameter,
    5 unexpected PDU parameter, 6 invalid PDU parameter value.
    """

    def __init__(self, message: str, *, source: int = 2, reason: int = 6) -> None:
        super().__init__(message)
        self.source = source
        self.reason = reason


class WrongPort(ProtocolViolation):
    """The peer speaks TLS on the plain port, or no TLS on the TLS port: a person mends it."""

    def __init__(self, message: str) -> None:
        # AA-1: before an association there is no provider to speak for.
        super().__init__(message, source=0, reason=0)


class UnsupportedByGateway(Permanent):
    """The configuration asks for something this gateway cannot do."""


class ConnectionLost(GatewayError):  # noqa: N818 - a state of the wire, like its siblings
    """The peer closed or reset the connection, or went silent; caught within this room."""


class TooSlow(ConnectionLost):
    """The peer did not send what was due in time."""


class PeerAborted(ConnectionLost):
    """The peer sent A-ABORT."""
