"""Puts DIMSE messages together from P-DATA-TF PDUs (PS3.8 Annex E, PS3.7 6.3.1).

The command set is collected (it is small and limited); the data set is never: each piece goes
to a sink while it arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.dicom import dimse
from gateway.dicom.dimse import COMMAND_BIT, LAST_BIT, Command
from gateway.dicom.errors import ProtocolViolation
from gateway.dicom.negotiation import Context
from gateway.dicom.wire import PDV_HEADER, Wire


class Receiver(Protocol):
    """What is done with messages; called by the association's thread only."""

    def begin(self, context: Context, command: Command) -> None:
        """A command set is complete; its data set follows if it says so."""

    def data(self, piece: memoryview) -> None:
        """The next bytes of the data set; the buffer is reused after the call."""

    def end(self) -> None:
        """The message is complete: answer it."""


class Assembler:
    """Walks PDVs; holds where in a message the association is."""

    def __init__(
        self,
        wire: Wire,
        contexts: Mapping[int, Context],
        receiver: Receiver,
        longest_command: int = dimse.MAX_COMMAND_LENGTH,
    ) -> None:
        self._wire = wire
        self._contexts = contexts
        self._receiver = receiver
        self._longest_command = longest_command
        self._context: Context | None = None
        self._command = bytearray()
        self._in_data = False

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and is not complete."""
        return self._context is not None

    def p_data(self, length: int) -> None:
        """Take one P-DATA-TF of ``length`` bytes; raises ProtocolViolation."""
        if length < PDV_HEADER.size:
            raise ProtocolViolation("a P-DATA-TF PDU holds no presentation data value")
        left = length
        while left:
            if left < PDV_HEADER.size:
                raise ProtocolViolation("a P-DATA-TF PDU ends within a PDV header")
            item_length, context_id, control = self._wire.pdv_header()
            if item_length < 2 or item_length > left - 4:
                raise ProtocolViolation(
                    f"a PDV claims {item_length} bytes where its PDU has {left - 4}"
                )
            left -= 4 + item_length
            self._pdv(item_length - 2, context_id, control)

    def _pdv(self, length: int, context_id: int, control: int) -> None:
        self._enter(context_id)
        is_command = bool(control & COMMAND_BIT)
        if is_command == self._in_data:
            wanted = "data set" if self._in_data else "command set"
            raise ProtocolViolation(f"a PDV does not belong to the {wanted} that is under way")
        if is_command:
            self._command_fragment(length, last=bool(control & LAST_BIT))
        else:
            self._data_fragment(length, last=bool(control & LAST_BIT))

    def _enter(self, context_id: int) -> Context:
        context = self._contexts.get(context_id)
        if context is None:
            raise ProtocolViolation(f"presentation context {context_id} was not accepted")
        if self._context is None:
            self._context = context
        elif self._context is not context:
            raise ProtocolViolation("a message changes its presentation context on the way")
        return context

    def _command_fragment(self, length: int, *, last: bool) -> None:
        if len(self._command) + length > self._longest_command:
            raise ProtocolViolation(f"a command set exceeds {self._longest_command} bytes")
        if length:
            self._command += self._wire.body(length)
        if not last:
            return
        command = dimse.decode(self._command)
        self._command.clear()
        if self._context is None:  # pragma: no cover - set by _enter
            raise ProtocolViolation("a command set belongs to no context")
        self._receiver.begin(self._context, command)
        self._in_data = command.has_data_set
        if not self._in_data:
            self._finish()

    def _data_fragment(self, length: int, *, last: bool) -> None:
        wire, data = self._wire, self._receiver.data
        while length:
            piece = wire.chunk(length)
            data(piece)
            length -= len(piece)
        if last:
            self._finish()

    def _finish(self) -> None:
        self._in_data = False
        self._context = None
        self._receiver.end()
