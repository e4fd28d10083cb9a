"""The gRPC server: Clara's services, health and reflection on one port."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.config.grpc import GrpcSettings, GrpcTlsSettings
from gateway.database.engine import Database
from gateway.errors import Permanent
from gateway.events.wake import Wakeups
from gateway.jobs.creation import JobCreation
from gateway.jobs.logs import Logs
from gateway.payloads.space import Space
from gateway.platform import calls, records
from gateway.platform.clara import ClaraService, GpuFeed, MonitorService
from gateway.platform.jobs import JobsService
from gateway.platform.memory import keep_freed
from gateway.platform.model_files import ModelFiles
from gateway.platform.models import ModelsService
from gateway.platform.payloads import PayloadsService
from gateway.platform.pipelines import PipelinesService
from gateway.platform.records import Locks
from gateway.platform.tokens import Tokens
from gateway.platform.tree import Tree
from gateway.platform.wire import (
    clara_pb2,
    jobs_pb2,
    metrics_pb2,
    models_pb2,
    payloads_pb2,
    pipelines_pb2,
)

MESSAGE_BYTES = 4 * 1024 * 1024 + 64 * 1024
"""Longest message taken: 4 MiB of data and what stands around it."""
GRACE_SECONDS = 5.0
"""How long calls may go on when the server stops."""
KEEPALIVE_SECONDS = 60
KEEPALIVE_ANSWER_SECONDS = 20

_OPTIONS = (
    # A second server on the port must be an error, not a partner.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_SECONDS * 1000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class GrpcError(Permanent):
    """The server cannot listen where it was told to."""


@dataclass(frozen=True)
class Platform:
    """What the servicers work with."""

    database: Database
    wakeups: Wakeups
    data_dir: Path
    models: Path
    """Model repository in Triton's layout."""
    host_volumes: Sequence[str]
    """Folders of the machine that a definition may ask for."""
    space: Space
    jobs: JobCreation
    gpus: GpuFeed
    version: str
    stop_services: Callable[[], None]
    """Stops the long-lived services of pipelines."""


class PlatformServer:
    """Serves the platform API; started and stopped by the composition root."""

    def __init__(self, platform: Platform, settings: GrpcSettings) -> None:
        """Bind at once, so that a taken port is known before anything starts.

        Port 0 = any free one.  Raises :class:`GrpcError`.
        """
        self._platform = platform
        self._stopping = threading.Event()
        self._tree = Tree(platform.data_dir, platform.space)
        self._models = ModelFiles(platform.models, platform.space)
        self._streams = calls.Streams(settings.stall_seconds)
        self._watch = threading.Thread(target=self._streams.run, name="grpc-streams", daemon=True)
        self._health = health.HealthServicer()
        self._pool = ThreadPoolExecutor(settings.max_calls, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._pool, options=_OPTIONS, maximum_concurrent_rpcs=settings.max_calls
        )
        self._add(settings)
        self._listening = False
        self.port = self._bind(settings)

    def start(self) -> None:
        """Put the payloads in order, then serve."""
        keep_freed()
        self._tree.recover()
        self._models.recover()
        with self._platform.database.read() as connection:
            deleted = records.deleted(connection)
        for payload_id in deleted:
            self._tree.delete(payload_id)
        self._watch.start()
        self._server.start()
        self._listening = True

    def running(self) -> bool:
        """True while calls are answered."""
        return self._listening and self._watch.is_alive()

    def stop(self) -> None:
        """Let running calls end, for a few seconds; idempotent."""
        self._listening = False
        self._stopping.set()
        self._health.enter_graceful_shutdown()
        self._server.stop(GRACE_SECONDS).wait()
        self._streams.stop()
        if self._watch.is_alive():
            self._watch.join()
        self._pool.shutdown()

    def _add(self, settings: GrpcSettings) -> None:
        """Add every service, and tell health and reflection of it."""
        services = self._services(settings)
        guard = Tokens(settings.tokens) if settings.tokens else None
        for service, servicer in services:
            handler = calls.handler(service, servicer, self._streams, guard)
            self._server.add_generic_rpc_handlers((handler,))
            self._health.set(service.full_name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [service.full_name for service, _ in services]
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )

    def _services(self, settings: GrpcSettings) -> list[tuple[ServiceDescriptor, object]]:
        platform, locks, tree = self._platform, Locks(), self._tree
        clara = ClaraService(
            platform.version, platform.gpus, platform.stop_services, self._stopping
        )
        jobs = JobsService(
            platform.database,
            platform.wakeups,
            tree,
            locks,
            platform.jobs,
            Logs(platform.data_dir),
        )
        payloads = PayloadsService(
            platform.database, tree, locks, settings.download_chunk_kb * 1024
        )
        monitor = MonitorService(platform.gpus, self._stopping)
        return [
            (clara_pb2.DESCRIPTOR.services_by_name["Clara"], clara),
            (jobs_pb2.DESCRIPTOR.services_by_name["Jobs"], jobs),
            (payloads_pb2.DESCRIPTOR.services_by_name["Payloads"], payloads),
            (
                pipelines_pb2.DESCRIPTOR.services_by_name["Pipelines"],
                PipelinesService(platform.database, platform.host_volumes),
            ),
            (
                models_pb2.DESCRIPTOR.services_by_name["Models"],
                ModelsService(platform.database, self._models),
            ),
            (metrics_pb2.DESCRIPTOR.services_by_name["Monitor"], monitor),
        ]

    def _bind(self, settings: GrpcSettings) -> int:
        host = f"[{settings.bind}]" if ":" in settings.bind else settings.bind
        address = f"{host}:{settings.port}"
        credentials = _credentials(settings.tls)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise GrpcError(f"gRPC cannot listen on {address}") from error
        if port == 0:
            raise GrpcError(f"gRPC cannot listen on {address}")
        return port


def _credentials(tls: GrpcTlsSettings) -> grpc.ServerCredentials | None:
    """What the server shows and asks for; None = no TLS.  The files were checked at start."""
    if tls.certificate is None or tls.key is None:
        return None
    authorities = None if tls.client_ca is None else tls.client_ca.read_bytes()
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )
