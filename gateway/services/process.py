"""Services in sandboxes of this machine, and the ports through which operators reach them.

A service's sandbox is an operator's: no capabilities, nothing of the machine but what its image
needs, a network namespace of its own with nothing but the loopback.  It cannot reach the network,
the gateway or an operator.  An operator that names it sees, on its own loopback, the ports it
connects to and nothing else; the gateway carries the bytes (:mod:`gateway.services.relay`).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.executors import gpus, interpreter, needs, procfs
from gateway.executors.environment import base
from gateway.executors.images import Program
from gateway.executors.launch import Guard, launch
from gateway.executors.operator import Engine
from gateway.executors.sandbox import Bind, Plan, SandboxError
from gateway.executors.serving import Links
from gateway.executors.stopping import StopFlag
from gateway.executors.verdict import Outcome, ending
from gateway.pipelines.model import Operator
from gateway.services.errors import ServiceFault, ServiceLost
from gateway.services.namespaces import LOOPBACK, Namespace
from gateway.services.relay import Dial, Door
from gateway.services.running import Contact, Life, Running
from gateway.services.spec import TRITON_PROGRAMS, Spec, binds, variables

log = logging.getLogger(__name__)

_START_SECONDS = 90.0
_DIAL_SECONDS = 5.0


def mark(life: str) -> str:
    """The word by which the processes of one life are found again."""
    return f"gateway-service-{life}"


class ProcessRunner:
    """Services as sandboxed processes (:class:`~gateway.services.running.Runner`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def obstacle(self, spec: Spec) -> str | None:
        """Why it can never run here: a folder it may not see, or an image that is not known."""
        why = needs.forbidden(spec.service.host_volume, self._engine.host_volumes)
        if why is not None:
            return why
        if self._program(spec, {}) is None:
            known = ", ".join(self._engine.images.names)
            return f"no command is known for the image {spec.image}; `images` knows: {known}"
        return None

    def start(self, life: Life) -> Running:
        """Start its sandbox in a thread of its own; returns when the program executes."""
        word = mark(life.id)
        try:
            cage = self._engine.limiter.cage(word, life.spec.service.requests.memory)
        except OSError as error:
            raise ServiceLost(f"its limits cannot be set: {error.strerror}") from error
        started = _Sandboxed(life)

        def run() -> None:
            try:
                guard = Guard(cage, life.log, started.stopping, life.grace, started.enter)
                plan = self._plan(life)
                outcome = launch(self._engine.bwrap, plan, guard, word, started.executed)
                started.over(_how(outcome, life))
            except (SandboxError, OSError) as error:
                started.over(f"could not be run: {error}")
            except Exception:  # a thread's boundary: whoever waits for the service must hear of it
                log.exception("a service's thread failed", extra={"service": life.id})
                started.over("could not be run: the gateway failed, see its log")
            finally:
                cage.close()

        threading.Thread(target=run, name=f"service-{life.id[:8]}", daemon=True).start()
        started.await_start()
        return started

    def reap(self, life: str) -> None:
        """End every process of a life, and its control group."""
        procfs.kill_marked(mark(life).encode())
        self._engine.limiter.sweep(mark(life))

    @contextlib.contextmanager
    def link(self, operator: Operator, contacts: Sequence[Contact]) -> Iterator[Links]:
        """Open a port for each contact, on the operator's own loopback.

        An operator on the machine's network has its ports there, each one that is free.
        """
        with contextlib.ExitStack() as stack:
            environ: dict[str, str] = {}
            ports: dict[int, Dial] = {}
            for contact in contacts:
                dial, port = _dial(contact), contact.port
                if operator.network:
                    listener = socket.create_server((LOOPBACK, 0), backlog=128)
                    port = listener.getsockname()[1]
                    stack.callback(Door(listener, dial).close)
                else:
                    while port in ports:
                        # Two services may have the same one; here it must be another.
                        port += 1
                    ports[port] = dial
                environ |= dict.fromkeys(contact.variables, f"{LOOPBACK}:{port}")

            def attach(pid: int) -> None:
                namespace = Namespace(pid)
                try:
                    for port, dial in ports.items():
                        stack.callback(Door(namespace.listen(port), dial).close)
                finally:
                    namespace.close()

            yield Links(environ=environ, attach=attach) if ports else Links(environ=environ)

    def _plan(self, life: Life) -> Plan:
        spec, engine = life.spec, self._engine
        names = gpus.names(life.devices, engine.gpus)
        program = self._program(spec, {})
        if program is None:
            raise ServiceFault(f"no command is known for the image {spec.image}")
        environ = variables(spec, program.env, base(spec.service.requests.cpu), names)
        program = self._program(spec, environ) or program
        shown = [Bind(path, str(path)) for path in (*interpreter.visible(), *program.visible)]
        shown += binds(spec, life.common, life.volumes)
        shown += gpus.binds(life.devices, engine.gpus)
        return Plan(
            command=program.command,
            folder=program.folder,
            environ=environ,
            binds=tuple(dict.fromkeys(shown)),
            network=False,
            memory_mb=spec.service.requests.memory,
        )

    def _program(self, spec: Spec, environ: dict[str, str]) -> Program | None:
        """What its image stands for, with its own command put in."""
        service = spec.service
        plain = Operator(name=service.name, image=service.image, tag=service.tag)
        program = self._engine.images.find(plain)
        command = spec.command(environ)
        if program is None or not command:
            return program
        if Path(command[0]).name in TRITON_PROGRAMS and _is_triton(program):
            # Definitions name the program of the image; here it stands where `images` says.
            command = (*program.command, *command[1:])
        return Program(command, program.env, program.folder, program.visible)


class _Sandboxed:
    """A service's sandbox, as those see it who did not make it."""

    def __init__(self, life: Life) -> None:
        self.stopping = StopFlag()
        self._life = life
        self._namespace: Namespace | None = None
        self._turned = threading.Event()
        self._finished = threading.Event()
        self._how: str | None = None

    def enter(self, pid: int) -> None:
        """The sandbox is there, its program not executed yet."""
        self._namespace = Namespace(pid)

    def executed(self, _at: float) -> None:
        """The program executes."""
        self._turned.set()

    def over(self, how: str) -> None:
        """Nothing of it is left."""
        self._how = how
        if self._namespace is not None:
            self._namespace.close()
        self._finished.set()
        self._turned.set()
        self.stopping.close()

    def await_start(self) -> None:
        """Wait until the program executes or fails to; :class:`ServiceLost` when it hangs."""
        if not self._turned.wait(_START_SECONDS):
            self.stopping.set()
            raise ServiceLost("its sandbox was not made in time")

    def dial(self, port: int, timeout: float) -> socket.socket:
        """A connection inside its namespace."""
        namespace = self._namespace
        if namespace is None or self._finished.is_set():
            raise ConnectionRefusedError("the service does not run")
        return namespace.dial(port, timeout)

    def ended(self) -> str | None:
        """How it ended."""
        return self._how if self._finished.is_set() else None

    def stop(self) -> None:
        """End it and wait."""
        self.stopping.set()
        self._finished.wait()


def _how(outcome: Outcome, life: Life) -> str:
    if outcome.out_of_memory:
        return f"needed more than the {life.spec.service.requests.memory} MB it asked for"
    if not outcome.ran:
        return f"had no sandbox: {life.log.last_line}"
    return f"ended with {ending(outcome.exit_code, life.log.last_line)}"


def _dial(contact: Contact) -> Dial:
    def dial() -> socket.socket | None:
        running = contact.running()
        return None if running is None else running.dial(contact.port, _DIAL_SECONDS)

    return dial


def _is_triton(program: Program) -> bool:
    return Path(program.command[0]).name in TRITON_PROGRAMS
