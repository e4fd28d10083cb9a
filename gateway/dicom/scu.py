"""The storage SCU: sends instances and says of each what the peer answered; and C-ECHO."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self

from gateway.dicom.dimse import Command
from gateway.dicom.errors import (
    ConnectionLost,
    Interrupted,
    NotDicom,
    ProtocolViolation,
    UnsupportedByGateway,
)
from gateway.dicom.files import Instance, read_instance
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.negotiation import Context
from gateway.dicom.outgoing import Content, FileChanged
from gateway.dicom.pdu import ProposedContext
from gateway.dicom.peer import Peer
from gateway.dicom.plan import Batch, choose, plan
from gateway.dicom.requestor import Request, Requestor
from gateway.dicom.sop_classes import VERIFICATION
from gateway.dicom.transcode import UNCOMPRESSED, transcode
from gateway.errors import Permanent

__all__ = ["Peer", "SendOutcome", "Sent", "StoreScu", "classify", "echo"]


class SendOutcome(Enum):
    """What became of one instance."""

    SUCCESS = "success"
    WARNING = "warning"
    """Stored, with a remark (PS3.7 Annex C: 0001H, 0107H, 0116H, BxxxH)."""
    FAILURE = "failure"
    """Refused by status, or the file cannot be sent."""
    REFUSED_CONTEXT = "refused-context"
    """The peer accepted no context the instance can be sent on."""


@dataclass(frozen=True)
class Sent:
    """The result of one instance."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    status: int | None
    """Status of the C-STORE response; None when nothing was sent."""
    comment: str
    """Error Comment of the peer, or why nothing was sent."""
    outcome: SendOutcome

    @property
    def stored(self) -> bool:
        """Whether the peer said it has the instance."""
        return self.outcome in (SendOutcome.SUCCESS, SendOutcome.WARNING)


def classify(status: int) -> SendOutcome:
    """Tell success, warning and failure apart (PS3.7 Annex C)."""
    if status == 0x0000:
        return SendOutcome.SUCCESS
    if status in (0x0001, 0x0107, 0x0116) or status & 0xF000 == 0xB000:
        return SendOutcome.WARNING
    return SendOutcome.FAILURE


def echo(peer: Peer, timeouts: RequestorTimeouts | None = None) -> float:
    """C-ECHO; returns its round trip in seconds.

    Raises Unreachable, RejectedForNow, RejectedForGood, Interrupted, or Permanent when the peer
    refuses the verification context or answers with a failure.
    """
    proposal = ProposedContext(1, VERIFICATION, (UNCOMPRESSED[1], UNCOMPRESSED[0]))
    with Requestor(peer, [proposal], timeouts) as association:
        context = association.contexts.get(1)
        if context is None:
            raise Permanent(f"{peer} accepts associations but not the Verification SOP class")
        began = time.perf_counter()
        try:
            answer = association.echo(context)
        except (ConnectionLost, ProtocolViolation) as error:
            raise Interrupted(f"{peer} did not answer C-ECHO: {error}") from error
        seconds = time.perf_counter() - began
    status = answer.number(0x0900)
    if status != 0:
        raise Permanent(f"{peer} answered C-ECHO with status {status or 0:04X}H")
    return seconds


class StoreScu:
    """Sends instances to one peer; used by one thread at a time."""

    def __init__(
        self, peer: Peer, *, max_pdu: int = 1 << 17, timeouts: RequestorTimeouts | None = None
    ) -> None:
        """``max_pdu``: longest P-DATA-TF when the peer sets no limit, in bytes."""
        self.peer = peer
        self._max_pdu = max_pdu
        self._timeouts = timeouts

    def verify(self) -> float:
        """C-ECHO with the peer; see :func:`echo`."""
        return echo(self.peer, self._timeouts)

    def send(
        self, paths: Iterable[Path], on_result: Callable[[Sent], None] | None = None
    ) -> Iterator[Sent]:
        """Send files in order, yielding each result before the next instance is sent.

        A generator: nothing is sent until it is iterated.  ``on_result`` is called before each
        yield.  As many associations as the contexts need, one after another.  A failed instance
        does not end the association.  Raises Unreachable, RejectedForNow or RejectedForGood when
        an association cannot be opened and Interrupted, with ``unsent``, when one breaks: every
        path without a result then has no positive response and may be sent again as it is.
        """
        instances: list[Instance] = []
        unusable: list[Sent] = []
        for path in paths:
            try:
                instances.append(read_instance(path))
            except (NotDicom, OSError) as error:
                unusable.append(_not_sent(path, "", "", str(error), SendOutcome.FAILURE))
        for result in itertools.chain(unusable, self.send_instances(instances)):
            yield _told(result, on_result)

    def send_instances(self, instances: Sequence[Instance]) -> Generator[Sent, None, None]:
        """As :meth:`send`, for files that were looked into already; close it to stop early."""
        batches = deque(plan(instances))
        while batches:
            batch = batches.popleft()
            later = [instance.path for rest in batches for instance in rest.instances]
            left = deque(batch.instances)
            while left:
                yield from self._over_one_association(batch, left, later)

    def _over_one_association(
        self, batch: Batch, left: deque[Instance], later: Sequence[Path]
    ) -> Iterator[Sent]:
        """Send what is ``left``, taking off what has a result; stops early on a changed file."""
        with (
            Requestor(self.peer, batch.contexts, self._timeouts, self._max_pdu) as association,
            _Sender(association) as sender,
        ):
            while left:
                instance = left[0]
                following = left[1] if len(left) > 1 else None
                try:
                    result = sender.send(instance, following)
                except FileChanged as error:
                    association.abort()
                    left.popleft()
                    yield _failed(instance, str(error))
                    return
                except (ConnectionLost, ProtocolViolation) as error:
                    unsent = [*(i.path for i in left), *later]
                    raise Interrupted(
                        f"{self.peer}: the association ended before {len(unsent)} of its "
                        f"instances were answered: {error}",
                        unsent,
                    ) from error
                left.popleft()
                yield result


class _Sender:
    """Sends one instance after another; while the peer stores one, the next is read.

    Leaving its context gives up what was prepared and not sent.
    """

    def __init__(self, association: Requestor) -> None:
        self._association = association
        self._contexts = tuple(association.contexts.values())
        self._ready: tuple[Instance, Request] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._take()

    def send(self, instance: Instance, following: Instance | None) -> Sent:
        """Send ``instance``, prepare ``following``; raises FileChanged once it is half sent."""
        ready = self._take(instance)
        if ready is not None:
            return self._store(instance, ready, following)
        context = choose(instance, self._contexts)
        if context is None:
            return _not_sent(
                instance.path,
                instance.sop_class_uid,
                instance.sop_instance_uid,
                f"the peer refuses {instance.sop_class_uid} in {instance.transfer_syntax_uid}",
                SendOutcome.REFUSED_CONTEXT,
            )
        if context.transfer_syntax == instance.transfer_syntax_uid:
            return self._from_file(instance, context, instance, following)
        with tempfile.TemporaryDirectory(prefix="gateway-send-") as folder:
            decoded = Path(folder, "decoded.dcm")
            try:
                transcode(instance.path, context.transfer_syntax, decoded)
                plain = read_instance(decoded)
            except (UnsupportedByGateway, NotDicom, OSError) as error:
                return _failed(instance, str(error))
            return self._from_file(instance, context, plain, following)

    def _from_file(
        self, instance: Instance, context: Context, file: Instance, following: Instance | None
    ) -> Sent:
        """Send ``file``, which holds ``instance``."""
        try:
            request = self._prepared(context, instance, file)
        except (FileChanged, OSError) as error:
            return _failed(instance, str(error))
        return self._store(instance, request, following)

    def _store(self, instance: Instance, request: Request, following: Instance | None) -> Sent:
        def look_ahead() -> None:
            if following is not None:
                self._prepare(following)

        return _answered(instance, self._association.store(request, look_ahead))

    def _prepare(self, instance: Instance) -> None:
        """Make ready what goes out as it is; what cannot be read is told when its turn comes."""
        context = choose(instance, self._contexts)
        if context is None or context.transfer_syntax != instance.transfer_syntax_uid:
            return
        with contextlib.suppress(FileChanged, OSError):
            self._ready = instance, self._prepared(context, instance, instance)

    def _prepared(self, context: Context, instance: Instance, file: Instance) -> Request:
        content = Content(file.path, file.offset, file.length)
        return self._association.prepare(context, instance.sop_instance_uid, content)

    def _take(self, instance: Instance | None = None) -> Request | None:
        """What is ready, if it is ``instance``; anything else is given up."""
        ready, self._ready = self._ready, None
        if ready is None:
            return None
        if ready[0] is instance:
            return ready[1]
        ready[1].data.close()
        return None


def _answered(instance: Instance, answer: Command) -> Sent:
    status = answer.number(0x0900)
    if status is None:
        raise ProtocolViolation("a C-STORE response has no status")
    return Sent(
        instance.path,
        instance.sop_class_uid,
        instance.sop_instance_uid,
        status,
        answer.text(0x0902)[:64],
        classify(status),
    )


def _failed(instance: Instance, why: str) -> Sent:
    return _not_sent(
        instance.path,
        instance.sop_class_uid,
        instance.sop_instance_uid,
        why,
        SendOutcome.FAILURE,
    )


def _not_sent(
    path: Path, sop_class: str, sop_instance: str, why: str, outcome: SendOutcome
) -> Sent:
    return Sent(path, sop_class, sop_instance, None, why, outcome)


def _told(result: Sent, on_result: Callable[[Sent], None] | None) -> Sent:
    if on_result is not None:
        on_result(result)
    return result
