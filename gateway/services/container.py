"""Services as containers, each on a private network that only the operators that call it join.

The network is internal: nothing on it reaches another network.  A service has the limits of an
operator's container: no root, no capabilities, a read-only root, limits on memory and processes.
The gateway asks for its health over the network's bridge, so it must run on the engine's machine.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.executors import access, gpus, needs
from gateway.executors.container.api import Api, EngineError, NotThereError, RefusedError
from gateway.executors.container.images import ImageMissingError, StoppedError
from gateway.executors.container.operator import PATH, ContainerEngine
from gateway.executors.container.plan import Plan
from gateway.executors.container.running import Guard, execute
from gateway.executors.environment import base
from gateway.executors.references import reference_of
from gateway.executors.serving import Links
from gateway.executors.stopping import StopFlag
from gateway.executors.verdict import Outcome, ending
from gateway.pipelines.model import Operator
from gateway.services.errors import ServiceFault, ServiceLost
from gateway.services.running import Contact, Life, Running
from gateway.services.spec import Spec, binds, variables

log = logging.getLogger(__name__)

LABEL = "gateway.service"
_START_SECONDS = 600.0
"""Longest time for pulling its image and starting it."""
_ROOTLESS = (
    "the container engine runs without root, so the gateway cannot reach services on its networks: "
    "use Docker's or Podman's service of the machine"
)


def name_of(life: str) -> str:
    """Of the container and of its network."""
    return f"gateway-service-{life}"


class ContainerRunner:
    """Services on a container engine (:class:`~gateway.services.running.Runner`)."""

    def __init__(self, engine: ContainerEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, tuple[str, str]] = {}
        """IP and MAC by life: where operators that run look for it after it died."""

    def obstacle(self, spec: Spec) -> str | None:
        """Why it can never run here: a folder it may not see, or networks out of reach."""
        why = needs.forbidden(spec.service.host_volume, self._engine.host_volumes)
        if why is not None:
            return why
        try:
            facts = self._engine.api.facts()
        except EngineError:
            return None
        if facts.rootless:
            return _ROOTLESS
        if spec.service.requests.gpu and not facts.gives_gpus:
            return "Podman gives no GPU over its Docker API before release 5: use that, or Docker"
        return None

    def start(self, life: Life) -> Running:
        """Pull its image if need be and start its container; returns when it runs."""
        started = _Contained(self._engine, life, self._addresses)
        threading.Thread(target=started.run, name=f"service-{life.id[:8]}", daemon=True).start()
        started.await_start()
        return started

    def reap(self, life: str) -> None:
        """Remove container and network of a life; :class:`EngineError` when one may be left."""
        self._addresses.pop(life, None)
        with self._engine.api.session() as client:
            for each in client.containers(all=True, filters={"label": [f"{LABEL}={life}"]}):
                with contextlib.suppress(NotThereError):
                    client.remove_container(each["Id"], v=True, force=True)
            for each in client.networks(filters={"label": [f"{LABEL}={life}"]}):
                client.remove_network(each["Id"])

    @contextlib.contextmanager
    def link(self, operator: Operator, contacts: Sequence[Contact]) -> Iterator[Links]:  # noqa: ARG002 - whatever network it has, these are more
        """Put the operator on the networks of its services."""
        environ: dict[str, str] = {}
        for contact in contacts:
            running = contact.running()
            if not isinstance(running, _Contained):
                raise ServiceLost("a service went away while its operator was being started")
            environ |= dict.fromkeys(contact.variables, f"{running.host()}:{contact.port}")
        lives = dict.fromkeys(contact.life for contact in contacts)
        yield Links(environ=environ, networks=tuple(map(name_of, lives)))


class _Contained:
    """A service's container."""

    def __init__(
        self, engine: ContainerEngine, life: Life, addresses: dict[str, tuple[str, str]]
    ) -> None:
        """``addresses``: those of earlier starts, by life; its own is kept there."""
        self._engine = engine
        self._addresses = addresses
        self._life = life
        self._stopping = StopFlag()
        self._turned = threading.Event()
        self._finished = threading.Event()
        self._how: str | None = None
        self._fault: ServiceFault | None = None
        self._address: str | None = None

    def run(self) -> None:
        """Have the container run until its end; in a thread of its own."""
        try:
            self._how = _how(self._execute(), self._life)
        except ImageMissingError as error:
            self._fault = ServiceFault(f"the service {self._life.spec.service.name}: {error}")
            self._how = str(error)
        except StoppedError:
            self._how = "was ended"
        except (EngineError, OSError) as error:
            self._how = f"could not be run: {error}"
        except Exception:  # a thread's boundary: whoever waits for the service must hear of it
            log.exception("a service's thread failed", extra={"service": self._life.id})
            self._how = "could not be run: the gateway failed, see its log"
        finally:
            self._finished.set()
            self._turned.set()
            self._stopping.close()

    def await_start(self) -> None:
        """Wait until it runs; :class:`ServiceFault` when it never will."""
        if not self._turned.wait(_START_SECONDS):
            self._stopping.set()
            raise ServiceLost("its container was not started in time")
        if self._fault is not None:
            raise self._fault

    def dial(self, port: int, timeout: float) -> socket.socket:
        """A connection over the network's bridge."""
        address = self.address()
        if address is None or self._finished.is_set():
            raise ConnectionRefusedError("the service does not run")
        made = socket.create_connection((address, port), timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def host(self) -> str:
        """What operators call it: its name where the engine resolves names, else its address."""
        name = name_of(self._life.id)
        return (self.address() or name) if self._engine.api.facts().podman else name

    def address(self) -> str | None:
        """Its address on its network; None while it has none."""
        if self._address is None:
            name = name_of(self._life.id)
            try:
                with self._engine.api.session() as client:
                    told: Any = client.inspect_container(name)["NetworkSettings"]["Networks"]
            except EngineError:
                return None
            mine = told.get(name) or {}
            self._address = mine.get("IPAddress") or None
            if self._address is not None:
                self._addresses[self._life.id] = (self._address, str(mine.get("MacAddress", "")))
        return self._address

    def ended(self) -> str | None:
        """How it ended."""
        return self._how if self._finished.is_set() else None

    def stop(self) -> None:
        """End it and wait."""
        self._stopping.set()
        self._finished.wait()

    def _execute(self) -> Outcome:
        engine, life = self._engine, self._life
        service = life.spec.service
        reference = reference_of(service.image, service.tag)
        image = engine.images.obtain(reference, life.pull_secrets, self._stopping)
        user = access.user()
        for folder in life.volumes.glob("*"):
            access.give(folder, user)
        name = name_of(life.id)
        _ensure_network(engine.api, life.id)
        names = gpus.names(life.devices, engine.gpus)
        environ = variables(
            life.spec, {"PATH": PATH, **image.env}, base(service.requests.cpu), names
        )
        plan = Plan(
            name=name,
            labels={LABEL: life.id},
            image=image.id,
            user=user,
            environ=environ,
            binds=binds(life.spec, life.common, life.volumes),
            memory_mb=service.requests.memory,
            cpu=service.requests.cpu,
            command=life.spec.command(environ),
            network=name,
            # Docker resolves its name instead, and gives no address that one asks for.
            address=self._addresses.get(life.id) if engine.api.facts().podman else None,
            gpus=names,
        )
        guard = Guard(life.log, self._stopping, life.grace, image.stop_signal)
        return execute(engine.api, plan, guard, lambda _at: self._turned.set())


def _ensure_network(api: Api, life: str) -> None:
    """Make the private network of a life, if it is not there from its start before."""
    name = name_of(life)
    with api.session() as client:
        if any(each["Name"] == name for each in client.networks(names=[name])):
            return
        try:
            client.create_network(name, internal=True, labels={LABEL: life})
        except RefusedError as error:
            raise EngineError(f"its network cannot be made: {error}") from error


def _how(outcome: Outcome, life: Life) -> str:
    if outcome.out_of_memory:
        return f"needed more than the {life.spec.service.requests.memory} MB it asked for"
    if not outcome.ran:
        return "was ended"
    return f"ended with {ending(outcome.exit_code, life.log.last_line)}"
