"""The composition root: builds every room from the settings, starts it, and stops it.

Nothing here decides anything about images or jobs.  Each part has a start and a stop; they start
in the order the data travels backwards (delivery first, the listener last), so that nothing
arrives before what works on it is there, and stop the other way round.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Callable

from sqlalchemy.engine import Connection

from gateway import __version__
from gateway.config.applications import AeConfig, Destination
from gateway.config.live import LiveAeConfig
from gateway.config.settings import GatewaySettings
from gateway.database.engine import Database, sqlite_url
from gateway.delivery.commitment_calls import CommitmentCalls
from gateway.delivery.commitment_worker import CommitmentWorker
from gateway.delivery.dicom_agent import DicomAgent
from gateway.delivery.folder_agent import FolderAgent
from gateway.delivery.worker import DeliveryWorker
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.peer import Peer
from gateway.dicom.receivers import Receivers, how_many
from gateway.dicom.scu import echo
from gateway.engine import (
    capacity_of,
    engine_of,
    job_creation_of,
    keeper_of,
    refuse_unreachable_data,
)
from gateway.errors import Refused
from gateway.events.lease import Lease
from gateway.events.mqtt import Publisher, discard_waiting
from gateway.events.record import Kind, record
from gateway.events.wake import Topic, Wakeups
from gateway.jobs import creation
from gateway.jobs.creation import JobCreation
from gateway.jobs.decision import Rules
from gateway.jobs.logs import Logs
from gateway.jobs.payload_files import PayloadFiles
from gateway.jobs.rerun import rerun
from gateway.jobs.scheduler import Scheduler, Tempo
from gateway.monitor import garbage, health, metrics
from gateway.monitor.condition_metrics import ConditionCollector
from gateway.monitor.journal import Journal
from gateway.monitor.machine_metrics import MachineCollector
from gateway.monitor.nvml import Nvml
from gateway.monitor.operators import Lookup
from gateway.monitor.sampler import Sampler
from gateway.monitor.traces.exporter import TraceExporter
from gateway.monitor.waiting_metrics import WaitingCollector
from gateway.parts import Ending, Part, Threaded, Worker
from gateway.payloads.actions import PayloadActions
from gateway.payloads.assembler import Assembler
from gateway.payloads.folders import Folders, sync_folder
from gateway.payloads.indexer import Indexer
from gateway.payloads.intake.intake import Intake
from gateway.payloads.retention import Retention
from gateway.payloads.space import Space
from gateway.pipelines import registry as pipelines
from gateway.platform.clara import GpuFeed
from gateway.platform.server import Platform, PlatformServer
from gateway.render.cache import Cache
from gateway.render.datasets import Datasets
from gateway.render.worker import RenderWorker
from gateway.results import tasks
from gateway.routing.attributes import extract
from gateway.routing.checks import check_rule
from gateway.routing.engine import Engine
from gateway.routing.router import Router, reroute
from gateway.services.records import Records
from gateway.web.application import create_app
from gateway.web.server import HttpServer
from gateway.web.services import Actions, Services

log = logging.getLogger(__name__)

ROLES = ("scp", "scheduler", "api", "delivery")
ECHO_SECONDS = 5.0
"""Longest wait for each step of a C-ECHO that somebody asked for."""
ENDPOINTS = "endpoints.json"
"""File in data-dir that says where this gateway listens; there while it runs."""


class Gateway:
    """One gateway process: the parts of its roles over one database and one data-dir."""

    def __init__(self, settings: GatewaySettings, role: str = "all") -> None:
        """Build everything; nothing listens or works yet.

        Raises :class:`ConfigError` for bad files, :class:`~gateway.errors.Refused` when another
        process has one of the roles on this data-dir.
        """
        refuse_unreachable_data(settings)
        self.settings = settings
        self.roles = ROLES if role == "all" else (role,)
        self.folders = Folders(settings.data_dir.resolve())
        self.folders.create()
        self.leases = [Lease(self.folders.root, name) for name in self.roles]
        self.replica = self._lead()
        self.database = Database(settings.database.url or sqlite_url(self.folders.database))
        self.database.create()
        self.wakeups = Wakeups()
        self.ae_config = LiveAeConfig(settings.ae_config, check_rule, self._config_changed)
        self.endpoints: dict[str, int] = {"pid": os.getpid()}
        self._checks: dict[str, health.Check] = {}
        self._receivers: Receivers | None = None
        self._backlog: Callable[[], int] | None = None
        self._parts: list[Part] = [
            Ending(self.database.close),
            Threaded("ae-config", _Watch(self.ae_config)),
        ]
        self._build()

    def _lead(self) -> bool:
        """Take the roles' locks; True for a further scheduler, which on PostgreSQL may be one.

        It only runs jobs: routing and retention are the first one's.
        """
        url = self.settings.database.url
        for lease in self.leases:
            try:
                lease.acquire()
            except Refused:
                if self.roles != ("scheduler",) or not (url or "").startswith("postgresql"):
                    raise
                log.info("a further scheduler: it runs jobs, another process routes and tidies")
                return True
        return False

    def _build(self) -> None:
        """Build the parts of this process's roles, in the order they start."""
        self._volumes = Cache(self.folders.root)
        self._space = Space(self.folders.root, self.settings.storage)
        self._nvml = Nvml()
        self._parts.append(Ending(self._nvml.close))
        self._indexer = Indexer(self.database, self.folders, self.wakeups)
        self._parts.append(Ending(self._indexer.stop))
        publisher = self._publisher() if "delivery" in self.roles else None
        self._checks |= {
            "database": health.database(self.database),
            "ae_config": health.ae_config(self.ae_config),
            "disk": health.disk(self.folders.root, self.settings.storage),
            "delivery": health.delivery(self.database),
            "mqtt": health.mqtt(publisher, self.database),
        }
        retention = Retention(self.database, self.folders, self.settings.retention, self._space)
        if "delivery" in self.roles:
            self._work("journal", Journal(self.database, self.wakeups))
            self._traces()
            self._delivery()
        if "scheduler" in self.roles:
            self._scheduler()
        if "scheduler" in self.roles and not self.replica:
            self._router()
            self._work("retention", retention)
        if "scp" in self.roles:
            self._scp()
        if "api" in self.roles:
            self._api(retention)

    def start(self) -> None:
        """Start every part; when one fails, those that run are stopped and the fault is raised."""
        for index, part in enumerate(self._parts):
            try:
                part.start()
            except BaseException:
                self._stop(self._parts[:index])
                raise
        self._write_endpoints()
        log.info("gateway started", extra={"roles": list(self.roles), **self.endpoints})

    def stop(self) -> None:
        """Stop every part, the listener first; records and files are where they should be."""
        (self.folders.root / ENDPOINTS).unlink(missing_ok=True)
        self._stop(self._parts)
        log.info("gateway stopped")

    def _stop(self, parts: list[Part]) -> None:
        for part in reversed(parts):
            try:
                part.stop()
            except Exception:
                # Boundary of a part: the others must still be stopped.
                log.exception("a part did not stop cleanly")
        for lease in self.leases:
            lease.release()

    def _work(self, name: str, worker: Worker) -> None:
        """Add a worker's thread; ``/health`` says when it died."""
        part = Threaded(name, worker)
        self._parts.append(part)
        self._checks[name] = lambda: health.Part.of(part.alive)

    def _publisher(self) -> Publisher | None:
        mqtt = self.settings.mqtt
        if mqtt.url is None:
            discard_waiting(self.database)
            return None
        publisher = Publisher(self.database, self.wakeups, mqtt.url, mqtt.topic_prefix)
        self._parts.append(publisher)
        return publisher

    def _traces(self) -> None:
        url = self.settings.traces.url
        if url is None:
            return
        exporter = TraceExporter(self.database, url, __version__)
        self._work("trace-exporter", exporter)
        self._checks["traces"] = lambda: health.traces(exporter.state)

    def _delivery(self) -> None:
        worker = DeliveryWorker(
            self.database,
            self.wakeups,
            self.ae_config,
            self.folders.root,
            dicom=DicomAgent(tls=self.settings.dicom.tls),
            folder=FolderAgent(),
        )
        worker.recover()
        self._work("delivery-worker", worker)
        commitments = CommitmentWorker(
            self.database,
            self.wakeups,
            self.ae_config,
            self.folders.root,
            calls=CommitmentCalls(tls=self.settings.dicom.tls),
        )
        commitments.recover()
        self._work("commitments", commitments)
        datasets = Datasets(self.database, self.folders.root)
        self._work("render", RenderWorker(self.database, self.wakeups, datasets, self._volumes))

    def _scheduler(self) -> None:
        settings = self.settings
        with self.database.begin() as connection:
            loaded = pipelines.load_folder(
                connection, settings.pipelines, host_volumes=settings.host_volumes
            )
        for fault in loaded.faults:
            log.error("pipeline not registered", extra={"fault": str(fault)})
        self._checks["pipelines"] = lambda: health.Part(
            health.Condition.DEGRADED if loaded.faults else health.Condition.OK,
            {"faults": [str(fault) for fault in loaded.faults]},
        )
        engine = engine_of(settings, self.folders.root, self._nvml)
        self._parts += engine.parts
        self._checks |= engine.checks
        scheduler = Scheduler(
            database=self.database,
            wakeups=self.wakeups,
            executor=engine.executor,
            capacity=capacity_of(settings, self._nvml),
            files=PayloadFiles(self.folders.root),
            logs=Logs(self.folders.root),
            known_destinations=lambda name: self.ae_config.current.destination(name) is not None,
            tempo=Tempo(grace=settings.jobs.grace_seconds),
            rules=Rules.of_settings(settings.jobs),
        )
        scheduler.recover()
        keeper = keeper_of(settings, self.folders.root, self.database, engine.executor, scheduler)
        if keeper is not None:
            self._parts.append(keeper)
            self._checks["services"] = lambda: health.Part.of(keeper.alive)
        self._work("scheduler", scheduler)

    def _router(self) -> None:
        engine = Engine()
        self._parts.append(Ending(engine.close))
        jobs = self._job_creation()
        router = Router(
            self.database,
            self.wakeups,
            lambda: self.ae_config.current,
            engine,
            jobs.create,
            creation.supersede,
        )
        self._work("router", router)

    def _job_creation(self) -> JobCreation:
        return job_creation_of(self.settings, capacity_of(self.settings, self._nvml))

    def _scp(self) -> None:
        dicom = self.settings.dicom
        intake = Intake(
            self.database,
            self.folders,
            self.ae_config,
            self.wakeups,
            power=dicom.durability == "power",
            receivers=how_many(),
            slots=dicom.max_associations,
        )
        assembler = Assembler(
            self.database,
            self.folders.root,
            self.ae_config,
            intake.associations,
            self.wakeups,
            extract,
        )
        self._work("assembler", assembler)
        self._parts.append(intake)
        self._backlog = lambda: intake.backlog
        self._checks["intake"] = lambda: health.Part.of(intake.alive)
        receivers = Receivers(self.settings, self.folders.root, self.ae_config, intake)
        self._receivers = receivers
        self._parts.append(_Listening(receivers, self.endpoints))
        self._checks["dicom"] = lambda: health.Part.of(
            receivers.port > 0 and receivers.alive == receivers.wanted,
            port=receivers.port,
            associations=receivers.active,
            receivers=receivers.alive,
        )

    def _api(self, retention: Retention) -> None:
        sampler = Sampler(self._nvml, Lookup(self.database), self.folders.root, ROLES)
        self._work("machine", sampler)
        services = Services(
            database=self.database,
            wakeups=self.wakeups,
            ae_config=self.ae_config,
            data_dir=self.folders.root,
            version=__version__,
            checks=self._checks,
            registry=metrics.registry(
                self.database,
                self.ae_config,
                self.folders.root,
                WaitingCollector(self.database, self.ae_config),
                ConditionCollector(
                    self.database, self.settings.storage, self._checks, self._backlog
                ),
                MachineCollector(sampler.machine, self.folders.root),
            ),
            actions=self._actions(retention),
            http=self.settings.http,
            host_volumes=self.settings.host_volumes,
            echo=self._echo,
            machine=sampler.machine,
            storage=self.settings.storage,
            settings=self.settings,
            render=self._volumes,
        )
        http = self.settings.http
        server = HttpServer(create_app(services), http.bind, http.port, http)
        self.endpoints["http"] = server.port
        self._parts.append(server)
        self._platform(sampler)

    def _echo(self, destination: Destination) -> float:
        """C-ECHO for a person who waits: seconds, or an error of ours."""
        timeouts = RequestorTimeouts(*[ECHO_SECONDS] * 4)
        return echo(Peer.of(destination, self.settings.dicom.tls), timeouts)

    def _platform(self, gpus: GpuFeed) -> None:
        """Clara's gRPC API beside REST."""
        platform = Platform(
            database=self.database,
            wakeups=self.wakeups,
            data_dir=self.folders.root,
            models=self.settings.models,
            host_volumes=self.settings.host_volumes,
            space=self._space,
            jobs=self._job_creation(),
            gpus=gpus,
            version=__version__,
            stop_services=Records(self.database).request_stop,
        )
        server = PlatformServer(platform, self.settings.grpc)
        self.endpoints["grpc"] = server.port
        self._checks["grpc"] = lambda: health.Part.of(server.running(), port=server.port)
        self._parts.append(server)

    def _actions(self, retention: Retention) -> Actions:
        payloads = PayloadActions(
            self.database, self.folders, self._indexer, self.ae_config, self.wakeups
        )
        return Actions(
            cancel_job=self._transaction(creation.cancel),
            rerun_job=self._transaction(rerun),
            retry_result=self._transaction(tasks.retry),
            release_payload=payloads.release_conflict,
            reroute_payload=lambda payload_id: reroute(self.database, self.wakeups, payload_id),
            delete_payload=lambda payload_id: retention.delete(payload_id, "by a person"),
            retry_quarantine=payloads.retry_quarantine,
        )

    def _transaction(self, change: Callable[[Connection, str], object]) -> Callable[[str], object]:
        """A change of one record as a person's action: committed when it returns."""

        def act(identifier: str) -> object:
            with self.database.begin() as connection:
                return change(connection, identifier)

        return act

    def _config_changed(self, config: AeConfig) -> None:
        """Let what waits for a destination or rule look at the new configuration at once."""
        with self.database.begin() as connection:
            record(connection, Kind.CONFIG_CHANGED, data={"version": config.version})
        if self._receivers is not None:
            self._receivers.configure(config)
        self.wakeups.notify(*Topic)

    def _write_endpoints(self) -> None:
        """Say where this process listens, for people and for the demonstration."""
        if len(self.roles) != len(ROLES):
            return
        path = self.folders.root / ENDPOINTS
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.endpoints) + "\n")
        temporary.rename(path)
        sync_folder(self.folders.root)


class _Watch:
    """The watcher of ``ae_config`` as a worker."""

    def __init__(self, ae_config: LiveAeConfig) -> None:
        self.run = ae_config.watch
        self.stop = ae_config.stop


class _Listening:
    """The DICOM listener as a part that tells its port."""

    def __init__(self, scp: Receivers, endpoints: dict[str, int]) -> None:
        self._scp = scp
        self._endpoints = endpoints

    def start(self) -> None:
        """Listen."""
        self._scp.start()
        self._endpoints["dicom"] = self._scp.port
        if self._scp.tls_port:
            self._endpoints["dicom_tls"] = self._scp.tls_port

    def stop(self) -> None:
        """Let associations end, then abort the rest."""
        self._scp.stop()


def serve(settings: GatewaySettings, role: str = "all") -> int:
    """Run a gateway until SIGTERM or SIGINT; returns the exit status.

    SIGHUP reads ``ae_config`` again.  Raises :class:`ConfigError` for bad files.
    """
    stopping = threading.Event()
    gateway = Gateway(settings, role)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    signal.signal(signal.SIGHUP, lambda _number, _frame: _reload(gateway))
    gateway.start()
    garbage.settle()
    try:
        # Signals reach Python only in the main thread, and only between its waits.
        while not stopping.wait(1.0):
            pass
    finally:
        gateway.stop()
    return 0


def _reload(gateway: Gateway) -> None:
    """Read ``ae_config`` again in a thread: a signal handler must not wait for a lock."""
    threading.Thread(target=gateway.ae_config.reload, name="reload", daemon=True).start()
