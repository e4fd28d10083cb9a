"""Delivering by C-STORE: one association for all files of a destination (PS3.4 Annex B)."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from gateway.config.applications import Destination
from gateway.config.tls import TlsSettings
from gateway.delivery.agent import Answer, Answered, Item, LinkError, Verdict
from gateway.delivery.statuses import verdict
from gateway.dicom.errors import (
    Interrupted,
    NotDicom,
    RejectedForGood,
    RejectedForNow,
    Unreachable,
    UnsupportedByGateway,
)
from gateway.dicom.files import Instance, read_instance
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.scu import Peer, SendOutcome, Sent, StoreScu
from gateway.results.files import shown


class DicomAgent:
    """Sends results to a DICOM peer; holds no state, any thread may use it."""

    def __init__(
        self, timeouts: RequestorTimeouts | None = None, tls: TlsSettings | None = None
    ) -> None:
        """``tls``: how destinations with ``tls: true`` are called."""
        self._timeouts = timeouts
        self._tls = tls or TlsSettings()

    def deliver(
        self,
        destination: Destination,
        items: Sequence[Item],
        answered: Answered,
        stopped: Callable[[], bool],
    ) -> bool:
        """Send ``items``; see :class:`gateway.delivery.agent.Agent`.

        A refusal "for good" (called AE title not recognised, say) is a :class:`LinkError` too:
        the person who mends it may sit at the other end, so it is tried again, visibly.
        """
        instances: list[Instance] = []
        by_path: dict[Path, Item] = {}
        for item in items:
            looked = _look(item)
            if isinstance(looked, Answer):
                answered(item, looked)
            else:
                instances.append(looked)
                by_path[looked.path] = item
        if not instances or stopped():
            return False
        scu = StoreScu(Peer.of(destination, self._tls), timeouts=self._timeouts)
        try:
            # Stopped half-way, the association must end now, not when memory is tidied.
            with closing(scu.send_instances(instances)) as results:
                for sent in results:
                    item = by_path[sent.path]
                    answered(item, _answer(item, sent))
                    if stopped():
                        break
        except Interrupted as error:
            raise LinkError(str(error), [by_path[p] for p in error.unsent[:1]]) from error
        except (Unreachable, RejectedForNow, RejectedForGood, UnsupportedByGateway) as error:
            raise LinkError(str(error), busy=isinstance(error, RejectedForNow)) from error
        return True


def _look(item: Item) -> Instance | Answer:
    """The file as it is to be sent, or why it cannot be: only what was registered is sent."""
    if item.sop_instance_uid is None:
        return Answer(Verdict.HOPELESS, comment="a file that is no DICOM instance")
    path = item.folder / item.path
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != item.size:
            return Answer(Verdict.HOPELESS, comment="the file changed after registration")
        instance = read_instance(path)
    except FileNotFoundError:
        return Answer(Verdict.HOPELESS, comment="the file is gone")
    except NotDicom:
        return Answer(Verdict.HOPELESS, comment="an instance that C-STORE cannot send")
    except OSError as error:
        return Answer(Verdict.PERMANENT, comment=f"the file cannot be read: {error.strerror}")
    if instance.sop_instance_uid != item.sop_instance_uid:
        return Answer(Verdict.HOPELESS, comment="the file changed after registration")
    return instance


def _answer(item: Item, sent: Sent) -> Answer:
    if sent.status is not None:
        meaning = verdict(sent.status, sent_before=item.tries > 0)
        return Answer(meaning, sent.status, sent.comment)
    if sent.outcome is SendOutcome.REFUSED_CONTEXT:
        return Answer(Verdict.PERMANENT, comment=sent.comment)
    # The sender names the file by its whole path.
    return Answer(Verdict.PERMANENT, comment=sent.comment.replace(str(sent.path), shown(item.path)))
