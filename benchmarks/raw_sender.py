"""A sender that costs next to nothing while it sends: every byte is laid out before.

What is measured is then the receiver.  Each message is one ``sendall``; each response is read and
kept, and looked at when the clock has stopped.
"""

from __future__ import annotations

import socket
from pathlib import Path

from gateway.dicom import dimse, pdu
from gateway.dicom.files import read_instance

_MAX_PDU = 131072


class RawSender:
    """One association that sends prepared messages, one at a time (PS3.7 9.3.1)."""

    def __init__(self, port: int, paths: list[Path]) -> None:
        """Associate with ``BENCH`` at ``port`` and lay out the messages of ``paths``."""
        files = [read_instance(path) for path in paths]
        first = files[0]
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = pdu.ProposedContext(1, first.sop_class_uid, (first.transfer_syntax_uid,))
        request = pdu.AssociateRequest(
            "BENCH", "SENDER", (context,), pdu.UserInformation(max_pdu=_MAX_PDU)
        )
        self._sock.sendall(pdu.encode_request(request))
        kind, body = self._pdu()
        assert kind == pdu.PduType.ASSOCIATE_AC, kind
        accept = pdu.decode_accept(body)
        assert accept.contexts[0].result == pdu.ContextResult.ACCEPTED
        piece = (min(accept.user.max_pdu or _MAX_PDU, _MAX_PDU) - 6) & ~1
        self._messages = []
        for number, (file, path) in enumerate(zip(files, paths, strict=True)):
            data = path.read_bytes()[file.offset :]
            command = dimse.store_request(
                file.sop_class_uid, file.sop_instance_uid, number % 65535 + 1
            )
            head = dimse.command_pdu(1, command)
            self._messages.append(b"".join([head, *dimse.data_pdus(1, data, piece)]))

    def send(self) -> None:
        """Send everything, then release; raises AssertionError unless every answer was Success."""
        sock, answers = self._sock, []
        for message in self._messages:
            sock.sendall(message)
            answer = sock.recv(1024)
            while len(answer) < 6 or len(answer) < 6 + int.from_bytes(answer[2:6], "big"):
                more = sock.recv(1024)
                assert more, "the receiver closed the connection"
                answer += more
            answers.append(answer)
        sock.sendall(pdu.RELEASE_RQ)
        self._pdu()
        sock.close()
        for answer in answers:
            command = dimse.decode(answer[12:])
            assert command.number(0x0900) == 0, command

    def _pdu(self) -> tuple[int, memoryview]:
        header = self._exactly(6)
        return header[0], memoryview(self._exactly(int.from_bytes(header[2:6], "big")))

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            piece = self._sock.recv(size - len(found))
            assert piece, "the receiver closed the connection"
            found += piece
        return found
