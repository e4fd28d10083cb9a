"""Operators that start from a warm parent: the same sandbox, limits, logs and ends as cold ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.settings import ImageSettings
from gateway.database.schema import new_id
from gateway.executors import procfs
from gateway.executors.operator import mark
from gateway.executors.process import ProcessExecutor
from gateway.jobs.executor import End, Stop
from gateway.pipelines.parse import parse
from tests.executors.test_process_jobs import alive, marked, until

MODULE = """
    import json, os, sys, threading, time
    STATE = []

    def fast():
        pass

    def look():
        def can(path):
            try:
                open(path, "r+" if path.startswith("/proc") else "w")
            except OSError:
                return False
            return True
        status = open("/proc/self/status").read().splitlines()
        wanted = ("Cap", "Uid", "Gid", "NoNew", "Seccomp:", "NSpid", "NSsid")
        mounts = [l.split(" - ") for l in open("/proc/self/mountinfo")]
        seen = {
            "argv": sys.argv[1:],
            "mounts": sorted([*a.split()[3:6], b.split()[0]] for a, b in mounts),
            "env": dict(os.environ),
            "root": sorted(os.listdir("/")),
            "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
            "writes": [p for p in ("/", "/usr", "/etc", "/input", "/output", "/tmp", "/dev/shm",
                                   "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger")
                       if can(p + ("/x" if os.path.isdir(p) else ""))],
            "fds": sorted(os.listdir("/proc/self/fd")),
            "status": [l.split() for l in status if l.startswith(wanted)],
            "limits": open("/proc/self/limits").read(),
            "cwd": os.getcwd(),
            "interfaces": [l.split(":")[0].strip() for l in open("/proc/net/dev")][2:],
            "host": os.uname().nodename,
            "users": open("/etc/passwd").read(),
            "session": os.getsid(0) == os.getpid(),
            "stdin": os.readlink("/proc/self/fd/0"),
            "name": __name__,
            "state": list(STATE),
        }
        STATE.append("patient")
        json.dump(seen, open("/output/seen.json", "w"))

    def main(word="fast", *rest):
        open("/output/ran", "w").close()
        globals()[word](*rest)

    def fail():
        print("why", file=sys.stderr)
        sys.exit(3)

    def crash():
        raise ValueError("no")

    def eat():
        block = []
        while True:
            block.append(bytearray(1 << 24))
            for at in range(0, 1 << 24, 4096):
                block[-1][at] = 1

    def linger():
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
        print("up", flush=True)

    def stay():
        import signal
        signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), os._exit(7)))
        print("up", flush=True)
        while True:
            time.sleep(0.05)

    def stubborn():
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.fork()
        print("up", flush=True)
        time.sleep(600)

    def random():
        import numpy, random
        json.dump([numpy.random.random(), random.random()], open("/output/numbers.json", "w"))
"""


def program() -> str:
    main = "if __name__ == '__main__':\n    main(*sys.argv[1:])\n"
    return f"{textwrap.dedent(MODULE)}\n{main}"


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    (folder / "warmed.py").write_text(f"import numpy\n{program()}")
    return folder


def image(module: Path, *, warm: bool = True, name: str = "warmed") -> dict[str, ImageSettings]:
    command = [sys.executable, "-m", name]
    env = {"PYTHONPATH": str(module)}
    return {"test/warm": ImageSettings(command=command, env=env, warm=warm)}


def step(name, *words, source=None, extra="") -> str:
    origin = f", from: {source}" if source else ""
    given = f", command: {json.dumps([sys.executable, '-m', 'warmed', *words])}" if words else ""
    return (
        f"- name: {name}\n  container: {{image: test/warm{given}}}\n"
        f"  input: [{{path: /input{origin}}}]\n  output: [{{path: /output}}]\n{extra}"
    )


@pytest.fixture(scope="module")
def warm(module: Path) -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor(image(module), warm=True)
    definition = parse(f"api-version: 0.4.0\nname: x\noperators:\n{step('a')}", "x.yaml")
    assert executor.warm_up(definition.operators[0], 60), executor.start_mode
    yield executor
    executor.close()


def operator_spaces(job):
    """Pid namespaces of the job's operators, those that wait included."""
    processes = marked(job)
    found = {procfs.namespace(p) for p in processes if procfs.parent_of(p) in processes}
    return found - {None}


def seen(job, name="a"):
    return json.loads((job.output(name) / "seen.json").read_text())


def mount(root, point, options, kind, job_id):
    """A mount without what differs from run to run."""
    if point == "/proc/sys":
        # As the machine's own, plus what the keeper's has.
        options = options.replace(",noexec", "")
    return "bindfile" if "bindfile" in root else root.replace(job_id, "JOB"), point, options, kind


def test_same_view_as_cold(start, warm, module):
    hot, cold = (
        start(step("a", "look"), executor=each)
        for each in (warm, ProcessExecutor(image(module, warm=False)))
    )
    for job in (hot, cold):
        assert job.wait().ends["a"].end is End.COMPLETED, job.log("a")
    one, other = seen(hot), seen(cold)
    for view, job in ((one, hot), (other, cold)):
        # What differs by nature: ids, the shell's own variable, the filter's mark, numbers.
        for name in ("NVIDIA_CLARA_JOBID", "NVIDIA_CLARA_PAYLOADID", "PWD"):
            view["env"].pop(name, None)
        view["mounts"] = sorted(mount(*m, job.run.job_id) for m in view["mounts"])
        status = {name: rest for name, *rest in view.pop("status")}
        view["status"] = {k: v for k, v in status.items() if k not in ("NSpid:", "NSsid:")}
        del view["session"]
    assert one["status"].pop("Seccomp:") == ["2"]
    assert other["status"].pop("Seccomp:") == ["0"]
    assert one.pop("processes") == [1, 2, 3]
    assert other.pop("processes") == [1, 2]
    assert one == other
    assert one["writes"] == ["/output", "/tmp", "/dev/shm"]  # noqa: S108 - the operator's
    assert one["fds"] == ["0", "1", "2", "3"]  # the last one lists them
    assert not marked(hot)


def test_nothing_of_one_run_is_left_for_the_next(start, warm):
    for _ in range(2):
        job = start(step("a", "look"), executor=warm)
        assert job.wait().ends["a"].end is End.COMPLETED
        assert seen(job)["state"] == []
    drawn = []
    for _ in range(2):
        job = start(step("a", "random"), executor=warm)
        assert job.wait().ends["a"].end is End.COMPLETED, job.log("a")
        drawn += json.loads((job.output("a") / "numbers.json").read_text())
    assert len(set(drawn)) == 4


def test_ends_and_logs(start, warm):
    job = start(step("a", "fail"), executor=warm)
    end = job.wait().ends["a"]
    assert (end.end, end.exit_code, job.log("a")) == (End.EXIT_CODE, 3, "why\n")
    job = start(step("a", "crash"), executor=warm)
    end = job.wait().ends["a"]
    assert (end.end, end.exit_code) == (End.EXIT_CODE, 1)
    assert job.log("a").endswith("ValueError: no\n")


def test_memory_is_limited(start, warm):
    job = start(step("a", "eat", extra="  requests: {memory: 128}\n"), executor=warm)
    assert job.wait().ends["a"].end is End.OUT_OF_MEMORY
    job = start(step("a", "fast"), executor=warm)
    assert job.wait().ends["a"].end is End.COMPLETED, "the parent must live on"


def test_stop_is_polite_first(start, warm):
    job = start(step("a", "stay"), executor=warm, grace=30)
    until(lambda: "up" in job.log("a"))
    job.handle.stop(Stop.TIMEOUT)
    end = job.wait().ends["a"]
    assert (end.end, end.exit_code) == (End.STOPPED, 7)
    assert "bye" in job.log("a")


@pytest.mark.parametrize("word", ["stubborn", "linger"])
def test_whole_tree_ends(start, warm, word):
    job = start(step("a", word), executor=warm, grace=0.2)
    until(lambda: "up" in job.log("a") or job.handle.done())
    spaces = operator_spaces(job)
    if word == "stubborn":
        job.handle.stop(Stop.CANCEL)
    end = job.wait().ends["a"].end
    assert end is (End.STOPPED if word == "stubborn" else End.COMPLETED)
    assert not marked(job)
    assert not [p for space in spaces for p in alive(space)]


def test_operators_are_ready_before_their_turn(start, warm):
    chain = [step("s0", "stay")]
    chain += [step(f"s{n}", "fast", source=f"s{n - 1}") for n in range(1, 8)]
    job = start("".join(chain), executor=warm, grace=5)
    until(lambda: "up" in job.log("s0"))
    until(lambda: len(operator_spaces(job)) == 5)
    job.handle.stop(Stop.CANCEL)
    ends = job.wait().ends
    assert {name: end.end for name, end in ends.items()} == {"s0": End.STOPPED}
    assert not marked(job)
    job = start("".join(chain).replace("stay", "fast"), executor=warm)
    ends = job.wait().ends
    assert {end.end for end in ends.values()} == {End.COMPLETED}
    assert len(ends) == 8


def test_first_start_is_cold_and_next_is_warm(start, module):
    before = keepers()
    executor = ProcessExecutor(image(module), warm=True)
    try:
        job = start(step("a", "look"), executor=executor)
        assert job.wait().ends["a"].end is End.COMPLETED
        assert ["Seccomp:", "0"] in seen(job)["status"]
        until(lambda: "from 1 warm" in executor.start_mode, 30)
        job = start(step("a", "look"), executor=executor)
        assert job.wait().ends["a"].end is End.COMPLETED
        assert ["Seccomp:", "2"] in seen(job)["status"]
    finally:
        executor.close()
    assert keepers() == before


def keepers() -> list[int]:
    """Warm processes that this process started."""
    found = [p for p in procfs.pids() if procfs._has(p, b"gateway-warm")]
    return [p for p in found if procfs.parent_of(p) == os.getpid()]


def test_parent_that_died_or_changed_is_made_anew(start, tmp_path):
    (tmp_path / "warmed.py").write_text(program())
    before = set(keepers())
    executor = ProcessExecutor(image(tmp_path), warm=True)
    try:
        operator = parse(
            f"api-version: 0.4.0\nname: x\noperators:\n{step('a')}", "x.yaml"
        ).operators[0]
        assert executor.warm_up(operator, 60)
        job = start(step("a", "stay"), executor=executor)
        until(lambda: "up" in job.log("a"))
        for pid in set(keepers()) - before:
            os.kill(pid, 9)
        end = job.wait().ends["a"]
        assert end.end is End.LOST, end
        assert not marked(job)
        assert start(step("a", "fast"), executor=executor).wait().ends["a"].end is End.COMPLETED
        assert executor.warm_up(operator, 60)
        changed = (tmp_path / "warmed.py").read_text().replace("[1:]", "[1:1]", 1)
        (tmp_path / "warmed.py").write_text(changed)
        time.sleep(2.1)  # for so long what was looked at counts as unchanged
        job = start(step("a", "look"), executor=executor)
        assert job.wait().ends["a"].end is End.COMPLETED
        assert seen(job)["argv"] == []
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import threading; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
         "threads"),
        ("import subprocess; CHILD = subprocess.Popen(['/bin/sleep', '60'])", "programs"),
        ("import mmap; sys.shared = mmap.mmap(-1, 4096)", "memory"),
        ("raise ImportError('not here')", "not here"),
    ],
)  # fmt: skip
def test_unfit_module_starts_cold_and_says_why(start, tmp_path, line, reason):
    (tmp_path / "warmed.py").write_text(f"{program()}else:\n    {line}\n")
    executor = ProcessExecutor(image(tmp_path), warm=True)
    try:
        operator = parse(
            f"api-version: 0.4.0\nname: x\noperators:\n{step('a')}", "x.yaml"
        ).operators[0]
        assert not executor.warm_up(operator, 60)
        assert start(step("a", "fast"), executor=executor).wait().ends["a"].end is End.COMPLETED
        assert reason in executor.start_mode
    finally:
        executor.close()


@pytest.mark.parametrize("extra", ["  x-gateway: {network: true}\n", ""])
def test_what_is_not_warm(start, module, extra):
    before = keepers()
    executor = ProcessExecutor(image(module, warm=bool(extra)), warm=True)
    try:
        for _ in range(2):
            job = start(step("a", "look", extra=extra), executor=executor)
            assert job.wait().ends["a"].end is End.COMPLETED, job.log("a")
            assert ["Seccomp:", "0"] in seen(job)["status"]
        assert keepers() == before
    finally:
        executor.close()


KILLED = """
import sys, threading, time
from pathlib import Path
from gateway.config.settings import ImageSettings
from gateway.executors.process import ProcessExecutor
from gateway.jobs.executor import JobRun
from gateway.pipelines.parse import parse
folder, job_id, text = sys.argv[1:]
image = ImageSettings(
    command=[sys.executable, "-m", "warmed"], env={"PYTHONPATH": folder}, warm=True
)
executor = ProcessExecutor({"test/warm": image}, warm=True)
definition = parse(text, "x.yaml")
assert executor.warm_up(definition.operators[0], 60), executor.start_mode
base = Path(folder, "payload")
(base / "input").mkdir(parents=True)
class Report:
    def operator_started(self, *_): pass
    def operator_stopped(self, *given): print(given, flush=True)
run = JobRun(job_id, 1, "n", "p" * 32, "c" * 32, definition, base,
             {o.name: Path(folder, o.name + ".log") for o in definition.operators}, (), 1.0)
executor.start(run, Report(), lambda: None)
time.sleep(600)
"""


def test_nothing_outlives_a_killed_gateway(tmp_path):
    (tmp_path / "warmed.py").write_text(program())
    chain = step("a", "stay") + step("b", "fast", source="a")
    text = f"api-version: 0.4.0\nname: x\noperators:\n{chain}"
    job_id = new_id()
    life = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), job_id, text])
    try:
        log = tmp_path / "a.log"
        until(lambda: log.exists() and "up" in log.read_text(), 120)
        word = mark(job_id, 1).encode()
        until(lambda: len([p for p in procfs.pids() if procfs._has(p, word)]) > 2, 60)
    finally:
        life.kill()
        life.wait()
    ProcessExecutor().reap(job_id, 1)
    assert not [p for p in procfs.pids() if procfs._has(p, word)]
    inside = str(tmp_path).encode()
    until(lambda: not [p for p in procfs.pids() if _environment_holds(p, inside)], 60)


def _environment_holds(pid, word):
    try:
        return word in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
