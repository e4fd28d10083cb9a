"""Carrying one batch over several associations at once (``destinations[].associations``).

The files are shared out once, each to one association, so none can go out twice; every answer is
on disk before the association that got it goes on.  What an association could not carry, because
the destination allows fewer of them, goes over one more after the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.config.applications import Destination
from gateway.delivery.agent import POSITIVE, Agent, Answer, Answered, Item, LinkError

log = logging.getLogger(__name__)

_PAUSES = (0.0, 0.25, 1.0)
"""Before each one more, in seconds."""


@dataclass(frozen=True)
class Carried:
    """How the carrying of a batch ended."""

    answers: int
    """Files that have an answer."""
    positive: bool
    """Whether one of them is positive."""
    reached: bool
    """Whether the destination was reached."""
    fault: LinkError | None = None
    """What broke and left files without an answer, with all that may have arrived."""


@dataclass
class _Share:
    """What goes over one association, and how that ended."""

    items: list[Item]
    reached: bool = False
    fault: LinkError | None = None
    crash: Exception | None = None


@dataclass
class _Answers:
    """Answers of all associations; any of their threads may add to them."""

    answered: Answered
    positive: bool = False
    file_ids: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, item: Item, answer: Answer) -> None:
        """Write down what became of a file, then count it."""
        self.answered(item, answer)
        with self._lock:
            self.positive = self.positive or answer.verdict in POSITIVE
            self.file_ids.add(item.file_id)


def shares(items: Sequence[Item], count: int) -> list[list[Item]]:
    """Share ``items`` out to at most ``count`` associations, about as many bytes to each.

    The order within a share is that of ``items``.  Instances of one UID stay together: a peer
    that gets the same one twice at once may answer either with anything.
    """
    parts: list[list[Item]] = [[] for _ in range(count)]
    loads = [0] * count
    homes: dict[str, int] = {}
    for item in items:
        lightest = min(range(count), key=loads.__getitem__)
        uid = item.sop_instance_uid
        at = lightest if uid is None else homes.setdefault(uid, lightest)
        parts[at].append(item)
        loads[at] += item.size + 1
    return [part for part in parts if part]


class Carrier:
    """Carries batches to one destination by one agent; used by the destination's thread."""

    def __init__(self, agent: Agent, destination: Destination, stopped: Callable[[], bool]) -> None:
        self._agent = agent
        self._destination = destination
        self._stopped = stopped
        self._crashed = threading.Event()

    def carry(self, items: Sequence[Item], answered: Answered, count: int) -> Carried:
        """Deliver ``items`` over at most ``count`` associations; returns when all have ended.

        ``answered`` is called from the threads of the associations.  Raises what an agent should
        not have raised, after the other associations have ended.
        """
        answers = _Answers(answered)
        parts = [_Share(part) for part in shares(items, count)]
        self._all(parts, answers)
        if len(parts) > 1:
            self._over_one_more(parts, answers)
        return Carried(
            answers=len(answers.file_ids),
            positive=answers.positive,
            reached=any(part.reached for part in parts),
            fault=_fault(parts, answers),
        )

    def _over_one_more(self, parts: list[_Share], answers: _Answers) -> None:
        """Carry what is left of broken shares, one association after another; adds to ``parts``."""
        for pause in _PAUSES:
            rest = self._rest(parts, answers)
            if rest is None:
                return
            # A peer that counts associations may not have noticed yet that the others ended.
            time.sleep(pause)
            parts.append(rest)
            self._all([rest], answers)
            if rest.fault is not None and rest.fault.in_flight:
                return

    def _all(self, parts: Sequence[_Share], answers: _Answers) -> None:
        threads = [
            threading.Thread(
                target=self._one,
                args=(part, answers),
                name=f"{threading.current_thread().name}-{number}",
                daemon=True,
            )
            for number, part in enumerate(parts[1:], 2)
        ]
        for thread in threads:
            thread.start()
        for part in parts[:1]:
            self._one(part, answers)
        for thread in threads:
            thread.join()
        for part in parts:
            if part.crash is not None:
                raise part.crash

    def _one(self, part: _Share, answers: _Answers) -> None:
        try:
            part.reached = self._agent.deliver(
                self._destination, part.items, answers.add, self._ended
            )
        except LinkError as fault:
            part.fault = fault
        except Exception as crash:  # noqa: BLE001 - raised again by the destination's thread
            part.crash = crash
            self._crashed.set()

    def _ended(self) -> bool:
        return self._stopped() or self._crashed.is_set()

    def _rest(self, parts: Sequence[_Share], answers: _Answers) -> _Share | None:
        """What broken associations left, if the destination works; None = nothing to try now."""
        broken = [part for part in parts if part.fault is not None]
        faults = [part.fault for part in broken if part.fault is not None]
        works = len(broken) < len(parts) or any(fault.busy for fault in faults)
        if not works or self._ended():
            return None
        uncertain = {item.file_id for fault in faults for item in fault.in_flight}
        done = answers.file_ids | uncertain
        # By number: what an earlier one more left stands in its share, too.
        left = {i.file_id: i for p in broken for i in p.items if i.file_id not in done}
        if not left:
            return None
        log.warning(
            "some associations failed, their files go over one more",
            extra={
                "destination": self._destination.name,
                "associations": len(parts),
                "failed": len(broken),
            },
        )
        return _Share(list(left.values()))


def _fault(parts: Sequence[_Share], answers: _Answers) -> LinkError | None:
    """The last fault that left a file without an answer, with the files that may have arrived."""
    faults = [
        part.fault
        for part in parts
        if part.fault is not None and any(i.file_id not in answers.file_ids for i in part.items)
    ]
    if not faults:
        return None
    return LinkError(str(faults[-1]), [item for fault in faults for item in fault.in_flight])
