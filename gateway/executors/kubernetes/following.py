"""From what a Pod's status says to reports of operators, each once.

One thread.  Nothing here asks the cluster anything but logs.
"""

from __future__ import annotations

import time

from gateway.executors import outputs
from gateway.executors.kubernetes import containers
from gateway.executors.kubernetes.api import Cluster, Object
from gateway.executors.kubernetes.logs import Copy
from gateway.executors.kubernetes.names import container_name
from gateway.executors.kubernetes.status import Container, Facts
from gateway.executors.verdict import Outcome, verdict
from gateway.jobs.executor import End, JobRun, OperatorEnd, Report
from gateway.pipelines.model import Operator

_DRAIN_SECONDS = 10.0
_KILLED = "OOMKilled"
_TELLING = frozenset(
    {
        "Scheduled", "FailedScheduling", "Pulling", "Pulled", "Failed", "BackOff", "Evicted",
        "Preempted", "Killing", "FailedMount", "FailedAttachVolume", "NodeNotReady",
        "TaintManagerEviction", "FailedCreatePodSandBox", "NotTriggerScaleUp", "TriggeredScaleUp",
    }
)  # fmt: skip
"""Events of the cluster that belong on a job's timeline; the others say what we report anyway."""
_HINDERING = frozenset(
    {"FailedScheduling", "Failed", "BackOff", "FailedMount", "FailedAttachVolume",
     "FailedCreatePodSandBox"}
)  # fmt: skip
_TAKING = frozenset({"Preempted", "Evicted", "TaintManagerEviction"})
_TAKEN_SECONDS = 2.0
"""Between the news that a Pod is taken away and those that tell why."""
_MOST_NOTICES = 40


class Following:
    """What is known of one attempt's operators."""

    def __init__(
        self, cluster: Cluster, pod: str, run: JobRun, report: Report, image_seconds: float = 120
    ) -> None:
        self._cluster = cluster
        self._pod = pod
        self._run = run
        self._report = report
        self._image_seconds = image_seconds
        self._waiting = {container_name(run.definition, o): o for o in containers.running(run)}
        self._logs: dict[str, Copy] = {}
        self._started: set[str] = set()
        self._complete: dict[str, float] = dict.fromkeys(run.kept, 0.0)
        self._hindered: tuple[float, Operator, str] | None = None
        self._noticed: set[tuple[str, str]] = set()
        self._facts: Facts | None = None
        self._taken: float | None = None
        self._taking: str | None = None
        self.ending = False
        """True once the job itself ends its Pod: what ends now ends because of that."""
        self.fault = False
        """True when an operator did not complete."""

    @property
    def over(self) -> bool:
        """True when every operator ended, or one did not complete."""
        return self.fault or not self._waiting

    def take(self, facts: Facts) -> None:
        """The Pod is like this now."""
        self._facts = facts
        if self.ending:
            return
        self._begin()
        while self._next(facts):
            self._begin()
        self._hinder(facts)
        self._unstartable(facts)
        if not self.over and facts.phase in ("Failed", "Succeeded"):
            self.lost(facts.trouble or f"its Pod ended ({facts.phase}) and says nothing of it")
        elif facts.deleting and self._taken is None:
            self._taken = time.monotonic()

    def gone(self) -> None:
        """The Pod is not there any more, and it was not us."""
        self.lost(self._why_taken())

    def lost(self, reason: str) -> None:
        """What was to run cannot be had any more."""
        if not self.over:
            first = next(iter(self._waiting.values()))
            self.fail(self._present() or first, OperatorEnd(End.LOST, reason))

    def fail(self, operator: Operator, end: OperatorEnd) -> None:
        """An operator that ended without its container having said so."""
        self.fault = True
        self._waiting.pop(container_name(self._run.definition, operator), None)
        self._report.operator_stopped(operator.name, time.time(), end)

    def stopped(self, why: str | None) -> None:
        """Nothing runs any more: tell of the operators that were ended with the rest."""
        words = why or "another operator did not complete"
        for name, operator in list(self._waiting.items()):
            copy = self._logs.get(name)
            if copy is not None:
                copy.end(_DRAIN_SECONDS / 5)
            if operator.name in self._started:
                found = self._facts.containers.get(name) if self._facts else None
                code = found.ended.code if found and found.ended else None
                del self._waiting[name]
                end = OperatorEnd(End.STOPPED, words, code)
                self._report.operator_stopped(operator.name, time.time(), end)

    def leave(self) -> None:
        """Turn away; the Pod goes on."""
        for copy in self._logs.values():
            copy.leave()

    def event(self, event: Object) -> None:
        """The cluster told something of the Pod."""
        reason = str(event.get("reason", ""))
        if reason in _TELLING:
            message = " ".join(str(event.get("message", "")).split())
            self._notice(reason, message, hinders=reason in _HINDERING)
        if reason in _TAKING:
            self._taking = f"{reason}: {message}"

    def hinder(self, reason: str, message: str) -> None:
        """The job cannot go on because of this."""
        self._notice(reason, message, hinders=True)

    def patience(self) -> None:
        """End what waited in vain for long enough."""
        if self.over:
            return
        if self._taken is not None and time.monotonic() - self._taken > _TAKEN_SECONDS:
            self.lost(self._why_taken())
        if self._hindered is None or self.over:
            return
        since, operator, why = self._hindered
        if time.monotonic() - since > self._image_seconds:
            self.fail(operator, OperatorEnd(End.IMAGE_MISSING, _missing(operator, why)))

    # --- operators ---------------------------------------------------------------------------

    def _next(self, facts: Facts) -> bool:
        """Report the first end that can be told; True when there may be more.

        A node tells of its containers in any order: what reads from an operator whose own end is
        not known yet has to wait.
        """
        ended = [
            (found.ended.ended, name)
            for name, operator in self._waiting.items()
            if (found := facts.containers.get(name)) is not None
            and found.ended is not None
            and found.ended.began is not None
            # Whoever takes the Pod away ends what runs in it.
            and not (facts.deleting and found.ended.code)
            and self._complete.keys() >= set(operator.upstream)
        ]
        if self.fault or not ended:
            return False
        _, name = min(ended)
        self._ended(name, facts.containers[name])
        return True

    def _begin(self) -> None:
        """Report the operators whose program is executed by now."""
        if self.fault or self._facts is None:
            return
        for name, operator in self._waiting.items():
            found = self._facts.containers.get(name)
            if found is None or found.running_since is None or operator.name in self._started:
                continue
            if self._complete.keys() >= set(operator.upstream):
                before = [self._complete[each] for each in operator.upstream]
                self._start(name, operator, max([found.running_since, *before]), found.image)

    def _start(self, name: str, operator: Operator, at: float, image: str | None) -> None:
        if operator.name in self._started:
            return
        self._started.add(operator.name)
        if self._run.resumed:
            # It is copied from its beginning again.
            self._run.logs[operator.name].unlink(missing_ok=True)
        self._logs[name] = Copy(self._cluster, self._pod, name, self._run.logs[operator.name])
        self._report.operator_started(operator.name, at, image)

    def _ended(self, name: str, found: Container) -> None:
        ended, operator = found.ended, self._waiting[name]
        if ended is None or ended.began is None:
            return
        self._start(name, operator, ended.began, found.image)
        copy = self._logs[name]
        copy.end(_DRAIN_SECONDS)
        trouble = None if self._facts is None else self._facts.trouble
        outcome = Outcome(
            ended.code,
            ran=True,
            stopped=False,
            out_of_memory=ended.reason == _KILLED,
        )
        if ended.code != 0 and not outcome.out_of_memory and trouble is not None:
            end = OperatorEnd(End.LOST, trouble, ended.code)
        else:
            end = verdict(self._run, operator, outcome, copy.last_line)
        del self._waiting[name]
        if end.end is End.COMPLETED:
            self._complete[operator.name] = ended.ended
        else:
            self.fault = True
            if outputs.full(self._run):
                # Nobody reads them any more, and no end can be recorded on a full disk.
                outputs.discard(self._run, operator)
        self._report.operator_stopped(operator.name, ended.ended, end)

    def _why_taken(self) -> str:
        trouble = None if self._facts is None else self._facts.trouble
        return trouble or self._taking or "its Pod was deleted by somebody else"

    def _unstartable(self, facts: Facts) -> None:
        """An operator whose container the node could not start: nothing will make it run."""
        for name, operator in list(self._waiting.items()):
            found = facts.containers.get(name)
            if not self.fault and found is not None and found.ended and found.ended.unstartable:
                why = f"its container cannot be started: {found.ended.unstartable}"
                self.fail(operator, OperatorEnd(End.IMAGE_MISSING, why, found.ended.code))

    def _present(self) -> Operator | None:
        """An operator that runs."""
        running = (o for o in self._waiting.values() if o.name in self._started)
        return next(running, None)

    # --- what hinders ------------------------------------------------------------------------

    def _hinder(self, facts: Facts) -> None:
        if self.over:
            return
        if facts.unschedulable is not None:
            self.hinder("Unschedulable", facts.unschedulable)
        hindered = [
            (o, facts.containers[name])
            for name, o in self._waiting.items()
            if name in facts.containers and facts.containers[name].hindrance is not None
        ]
        if not hindered:
            self._hindered = None
            return
        operator, found = next((h for h in hindered if h[1].hopeless), hindered[0])
        why = found.hindrance or ""
        if found.hopeless:
            self.fail(operator, OperatorEnd(End.IMAGE_MISSING, _missing(operator, why)))
            return
        since = time.monotonic() if self._hindered is None else self._hindered[0]
        self._hindered = (since, operator, why)

    def _notice(self, reason: str, message: str, *, hinders: bool) -> None:
        key = (reason, message)
        if key in self._noticed or len(self._noticed) >= _MOST_NOTICES:
            return
        self._noticed.add(key)
        self._report.noticed(time.time(), reason, f"{reason}: {message}", hinders=hinders)


def _missing(operator: Operator, why: str) -> str:
    return f"the image {operator.image}:{operator.tag} cannot be had: {why}"
