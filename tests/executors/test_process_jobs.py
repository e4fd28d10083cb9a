"""How jobs run and end on the process executor, with real programs in real sandboxes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.config.settings import ImageSettings
from gateway.database.schema import new_id
from gateway.executors import procfs
from gateway.executors.limits import Watch
from gateway.executors.operator import mark
from gateway.executors.process import ProcessExecutor
from gateway.jobs.executor import End, Stop
from gateway.pipelines.layout import results_file
from tests.support.processes import command


def step(name, script, *, source=None, output="[{path: /output}]", extra=""):
    origin = f", from: {source}" if source else ""
    return (
        f"- name: {name}\n"
        f"  container: {{image: test/sh, command: [sh, -c, {json.dumps(script)}]}}\n"
        f"  input: [{{path: /input{origin}}}]\n  output: {output}\n{extra}"
    )


TWO = "[{path: /a, name: A}, {path: /b, name: B}]"


def marked(job):
    word = mark(job.run.job_id, job.run.attempt).encode()
    return [p for p in procfs.pids() if procfs._has(p, word)]


def alive(space):
    """Processes of a namespace; its dead first one may wait for the machine's init to notice."""
    return [p for p in procfs.members(space) if command(p)]


def space_of(job):
    """Pid namespace of the job's only running operator."""
    spaces = {procfs.namespace(p) for p in marked(job)} - {procfs.namespace(os.getpid()), None}
    assert len(spaces) == 1
    return spaces.pop()


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_outputs_flow_downstream(start):
    job = start(
        step("one", "echo 1 > /a/x; echo 2 > /b/y", output=TWO)
        + """
- name: two
  container:
    image: test/sh
    command: [sh, -c, "cat /in/y /dcm/dcm/*/*/*/* > /output/z; echo > $NVIDIA_CLARA_RESULTS"]
  input: [{path: /in, from: ONE, name: b}, {path: /dcm}]
  output: [{path: /output}]
"""
    )
    report = job.wait()
    assert {n: e.end for n, e in report.ends.items()} == {
        "one": End.COMPLETED,
        "two": End.COMPLETED,
    }
    assert (job.output("one") / "A" / "x").read_text() == "1\n"
    assert (job.output("two") / "z").read_text() == "2\nimage"
    assert results_file(job.run.folder, job.run.definition.operator("two")).is_file()
    assert report.stopped["one"] <= report.started["two"]


def test_operator_without_output_registers_in_a_folder_of_its_own(start):
    job = start(
        """
- name: reg
  container: {image: test/sh, command: [sh, -c, "echo '[]' > $NVIDIA_CLARA_RESULTS"]}
  input: [{path: /output/x}]
"""
    )
    assert job.wait().ends["reg"].end is End.COMPLETED, job.log("reg")
    file = results_file(job.run.folder, job.run.definition.operator("reg"))
    assert file == job.output("reg") / ".clara-results.json"
    assert file.read_text() == "[]\n"


def test_branches_run_at_once(start):
    wait = "for i in $(seq 100); do [ -e /output/go ] && exit 0; sleep 0.05; done; exit 1"
    job = start(step("a", wait) + step("b", wait))
    until(lambda: set(job.report.started) == {"a", "b"})
    for name in ("a", "b"):
        (job.output(name) / "go").touch()
    report = job.wait()
    assert {e.end for e in report.ends.values()} == {End.COMPLETED}
    assert max(report.started.values()) < min(report.stopped.values())


def test_fault_stops_the_rest_and_starts_nothing_after(start):
    job = start(
        step("bad", "sleep 0.3; echo why >&2; exit 3")
        + step("long", "sleep 60")
        + step("after", "true", source="bad")
    )
    report = job.wait()
    assert (report.ends["bad"].end, report.ends["bad"].exit_code) == (End.EXIT_CODE, 3)
    assert report.ends["long"].end is End.STOPPED
    assert "bad" in report.ends["long"].reason
    assert "after" not in report.ends
    assert job.log("bad") == "why\n"
    assert not marked(job)


def test_stop_is_polite_first(start):
    job = start(
        step("a", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"), grace=20
    )
    until(lambda: "up" in job.log("a"))
    begin = time.monotonic()
    job.handle.stop(Stop.TIMEOUT)
    job.handle.stop(Stop.CANCEL)
    end = job.wait().ends["a"]
    assert time.monotonic() - begin < 5
    assert end.end is End.STOPPED
    assert end.exit_code == 7
    assert "time" in end.reason
    assert "bye" in job.log("a")


def test_stop_ends_what_ignores_it_and_all_its_children(start):
    script = "trap '' TERM; (setsid sleep 300 &) ; sleep 300 & echo up; while :; do sleep 0.1; done"
    job = start(step("a", script), grace=0.3)
    until(lambda: "up" in job.log("a"))
    space = space_of(job)
    assert len(alive(space)) >= 4
    job.handle.stop(Stop.CANCEL)
    assert job.wait().ends["a"].exit_code == 137
    assert alive(space) == []


def test_lingering_children_end_with_the_operator(start):
    job = start(
        step(
            "a",
            "(setsid sleep 300 &) ; echo x > /output/x; until [ -e /output/go ]; do sleep .1; done",
        )
    )
    until(lambda: job.report.started and (job.output("a") / "x").exists())
    space = space_of(job)
    (job.output("a") / "go").touch()
    assert job.wait(10).ends["a"].end is End.COMPLETED
    assert alive(space) == []
    assert not marked(job)


@pytest.mark.parametrize("delay", [0, 0.005, 0.01, 0.02, 0.04])
def test_stop_at_any_time_of_the_start(start, delay):
    job = start(step("a", "sleep 60"), grace=60)
    time.sleep(delay)
    job.handle.stop(Stop.SHUTDOWN)
    report = job.wait(10)
    assert set(report.started) <= {"a"}
    assert {e.end for e in report.ends.values()} <= {End.STOPPED}


EAT = "b = b'x' * (400 << 20); print(len(b))"


@pytest.mark.parametrize("limiter", [None, Watch()], ids=["best", "watch"])
def test_memory_request_is_enforced(start, limiter):
    image = ImageSettings(command=["python", "-c", EAT + "; import time; time.sleep(2)"])
    text = "- name: a\n  container: {image: eat}\n  input: [{path: /input}]\n"
    job = start(text + "  requests: {memory: 100}\n", images={"eat": image}, limiter=limiter)
    end = job.wait().ends["a"]
    assert end.end is End.OUT_OF_MEMORY, (end, job.log("a"))
    assert "100 MB" in end.reason
    image = ImageSettings(command=["python", "-c", EAT])
    job = start(text + "  requests: {memory: 600}\n", images={"eat": image}, limiter=limiter)
    assert job.wait().ends["a"].end is End.COMPLETED, job.log("a")


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("true", End.OUTPUT_MISSING),
        ("mkdir -p /output/a/b", End.OUTPUT_MISSING),
        ("ln -s /etc/passwd /output/x", End.OUTPUT_UNSAFE),
        ("ln -s ../../input/dcm /output/x", End.OUTPUT_UNSAFE),
        ("mkdir /output/d; ln -s .. /output/d/up; ln -s d/up/../.. /output/x", End.OUTPUT_UNSAFE),
        ("ln -s nowhere /output/x", End.OUTPUT_UNSAFE),
        ("mkfifo /output/x", End.OUTPUT_UNSAFE),
        ("d=/output; for i in $(seq 70); do d=$d/d; done; mkdir -p $d", End.OUTPUT_UNSAFE),
        ("touch /output/$(printf 'a\\377')", End.OUTPUT_UNSAFE),
        ("touch \"/output/$(printf 'a\\nb')\"", End.OUTPUT_UNSAFE),
        ("rmdir /output; mkdir /tmp/x; touch /output/x", End.COMPLETED),
        (
            "mkdir /output/d; touch /output/d/f; ln -s d/f /output/x; chmod 000 /output/d",
            End.COMPLETED,
        ),
    ],
)
def test_outputs_are_checked(start, script, end):
    job = start(step("a", script))
    found = job.wait().ends["a"]
    assert found.end is end, (found, job.log("a"))
    assert "passwd" not in found.reason


def test_rights_of_outputs_are_set(start):
    job = start(
        step("a", "touch /output/f; chmod 7777 /output/f; touch /output/g; chmod 0 /output/g")
    )
    assert job.wait().ends["a"].end is End.COMPLETED
    modes = {p.name: p.stat().st_mode & 0o7777 for p in job.output("a").iterdir()}
    assert modes == {"f": 0o750, "g": 0o600}


def test_old_outputs_are_gone(start, tmp_path):
    folder = tmp_path / "payload"
    deep = folder / "operators" / "a" / "/".join(["d"] * 1500)
    (folder / "operators" / "a").mkdir(parents=True)
    (folder / "operators" / "a" / ".clara-results.json").write_text("[]")
    os.chdir(folder / "operators" / "a")
    try:
        for _ in deep.parts[-1500:]:
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir("/")
    job = start(step("a", "ls -A /output > /tmp/l; mv /tmp/l /output/l"), folder=folder)
    job.wait()
    assert (job.output("a") / "l").read_text() == ""
    assert [p.name for p in job.output("a").iterdir()] == ["l"]


def test_log_can_be_followed_and_is_whole(start):
    job = start(step("a", "echo first; until [ -e /output/go ]; do sleep 0.02; done; seq 150000"))
    until(lambda: job.report.started and job.run.logs["a"].exists() and "first" in job.log("a"))
    (job.output("a") / "go").touch()
    job.wait()
    lines = job.log("a").split()
    assert lines == ["first", *map(str, range(1, 150001))]


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        (
            "- name: a\n  container: {image: site/none, tag: 7}\n",
            ["site/none:7", "test/sh", "gateway/dicom-reader"],
        ),
        (
            "- {name: a, container: {image: s}, services: [{name: tri, container: {image: t}}]}\n",
            ["tri", "services"],
        ),
        (
            "- name: a\n  container: {image: test/sh}\n  input: [{path: PREFIX}]\n",
            ["PREFIX", "overlaps"],
        ),
    ],
)
def test_what_cannot_run_is_said_before_anything_runs(start, operator, words):
    # The parser refuses a mount in /tmp or /usr by itself: a checkout there leaves the base.
    reserved = ("/tmp/", "/usr")  # noqa: S108
    prefixes = [p for p in (sys.prefix, sys.base_prefix) if not p.startswith(reserved)]
    if "PREFIX" in operator and not prefixes:
        pytest.skip("the interpreter lies wholly in folders that no definition may name")
    prefix = prefixes[0] if prefixes else sys.prefix
    job = start(step("first", "true") + operator.replace("PREFIX", prefix))
    report = job.wait()
    assert report.started == {}
    assert set(report.ends) == {"a"}
    assert report.ends["a"].end is End.IMAGE_MISSING
    for word in words:
        assert word.replace("PREFIX", prefix) in report.ends["a"].reason


def test_program_that_is_not_there(start):
    job = start("- name: a\n  container: {image: test/sh, command: [no-such-program]}\n")
    end = job.wait().ends["a"]
    assert end.end is End.EXIT_CODE
    assert "no-such-program" in end.reason


def test_crash_is_named_by_its_signal(start):
    end = start(step("a", "kill -SEGV $$")).wait().ends["a"]
    assert (end.exit_code, end.reason) == (139, "exit code 139 (SIGSEGV)")


def test_missing_input_is_lost_after_its_retries(start, monkeypatch):
    monkeypatch.setattr("gateway.executors.verdict.RETRY_SECONDS", 0.01)
    first = step("first", "echo up; until [ -e /output/go ]; do sleep 0.02; done; touch /output/x")
    second = (
        "- name: second\n  container: {image: test/sh, command: [/bin/true]}\n"
        "  input: [{path: /input, from: first}, {path: /dcm}]\n  x-gateway: {retries: 2}\n"
    )
    job = start(first + second)
    until(lambda: "up" in job.log("first"))
    (job.run.folder / "input").rename(job.run.folder / "moved")
    (job.output("first") / "go").touch()
    end = job.wait().ends["second"]
    assert end.end is End.LOST
    assert "input" in end.reason
    assert job.log("second").count("bwrap: Can't find source path") == 3


def test_full_disk_is_named(start, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        job = start(step("a", "dd if=/dev/zero of=/output/x bs=1M count=20"), folder=folder)
        end = job.wait().ends["a"]
        assert end.end is End.EXIT_CODE
        assert "disk" in end.reason
        assert "full" in end.reason
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class Broken:
    def operator_started(self, operator, at, image=None):
        raise RuntimeError("no database")

    def operator_stopped(self, operator, at, end):
        raise RuntimeError("no database")


def test_job_ends_when_nobody_takes_its_reports(start, caplog):
    job = start(step("a", "sleep 60"))
    until(lambda: job.report.started)
    again = []
    handle = ProcessExecutor({"test/sh": ImageSettings(command=["sh"])}).start(
        job.run, Broken(), lambda: again.append(1)
    )
    assert handle.join(20)
    until(lambda: again)
    assert "no database" in caplog.text


GATEWAY = """
import sys, threading
from pathlib import Path
from gateway.config.settings import ImageSettings
from gateway.executors.process import ProcessExecutor
from gateway.jobs.executor import JobRun
from gateway.pipelines.parse import parse

class Quiet:
    def operator_started(self, *told): pass
    def operator_stopped(self, *told): pass

folder = Path(sys.argv[1])
definition = parse(Path(sys.argv[2]).read_text(), "test.yaml")
logs = {o.name: folder / f"log-{o.name}" for o in definition.operators}
run = JobRun(sys.argv[3], 1, "n", "p", "c", definition, folder, logs, (), 1.0)
ProcessExecutor({"test/sh": ImageSettings(command=["sh"])}).start(run, Quiet(), lambda: None)
threading.Event().wait()
"""


def test_operators_end_when_the_gateway_is_killed(tmp_path):
    folder, word = tmp_path / "payload", "0123456789abcdef" * 2
    (folder / "input").mkdir(parents=True)
    text = step("a", "trap '' TERM; (setsid sleep 300 &) ; echo up; sleep 300")
    (tmp_path / "p.yaml").write_text(f"api-version: 0.4.0\nname: t\noperators:\n{text}")
    command = [sys.executable, "-c", GATEWAY, str(folder), str(tmp_path / "p.yaml"), word]
    with subprocess.Popen(command) as gateway:
        try:
            until(
                lambda: (folder / "log-a").exists() and "up" in (folder / "log-a").read_text(), 20
            )
            token = mark(word, 1).encode()
            spaces = {procfs.namespace(p) for p in procfs.pids() if procfs._has(p, token)}
            (space,) = spaces - {procfs.namespace(os.getpid()), None}
            assert len(alive(space)) >= 4
        finally:
            gateway.kill()
    until(lambda: not alive(space), 5)
    ProcessExecutor().reap(word, 1)
    assert not [p for p in procfs.pids() if procfs._has(p, token)]


@pytest.mark.crash
def test_no_program_runs_on_when_the_gateway_is_killed_during_starts(tmp_path):
    names = [f"a{i}" for i in range(6)]
    nap = f"300.{os.getpid()}"
    text = "".join(step(name, f"trap '' TERM; exec sleep {nap}") for name in names)
    (tmp_path / "p.yaml").write_text(f"api-version: 0.4.0\nname: t\noperators:\n{text}")
    for number in range(6):
        folder, word = tmp_path / str(number), new_id()
        (folder / "input").mkdir(parents=True)
        token = mark(word, 1).encode()
        command = [sys.executable, "-c", GATEWAY, str(folder), str(tmp_path / "p.yaml"), word]
        with subprocess.Popen(command) as gateway:
            until(lambda path=folder: (path / "operators").exists(), 20)
            time.sleep(number * 0.015)
            gateway.kill()
        time.sleep(0.1)
        until(lambda: not [p for p in procfs.pids() if procfs._has(p, nap.encode())], 5)
        ProcessExecutor().reap(word, 1)
        assert not [p for p in procfs.pids() if procfs._has(p, token)]


def test_leftovers_of_a_dead_attempt_are_reaped(start):
    job = start(step("a", "trap '' TERM; echo up; sleep 300"))
    until(lambda: "up" in job.log("a"))
    space = space_of(job)
    executor = ProcessExecutor()
    executor.reap(job.run.job_id, 2)
    assert alive(space) != [], "another attempt's processes were ended"
    executor.reap(job.run.job_id, 1)
    assert alive(space) == []
    assert not marked(job)
    job.wait()


def test_engine_says_that_it_works():
    executor = ProcessExecutor()
    assert executor.name == "process"
    assert executor.check() == []
    assert "memory is limited by" in executor.memory_mode


def test_engine_says_what_is_missing(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --help ] || { echo "bwrap: No permissions" >&2; exit 1; }\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (sentence,) = ProcessExecutor().check()
    assert "No permissions" in sentence
    assert "user namespaces" in sentence
