"""The embedded engine: every operator is a sandboxed process of this machine."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway.config.settings import ImageSettings
from gateway.executors import interpreter, limits, procfs, shared
from gateway.executors.environment import base
from gateway.executors.gpus import Gpu
from gateway.executors.graph import GraphJob
from gateway.executors.images import Images
from gateway.executors.limits import Limiter
from gateway.executors.operator import Engine, ProcessSteps, ahead_of, mark
from gateway.executors.sandbox import Bind, Bubblewrap, Plan, SandboxError, locate
from gateway.executors.serving import Serving, held
from gateway.executors.warm.pool import Parents
from gateway.jobs.executor import JobHandle, JobRun, Report
from gateway.pipelines.model import Operator

log = logging.getLogger(__name__)

_CHECK_SECONDS = 20.0
_ADVICE = (
    "the kernel must allow user namespaces (sysctl kernel.unprivileged_userns_clone, "
    "kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces)"
)


class ProcessExecutor:
    """Runs jobs in bubblewrap sandboxes; any thread may call it."""

    def __init__(
        self,
        images: Mapping[str, ImageSettings] | None = None,
        *,
        limiter: Limiter | None = None,
        host_volumes: Sequence[str] = (),
        gpus: Mapping[int, Gpu] | None = None,
        warm: bool = False,
    ) -> None:
        """``images`` and ``host_volumes`` are the settings' keys of those names.

        ``gpus`` tells what the devices are called, by index.

        ``warm``: operators in Python start from warm parents; :meth:`close` ends these.
        ``limiter`` None = the best there is.
        Raises :class:`SandboxError` when bubblewrap is not installed.
        """
        bwrap = locate()
        self._engine = Engine(
            bwrap,
            Images(images),
            limiter or limits.detect(),
            tuple(host_volumes),
            gpus or {},
            warm=Parents(bwrap) if warm else None,
        )

    @property
    def engine(self) -> Engine:
        """What every operator is run with; services are run with the same."""
        return self._engine

    def serve(self, services: Serving) -> None:
        """Let operators call services, which ``services`` keeps; before the first job."""
        self._engine = replace(self._engine, services=services)

    @property
    def name(self) -> str:
        """``process``."""
        return "process"

    @property
    def memory_mode(self) -> str:
        """One sentence: how memory requests are enforced on this machine."""
        return self._engine.limiter.mode

    @property
    def start_mode(self) -> str:
        """One sentence: how operators start on this machine."""
        warm = self._engine.warm
        return "every operator starts cold" if warm is None else warm.mode

    def warm_up(self, operator: Operator, seconds: float) -> bool:
        """Make the warm parent of an operator and wait for it; False if it starts cold."""
        program, warm = self._engine.images.find(operator), self._engine.warm
        if program is None or warm is None:
            return False
        cpu = operator.requests.cpu
        environ = {**base(cpu), **program.env, **operator.variables}
        return warm.warm_up(program, cpu, environ, seconds)

    def close(self) -> None:
        """End the warm parents; no job runs any more."""
        if self._engine.warm is not None:
            self._engine.warm.close()

    def check(self) -> list[str]:
        """Make a sandbox that does nothing; say what is wrong if that fails."""
        try:
            trouble = _try(self._engine.bwrap)
        except (OSError, subprocess.SubprocessError, SandboxError) as error:
            trouble = str(error)
        if trouble is None:
            return []
        return [f"bubblewrap cannot make a sandbox ({trouble}): {_ADVICE}"]

    def start(self, run: JobRun, report: Report, done: Callable[[], None]) -> JobHandle:
        """Start an attempt in threads of its own and return at once."""
        done = held(self._engine.services, run, done)
        ahead = ahead_of(self._engine, run)
        steps = ProcessSteps(self._engine, ahead)
        job = GraphJob(steps, run, report, done, closing=ahead.close)
        job.start()
        return job

    def reap(self, job_id: str, attempt: int) -> None:
        """End every process of a dead attempt; :class:`procfs.StillThere` if one does not end."""
        word = mark(job_id, attempt)
        count = procfs.kill_marked(word.encode())
        if count:
            log.warning("processes of a dead attempt ended", extra={"job": job_id, "count": count})
        self._engine.limiter.sweep(f"{word}-")
        try:
            shared.clear(job_id, attempt)
        except OSError as error:
            raise procfs.StillThere(f"its shared memory cannot be freed: {error}") from error


def _try(bwrap: Bubblewrap) -> str | None:
    """Run ``true`` in a sandbox like an operator's; what bubblewrap says if that fails."""
    plan = Plan(
        command=("/usr/bin/true",),
        folder="/",
        environ={},
        binds=tuple(Bind(p, str(p)) for p in interpreter.visible()),
        network=False,
        memory_mb=16,
    )
    done = subprocess.run(
        [bwrap.path, *bwrap.arguments(plan), *plan.command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_CHECK_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
