"""The keeper of services: starts what jobs need, shares it, ends it when nobody needs it.

A service belongs to one scheduler's process and dies with it: in sandboxes by the kernel, in an
engine by whoever starts next on the machine, who finds the record.  So there is never a second one
of the same, nor one that nobody knows.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.config.services import ServiceSettings
from gateway.database.engine import Database
from gateway.errors import GatewayError
from gateway.executors.logfile import LogFile
from gateway.executors.serving import Links
from gateway.executors.stopping import StopFlag
from gateway.jobs.executor import End, JobRun, OperatorEnd
from gateway.pipelines.model import Operator
from gateway.pipelines.services import TRITON
from gateway.services import triton
from gateway.services.errors import ServiceLost
from gateway.services.models import Models
from gateway.services.records import Claim, Condition, Owner, Records, log_of
from gateway.services.running import Contact, Life, Runner, Running
from gateway.services.spec import Spec, of_service, shared_folders
from gateway.services.supervisor import Care, Supervisor, make_volumes

log = logging.getLogger(__name__)

_TURN_SECONDS = 0.5
_STEP_SECONDS = 0.2
_KEPT_LOGS = 50


@dataclass(frozen=True)
class Places:
    """Folders of the gateway."""

    data: Path
    common: Path
    models: Path


@dataclass(frozen=True)
class Membership:
    """The scheduler whose services these are, now."""

    owner: Callable[[], Owner]
    gone: Callable[[Connection], Callable[[str | None], bool]]
    """Tells of another scheduler's id whether it is certainly dead."""


class Keeper:
    """The services of one scheduler (:class:`~gateway.executors.serving.Serving`); any thread.

    :meth:`start` first, :meth:`stop` when no job runs any more.
    """

    def __init__(
        self,
        runner: Runner,
        database: Database,
        membership: Membership,
        places: Places,
        settings: ServiceSettings,
        grace: float = 5.0,
    ) -> None:
        """``grace``: seconds between the polite and the hard end of a service."""
        self._runner = runner
        self._database = database
        self._records = Records(database)
        self._membership = membership
        self._places = places
        self._settings = settings
        self._grace = grace
        self._word = secrets.token_hex(16)
        own = settings.triton
        self._models = Models(places.models, own.model_limit, own.load_seconds)
        self._triton = triton.spec(own, places.models, self._word)
        self._lock = threading.RLock()
        self._cared: dict[str, Supervisor] = {}
        self._holds: dict[tuple[str, int], tuple[Spec, ...]] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="services", daemon=True)

    # --- as engines see it -------------------------------------------------------------------

    def obstacle(self, operator: Operator) -> OperatorEnd | None:
        """Why the services or models of ``operator`` can never be had, or None."""
        why = self._models.missing(operator.models) if operator.models else None
        if why is not None:
            return OperatorEnd(End.IMAGE_MISSING, why)
        for spec in self._specs(operator):
            why = self._runner.obstacle(spec)
            if why is not None:
                reason = f"the service {spec.service.name} cannot run: {why}"
                return OperatorEnd(End.IMAGE_MISSING, reason)
        return None

    def hold(self, run: JobRun) -> None:
        """Begin to start what the job needs, and keep it up until :meth:`release`."""
        found = {
            spec.identity: spec
            for operator in run.definition.operators
            if operator.name not in run.kept and self.obstacle(operator) is None
            for spec in self._specs(operator)
        }
        with contextlib.ExitStack() as undo:
            # An attempt that does not begin is never released: what it held would stay for good.
            undo.callback(self.release, run.job_id, run.attempt)
            with self._lock:
                self._holds[run.job_id, run.attempt] = tuple(found.values())
                for spec in found.values():
                    self._supervisor(spec, run.definition.pull_secrets)
            undo.pop_all()
        self._count()

    def release(self, job_id: str, attempt: int) -> None:
        """The attempt is over."""
        with self._lock:
            specs = self._holds.pop((job_id, attempt), ())
        self._count(touched=specs)

    @contextlib.contextmanager
    def connect(self, run: JobRun, operator: Operator, stop: StopFlag) -> Iterator[Links]:
        """Wait until everything is ready; the connections last as long as the context."""
        specs = self._specs(operator)
        cared = [self._ready(spec, run, stop) for spec in specs]
        with contextlib.ExitStack() as stack:
            if operator.models:
                self._load(cared[-1], operator, stop)
                stack.callback(self._models.release, operator.models)
            deaths = [each.deaths for each in cared]
            contacts = [c for spec, each in zip(specs, cared, strict=True) for c in _of(spec, each)]
            links = stack.enter_context(self._runner.link(operator, contacts))
            folders = [shared_folders(each.spec, each.life.volumes) for each in cared]
            volumes = {v.name: v.path for service in operator.services for v in service.volumes}

            def broken() -> str | None:
                for each, before in zip(cared, deaths, strict=True):
                    how = each.died_since(before)
                    if how is not None:
                        return f"the service {each.spec.service.name} {how} while it was connected"
                return None

            yield Links(
                environ={**volumes, **links.environ},
                binds=(*links.binds, *(bind for each in folders for bind in each)),
                networks=links.networks,
                attach=links.attach,
                broken=broken,
            )

    # --- as the gateway sees it --------------------------------------------------------------

    def start(self) -> None:
        """End what dead gateways left, then begin to work."""
        self._places.common.mkdir(parents=True, exist_ok=True)
        self._reap()
        self._thread.start()

    def stop(self) -> None:
        """End every service; returns when nothing of them is left."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            left = list(self._cared.values())
        for each in left:
            each.stop()
        for each in left:
            if not each.join(self._grace + 60):
                log.warning("a service does not end", extra={"service": each.life.id})

    def request_stop(self) -> None:
        """Let every service end as soon as no job needs it."""
        self._records.request_stop()

    @property
    def alive(self) -> bool:
        """True while it works."""
        return self._thread.is_alive()

    # --- starting ----------------------------------------------------------------------------

    def _specs(self, operator: Operator) -> list[Spec]:
        """The services of an operator, the gateway's own Triton last."""
        found = [of_service(service) for service in operator.services]
        return [*found, self._triton] if operator.models else found

    def _supervisor(self, spec: Spec, pull_secrets: tuple[str, ...] = ()) -> Supervisor:
        """Whoever cares for ``spec``, made now if there is nobody."""
        with self._lock:
            found = self._cared.get(spec.identity)
            if found is not None and found.alive:
                return found
            if self._ending.is_set():
                raise ServiceLost("the gateway stops")
            claim = self._records.claim(self._membership.owner(), spec)
            with contextlib.ExitStack() as undo:
                # Else it would count against the machine, and nothing would ever end it.
                undo.callback(self._records.remove, claim.id)
                supervisor = self._supervised(claim, spec, pull_secrets)
                supervisor.start()
                undo.pop_all()
            self._cared[spec.identity] = supervisor
            return supervisor

    def _supervised(self, claim: Claim, spec: Spec, pull_secrets: tuple[str, ...]) -> Supervisor:
        """Whoever will care for what was claimed; not begun yet."""
        volumes = self._places.data / "services" / claim.id
        make_volumes(volumes, len(spec.service.volumes))
        life = Life(
            id=claim.id,
            spec=spec,
            devices=claim.devices,
            common=self._places.common,
            volumes=volumes,
            log=LogFile(self._places.data / log_of(spec, claim.id)),
            grace=self._grace,
            pull_secrets=pull_secrets,
        )
        supervisor: Supervisor

        def over(clean: bool) -> None:
            self._over(supervisor, clean=clean)

        care = Care(
            self._runner,
            self._records,
            self._settings.start_seconds,
            self._renew if spec.identity == TRITON else _nothing,
            over,
        )
        supervisor = Supervisor(care, life)
        return supervisor

    def _ready(self, spec: Spec, run: JobRun, stop: StopFlag) -> Supervisor:
        """The service, once it is ready."""
        deadline = time.monotonic() + self._settings.start_seconds
        supervisor = self._supervisor(spec, run.definition.pull_secrets)
        while not supervisor.wait_ready(_STEP_SECONDS):
            if stop.is_set:
                raise ServiceLost("the job was ended while it waited for a service")
            if time.monotonic() > deadline:
                name = spec.service.name
                raise ServiceLost(f"the service {name} is not ready: {supervisor.last_words()}")
        return supervisor

    def _load(self, supervisor: Supervisor, operator: Operator, stop: StopFlag) -> None:
        running = supervisor.running()
        if running is None:
            raise ServiceLost(f"Triton {supervisor.last_words()}")
        self._models.acquire(operator.models, self._control(running), stop)
        self._change(supervisor.life.id, models=self._models.loaded)

    def _renew(self, running: Running) -> None:
        self._models.renew(self._control(running))

    def _control(self, running: Running) -> triton.Control:
        return triton.Control(running.dial, self._word)

    # --- tending -----------------------------------------------------------------------------

    def _tend(self) -> None:
        while not self._ending.wait(_TURN_SECONDS):
            try:
                self._reap()
                self._retire()
            except SQLAlchemyError as error:
                log.warning("services were not tended (%s)", type(error).__name__)
            except Exception:  # the task boundary: one turn's trouble must not end the keeping
                log.exception("services were not tended")

    def _retire(self) -> None:
        """End what no job has needed for long, or was asked to end."""
        with self._lock:
            held = self._held()
            idle = {i: s for i, s in self._cared.items() if not held.get(i) and s.alive}
        for identity, supervisor in idle.items():
            before = time.time() - self._settings.idle_seconds
            # Together: a job that comes in between must not be given what is about to end.
            with self._lock:
                users = self._held().get(identity)
                if not users and self._records.retire(supervisor.life.id, before):
                    supervisor.stop()

    def _reap(self) -> None:
        """End what schedulers left that died on this machine, and reservations nobody needs."""
        owner = self._membership.owner()
        with self._lock:
            mine = {supervisor.life.id for supervisor in self._cared.values()}
        rows = self._records.of_node(owner.node)
        strayed = [row.id for row in rows if row.id in mine and row.owner != owner.id]
        if strayed:
            self._records.adopt(strayed, owner)
        others = [row for row in rows if row.id not in mine]
        if not others:
            return
        with self._database.read() as connection:
            gone = self._membership.gone(connection)
        if any(row.owner == owner.id and row.state == Condition.RESERVED for row in others):
            self._records.drop_reserved(owner)
        for row in others:
            ended = row.owner == owner.id and row.state == Condition.STOPPING
            if ended or (row.owner != owner.id and gone(row.owner)):
                self._end_orphan(row.id)

    def _end_orphan(self, identifier: str) -> None:
        try:
            self._runner.reap(identifier)
        except (GatewayError, OSError) as error:
            log.warning("a dead gateway's service cannot be ended yet: %s", error)
            return
        self._records.remove(identifier)

    def _over(self, supervisor: Supervisor, *, clean: bool) -> None:
        """A service ended; its record stays until nothing of it is left."""
        with self._lock:
            if self._cared.get(supervisor.spec.identity) is supervisor:
                del self._cared[supervisor.spec.identity]
                if supervisor.spec.identity == TRITON:
                    self._models.forget()
        try:
            if clean:
                self._records.remove(supervisor.life.id)
            else:
                self._records.change(supervisor.life.id, state=Condition.STOPPING)
        except SQLAlchemyError as error:
            log.warning("a service's record was not removed (%s)", type(error).__name__)
        self._tidy_logs()

    def _tidy_logs(self) -> None:
        folder = self._places.data / "logs" / "services"
        with contextlib.suppress(OSError):
            found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for old in found[_KEPT_LOGS:]:
                old.unlink(missing_ok=True)

    def _held(self) -> Mapping[str, int]:
        """How many jobs need what, by identity."""
        counts: dict[str, int] = {}
        for specs in self._holds.values():
            for spec in specs:
                counts[spec.identity] = counts.get(spec.identity, 0) + 1
        return counts

    def _count(self, touched: tuple[Spec, ...] = ()) -> None:
        """Record how many jobs need each service, and that some did until now."""
        with self._lock:
            held = self._held()
            known = {s.life.id: held.get(i, 0) for i, s in self._cared.items()}
            ended = {spec.identity for spec in touched}
            used = {s.life.id for i, s in self._cared.items() if i in ended or held.get(i)}
        for identifier, jobs in known.items():
            values: dict[str, object] = {"jobs": jobs}
            if identifier in used:
                values |= {"used_at": time.time()}
            self._change(identifier, **values)

    def _change(self, identifier: str, **values: object) -> None:
        try:
            self._records.change(identifier, **values)
        except (SQLAlchemyError, sa.exc.ArgumentError) as error:
            log.warning("a service's record was not written (%s)", type(error).__name__)


def _nothing(_running: Running) -> None:
    """Nothing is to be renewed."""


def _of(spec: Spec, supervisor: Supervisor) -> list[Contact]:
    """The connections of one service, by its ports."""
    by_port: dict[int, list[str]] = {}
    for name, port in spec.ports.items():
        by_port.setdefault(port, []).append(name)
        if name == triton.HTTP and spec.identity == TRITON:
            by_port[port] += triton.ALSO_HTTP
    return [
        Contact(tuple(names), port, supervisor.running, spec, supervisor.life.id)
        for port, names in by_port.items()
    ]
