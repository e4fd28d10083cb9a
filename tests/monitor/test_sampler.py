from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from gateway.events.lease import Lease
from gateway.monitor import operators as module
from gateway.monitor import proc
from gateway.monitor.machine_metrics import MachineCollector
from gateway.monitor.nvml import Nvml, Reading
from gateway.monitor.operators import OTHER, OperatorRun, OperatorWatch
from gateway.monitor.own import OwnProcesses
from gateway.monitor.pace import Pace
from gateway.monitor.sampler import Machine, Sampler
from tests.support.programs import program

MEBIBYTE = 1 << 20
JOB = "0123456789abcdef" * 2
# A program whose child burns CPU and ends before the program sleeps.
WORK = """
import subprocess, sys, time
held = bytearray(b"x") * (64 << 20)
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.4: pass"])
print("done", flush=True)
time.sleep(60)
"""


def wait_for(what: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


@contextmanager
def sandboxed(code: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a process namespace of its own, as every engine starts operators."""
    names = [word for name, value in environ.items() for word in ("--setenv", name, value)]
    command = [program("bwrap"), "--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/"]
    with subprocess.Popen(
        [*command, *names, sys.executable, "-c", code], stdout=subprocess.PIPE, env={}
    ) as made:
        try:
            yield made
        finally:
            inside = psutil.Process(made.pid).children(recursive=True)
            made.kill()
            wait_for(lambda: not any(proc.life(process.pid)[0] for process in inside))


def known(job_id: str, operator: str) -> OperatorRun | None:
    """A gateway with one job of one operator."""
    return OperatorRun(JOB, "lung", "segment") if (job_id, operator) == (JOB, "segment") else None


def operator(code: str = WORK, **environ: str) -> Any:
    named = {"NVIDIA_CLARA_JOBID": JOB, "NVIDIA_CLARA_STAGENAME": "segment"}
    return sandboxed(code, **(named | environ))


def test_an_operator_is_measured_with_all_its_processes() -> None:
    watch = OperatorWatch(known)
    with operator() as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"done\n"
        watch.look(proc.pids())
        watch.look_at_memory()
        (usage,) = watch.usages()
        assert usage.run == OperatorRun(JOB, "lung", "segment")
        assert usage.processes == 2  # the sandbox's first process and the program
        assert 0.38 <= usage.cpu_seconds < 10  # the child that ended is in it
        assert 64 * MEBIBYTE < usage.memory < 128 * MEBIBYTE
        inside = max(psutil.Process(started.pid).children(recursive=True), key=lambda p: p.pid)
        assert watch.run_of(inside.pid) == usage.run
        assert watch.run_of(os.getpid()) is None
    watch.look(proc.pids())
    assert watch.usages() == ()
    totals = watch.totals()["lung", "segment"]
    assert totals.cpu_seconds == usage.cpu_seconds
    assert totals.peak_memory == usage.memory


def test_a_second_run_adds_to_the_first_and_counts_nothing_twice() -> None:
    watch = OperatorWatch(known)
    seconds = []
    for _ in range(2):
        with operator() as started:
            assert started.stdout is not None
            started.stdout.readline()
            for _ in range(3):
                watch.look(proc.pids())
            seconds.append(watch.usages()[0].cpu_seconds)
    assert watch.totals()["lung", "segment"].cpu_seconds == pytest.approx(sum(seconds))


@pytest.mark.parametrize(
    "environ",
    [
        {"NVIDIA_CLARA_STAGENAME": "another"},
        {"NVIDIA_CLARA_JOBID": "f" * 32},
        {"NVIDIA_CLARA_JOBID": "../" * 10},
    ],
)
def test_a_name_that_the_records_do_not_know_is_nobodys(environ: dict[str, str]) -> None:
    watch = OperatorWatch(known)
    with operator("print('up', flush=True); import time; time.sleep(60)", **environ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        watch.look(proc.pids())
        watch.look_at_memory()
        assert (watch.usages(), watch.totals()) == ((), {})


def test_a_namespace_that_is_nobodys_is_asked_after_only_so_often() -> None:
    asked: list[str] = []
    watch = OperatorWatch(lambda job_id, _: asked.append(job_id))
    with operator("print('up', flush=True); import time; time.sleep(60)") as started:
        assert started.stdout is not None
        started.stdout.readline()
        for _ in range(2 * module._TRIES):
            watch.look(proc.pids())
    assert 0 < asked.count(JOB) <= module._TRIES


def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LABELS", 1)
    watch = OperatorWatch(known)
    first, second = OperatorRun(JOB, "a", "x"), OperatorRun(JOB, "b", "y")
    watch._totals_of(first)
    assert watch.labels_of(first) == ("a", "x")
    assert watch.labels_of(second) == OTHER


def test_a_process_of_a_role_is_found_by_its_lock_and_not_by_its_file(tmp_path: Path) -> None:
    own = OwnProcesses(tmp_path, ("scp", "api", "delivery"))
    (tmp_path / "delivery.lock").write_text(f"{os.getppid()}\n")  # nobody holds it
    with Lease(tmp_path, "scp"):
        own.look(proc.pids())
        assert own.role_of(os.getpid()) == "scp"
        assert own.role_of(os.getppid()) is None
        with Lease(tmp_path, "api"):
            own.look(proc.pids())
            usages = own.usages()
    # Children that other tests left to the end of this process, the worker of rules, are its too.
    usage = usages.pop("all")
    assert not usages.keys() & {"scp", "api", "delivery"}
    assert usage.processes == 1
    assert usage.threads >= 1
    assert usage.resident == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert usage.cpu_seconds == pytest.approx(sum(psutil.Process().cpu_times()[:2]), abs=0.5)


def test_what_an_ended_process_used_stays_counted(tmp_path: Path) -> None:
    own = OwnProcesses(tmp_path, ("scp",))
    with Lease(tmp_path, "scp"):
        own.look(proc.pids())
        before = own.usages()["scp"]
    own.look(proc.pids())
    after = own.usages()["scp"]
    assert (after.processes, after.resident) == (0, 0)
    assert after.cpu_seconds == before.cpu_seconds


def test_a_dear_look_is_taken_less_often() -> None:
    def burn() -> None:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    cheap, dear = Pace("a", lambda: None, 0.5, 0.004), Pace("b", burn, 0.5, 0.004)
    dear.take()
    assert dear.due - time.monotonic() <= 0.5  # the first one comes once
    now = time.monotonic()
    cheap.take()
    dear.take()
    assert 0.5 <= cheap.due - now < dear.due - now - 1
    assert dear.due - now >= 0.02 / 0.004


def test_a_look_that_fails_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    broken = Pace("gpus", lambda: 1 // 0, 0.5, 0.004)  # type: ignore[arg-type, return-value]
    now = time.monotonic()
    for _ in range(3):
        broken.take()
    assert len(caplog.records) == 1
    assert broken.due - now > 5


class Counting:
    """GPUs that are looked at: one that is a per mille busier at each look."""

    def __init__(self) -> None:
        self.looks = 0

    def read(self) -> tuple[Reading, ...]:
        self.looks += 1
        device = SimpleNamespace(index=0, uuid="GPU-1", model="m", pcie_id=1)
        figures = {"busy": self.looks / 1000, "processes": ()}
        return (cast("Reading", SimpleNamespace(device=device, **figures)),)


@pytest.fixture
def sampler(tmp_path: Path) -> Iterator[Sampler]:
    """One that looks twenty times a second."""
    made = Sampler(cast("Nvml", Counting()), known, tmp_path, ("api",))
    for pace in made._paces:
        pace.seconds, pace.share = 0.05, 1.0
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_whoever_follows_gets_every_look_once_even_late(sampler: Sampler) -> None:
    first = sampler.latest()
    seen = [first.number]
    wait_for(lambda: sampler.latest().number >= first.number + 5)
    while len(seen) < 10:
        seen += [look.number for look in sampler.after(seen[-1], 5)]
    assert seen == list(range(first.number, first.number + len(seen)))
    assert first.gpus[0].reading.busy == first.number / 1000
    ahead = sampler.latest().number + 10**6
    assert sampler.after(ahead, 0.01) == []


def test_who_waits_is_let_go_when_the_gateway_stops(tmp_path: Path) -> None:
    still = Sampler(cast("Nvml", Counting()), known, tmp_path, ("api",))
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(still.after(0, 60)))
    thread.start()
    still.stop()
    thread.join(10)
    assert found == [[]]
    assert still.latest().number == 0


def test_families_are_there_without_anything_to_tell(tmp_path: Path) -> None:
    families = {f.name: f for f in MachineCollector(Machine, tmp_path).collect()}
    assert families["gateway_gpus"].samples[0].value == 0
    for name in ("gateway_gpu_busy_ratio", "gateway_operator_cpu_seconds", "gateway_processes"):
        assert families[name].samples == []
    cores = families["gateway_node_cpu_seconds"].samples
    assert {s.labels["mode"] for s in cores} == {"user", "system", "iowait", "steal", "idle"}
    assert families["gateway_node_disk_free_bytes"].samples[0].value > 0


def test_looking_takes_less_than_a_hundredth_of_a_core(tmp_path: Path) -> None:
    made = Sampler(Nvml(), known, tmp_path, ("api",))
    thread = threading.Thread(target=made.run)
    thread.start()
    made.latest()
    # Loading NVML's bindings and the first look at every process there is come once.
    time.sleep(1)
    began, before = time.monotonic(), made.machine().cost_seconds
    time.sleep(3)
    cost, took = made.machine().cost_seconds - before, time.monotonic() - began
    made.stop()
    thread.join(10)
    assert cost < 0.01 * took
