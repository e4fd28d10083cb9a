"""How jobs run and end in containers, on a real Podman."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.config.container import ContainerSettings
from gateway.errors import GatewayError
from gateway.executors.container.api import find_socket, usual_sockets
from gateway.executors.container.executor import ContainerExecutor
from gateway.executors.logfile import MAX_BYTES
from gateway.jobs.executor import End, Stop
from gateway.pipelines.layout import results_file
from tests.support.podman import Podman, archive, shell

pytestmark = pytest.mark.peers

TWO = "[{path: /a, name: A}, {path: /b, name: B}]"


def step(name, script, *, source=None, output="[{path: /output}]", extra="", image="sh"):
    origin = f", from: {source}" if source else ""
    return (
        f"- name: {name}\n"
        f"  container: {{image: localhost/test/{image}, tag: '1', "
        f"command: [sh, -c, {json.dumps(script)}]}}\n"
        f"  input: [{{path: /input{origin}}}]\n  output: {output}\n{extra}"
    )


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def engine(podman: Podman) -> ContainerExecutor:
    return ContainerExecutor(ContainerSettings(socket=podman.socket))


@pytest.fixture
def run(start, engine, podman) -> Iterator[object]:
    """Starts a job; at the end of the test no container of it is left."""
    jobs = []

    def make(operators, **more):
        job = start(operators, **({"executor": engine} | more))
        jobs.append(job)
        return job

    yield make
    for job in jobs:
        job.handle.stop(Stop.CANCEL)
        assert job.handle.join(60)
        assert podman.containers(job=job.run.job_id) == []


def test_outputs_flow_downstream_and_the_image_is_recorded(run, podman):
    job = run(
        step("one", "echo 1 > /a/x; echo 2 > /b/y", output=TWO)
        + """
- name: two
  container:
    image: localhost/test/sh
    tag: '1'
    command: [sh, -c, "cat /in/y /dcm/dcm/*/*/*/* > /output/z; echo [] > $NVIDIA_CLARA_RESULTS"]
  input: [{path: /in, from: ONE, name: b}, {path: /dcm}]
"""
    )
    report = job.wait(60)
    assert {n: e.end for n, e in report.ends.items()} == dict.fromkeys(
        ("one", "two"), End.COMPLETED
    ), report.ends
    assert (job.output("one") / "A" / "x").read_text() == "1\n"
    assert (job.output("two") / "z").read_text() == "2\nimage"
    assert results_file(job.run.folder, job.run.definition.operator("two")).is_file()
    assert report.stopped["one"] <= report.started["two"]
    told = podman.api.inspect_image("localhost/test/sh:1")
    # Docker has no digest for an image that never was in a registry.
    digest = [*told["RepoDigests"], told["Id"]][0]
    assert report.images == dict.fromkeys(("one", "two"), digest)


def test_operator_is_nobody_and_sees_only_its_own(run):
    script = """
id -u; grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs' /proc/self/status
touch /x 2>&1; touch /input/x 2>&1; touch /input/dcm/p/st/se/1.2.3.dcm 2>&1
echo a > /tmp/a && cat /tmp/a; ip addr | grep -c mtu; env; ls /; echo > /output/done
"""
    report = (job := run(step("a", script, extra="  variables: {MINE: '7'}\n"))).wait(60)
    assert report.ends["a"].end is End.COMPLETED, job.log("a")
    said = job.log("a")
    assert said.splitlines()[0] == "1000"
    for name in ("CapEff", "CapPrm", "CapBnd"):
        assert f"{name}:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert said.count("Read-only file system") == 3
    assert "\na\n1\n" in said, "one network interface: the loopback"
    for line in (
        "FROM_IMAGE=yes", "MINE=7", "PATH=/bin", f"NVIDIA_CLARA_JOBID={job.run.job_id}",
        "NVIDIA_CLARA_STAGENAME=a", "NVIDIA_CLARA_INPUTPATHS=input:/input",
        "NVIDIA_CLARA_OUTPUTPATHS=output:/output", "NVIDIA_VISIBLE_DEVICES=void",
    ):  # fmt: skip
        assert f"\n{line}\n" in said, line


def test_network_memory_and_processes_are_what_the_definition_asks(start, podman):
    settings = ContainerSettings(socket=podman.socket, network="host")
    script = "ip addr | grep -c mtu; echo > /output/x"
    extra = "  requests: {memory: 64, cpu: 1}\n  x-gateway: {network: true}\n"
    job = start(
        step("a", script + "; sleep 60", extra=extra),
        executor=ContainerExecutor(settings),
    )
    until(lambda: job.log("a"))
    assert int(job.log("a")) > 1, "it sees the machine's network"
    (told,) = podman.containers(job=job.run.job_id, operator="a")
    host = podman.api.inspect_container(told["Id"])["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (64 << 20, 64 << 20)
    assert host["PidsLimit"] == 1024
    assert host["LogConfig"]["Type"] == "none"
    job.handle.stop(Stop.CANCEL)
    assert job.wait(60).ends["a"].end is End.STOPPED


def test_fault_stops_the_rest_and_starts_nothing_after(run):
    job = run(
        step("bad", "sleep 0.5; echo why >&2; exit 3")
        + step("long", "sleep 60")
        + step("after", "true", source="bad")
    )
    report = job.wait(60)
    assert (report.ends["bad"].end, report.ends["bad"].exit_code) == (End.EXIT_CODE, 3)
    assert report.ends["long"].end is End.STOPPED
    assert "bad" in report.ends["long"].reason
    assert "after" not in report.ends
    assert job.log("bad") == "why\n"


def test_stop_is_polite_first(run):
    script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    job = run(step("a", script), grace=60)
    until(lambda: "up" in job.log("a"))
    job.handle.stop(Stop.TIMEOUT)
    job.handle.stop(Stop.CANCEL)
    end = job.wait(60).ends["a"]
    assert (end.end, end.exit_code) == (End.STOPPED, 7)
    assert "time" in end.reason
    assert "bye" in job.log("a")


def test_stop_ends_what_ignores_it_and_its_children(run, podman):
    script = "trap '' TERM; (trap '' TERM; sleep 600) & echo up; while :; do sleep 0.1; done"
    job = run(step("a", script), grace=0.3)
    until(lambda: "up" in job.log("a"))
    job.handle.stop(Stop.CANCEL)
    end = job.wait(60).ends["a"]
    assert (end.end, end.exit_code) == (End.STOPPED, 137)
    assert "cancel" in end.reason


def test_a_program_that_forks_and_lingers_ends_with_its_first_process(run):
    script = "(while :; do echo still; sleep 0.2; done) & echo > /output/x; exit 0"
    job = run(step("a", script))
    assert job.wait(60).ends["a"].end is End.COMPLETED
    size = len(job.log("a"))
    time.sleep(0.5)
    assert len(job.log("a")) == size


def test_out_of_memory_is_named(run):
    end = run(step("a", "tail /dev/zero", extra="  requests: {memory: 32}\n")).wait(60).ends["a"]
    assert end.end is End.OUT_OF_MEMORY
    assert "32 MB" in end.reason
    assert end.exit_code == 137


def test_program_that_is_not_there_is_named(run):
    job = run(
        "- name: a\n  container: {image: localhost/test/sh, tag: '1', command: [/bin/nothere]}\n"
        "  input: [{path: /input}]\n  output: [{path: /output}]\n"
    )
    end = job.wait(60).ends["a"]
    assert (end.end, end.exit_code) == (End.EXIT_CODE, 127)
    assert "/bin/nothere" in end.reason
    assert "cannot be executed" in end.reason


def test_output_that_is_missing_or_leads_out_is_refused(run):
    end = run(step("a", "true")).wait(60).ends["a"]
    assert end.end is End.OUTPUT_MISSING
    end = run(step("a", "ln -s /etc/passwd /output/x")).wait(60).ends["a"]
    assert end.end is End.OUTPUT_UNSAFE


def test_outputs_stay_the_gateways_to_delete(run):
    script = "mkdir -p /output/d/e; echo x > /output/d/e/f; chmod 000 /output/d/e /output/d"
    job = run(step("a", script))
    assert job.wait(60).ends["a"].end is End.COMPLETED
    assert (job.output("a") / "d" / "e" / "f").read_text() == "x\n"
    for path in job.output("a").rglob("*"):
        assert path.stat().st_mode & 0o007 == 0


def test_log_is_cut_at_its_limit_and_the_program_goes_on(run):
    script = "yes 0123456789012345678901234567890123456789 | head -c 80000000; echo > /output/x"
    job = run(step("a", script))
    assert job.wait(120).ends["a"].end is End.COMPLETED
    size = job.run.logs["a"].stat().st_size
    assert MAX_BYTES < size < MAX_BYTES + 200


def pull_step(registry, name, script="echo > /output/x"):
    text = step("a", script).replace("localhost/test/sh", f"127.0.0.1:{registry.port}/{name}")
    return text if "@" not in name else text.replace("tag: '1', ", "")


def test_image_is_pulled_with_the_secret_of_the_definition(run, start, podman, registry, tmp_path):
    digest = registry.add("ours/op:1", archive(shell()), {"Env": ["PATH=/bin"]})
    (tmp_path / "ours.json").write_text(json.dumps(registry.auths()))
    settings = ContainerSettings(socket=podman.socket, pull_secrets=tmp_path)
    engine = ContainerExecutor(settings)
    text = pull_step(registry, "ours/op")
    end = start(text, executor=engine).wait(60).ends["a"]
    assert end.end is End.IMAGE_MISSING, "nobody pulls without the password"
    assert "auth" in end.reason.lower()
    named = "pull-secrets: [ours]\n"
    report = start(text, executor=engine, extra=named).wait(60)
    assert report.ends["a"].end is End.COMPLETED, report.ends
    assert report.images["a"] == f"127.0.0.1:{registry.port}/ours/op@{digest}"
    # What is here is not pulled again, unless that is asked for: then a moved tag is seen.
    other = registry.add("ours/op:1", archive(shell() | {"/new": "x"}), {"Env": ["PATH=/bin"]})
    assert start(text, executor=engine, extra=named).wait(60).images["a"].endswith(digest)
    always = ContainerExecutor(settings.model_copy(update={"pull": "always"}))
    assert start(text, executor=always, extra=named).wait(60).images["a"].endswith(other)
    # A digest in the definition holds, whatever the tag says now, and is not pulled again.
    registry.manifests.clear()
    pinned = pull_step(registry, f"ours/op@{digest}")
    report = start(pinned, executor=always, extra=named).wait(60)
    assert report.ends["a"].end is End.COMPLETED, report.ends
    assert report.images["a"].endswith(f"ours/op@{digest}")
    assert registry.manifests == []
    wrong = pull_step(registry, f"ours/op@sha256:{'0' * 64}")
    end = start(wrong, executor=engine, extra=named).wait(60).ends["a"]
    assert end.end is End.IMAGE_MISSING
    assert "0000" in end.reason
    assert "manifest unknown" in end.reason


def test_image_that_is_missing_is_named_before_anything_starts(start, podman):
    never = ContainerExecutor(ContainerSettings(socket=podman.socket, pull="never"))
    job = start(step("first", "true") + step("a", "true", image="nothere"), executor=never)
    report = job.wait(60)
    assert report.started == {}
    assert report.ends["a"].end is End.IMAGE_MISSING
    assert "never" in report.ends["a"].reason


def test_engine_that_gives_no_gpus_is_named_before_anything_starts(run, engine):
    if engine._engine.api.facts().gives_gpus:
        pytest.skip("this engine gives GPUs")
    end = run(step("a", "true", extra="  requests: {gpu: 1}\n"), gpus=(0,)).wait(60).ends["a"]
    assert "no GPU" in end.reason


def test_unknown_pull_secret_is_named_before_anything_starts(run):
    job = run(step("a", "true"), extra="pull-secrets: [ours]\n")
    end = job.wait(60).ends["a"]
    assert end.end is End.IMAGE_MISSING
    assert "'ours'" in end.reason
    assert job.report.started == {}


@contextlib.contextmanager
def silent_registry():
    """Something that takes connections and never answers; tells who called."""
    called = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    held = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                held.append(server.accept()[0])
                called.set()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1], called
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for connection in held:
            connection.close()
        thread.join(5)


def test_cancel_while_pulling(run):
    with silent_registry() as (port, called):
        text = step("a", "true").replace("localhost/test/sh", f"127.0.0.1:{port}/x/y")
        job = run(text)
        assert called.wait(30)
        assert not job.handle.done()
        begin = time.monotonic()
        job.handle.stop(Stop.CANCEL)
        end = job.wait(30).ends["a"]
        assert time.monotonic() - begin < 5
        assert end.end is End.STOPPED
        assert "a" not in job.report.started


def test_containers_of_a_dead_gateway_are_removed(run, start, engine, podman):
    """Two gateways in one process: the second finds what the first, which is dead, left."""
    job = start(step("a", "echo up; sleep 600"), executor=engine)
    until(lambda: "up" in job.log("a"))
    assert len(podman.containers(job=job.run.job_id, attempt="1")) == 1
    other = ContainerExecutor(ContainerSettings(socket=podman.socket))
    other.reap(job.run.job_id, 2)
    assert podman.containers(job=job.run.job_id), "another attempt's is not touched"
    other.reap(job.run.job_id, 1)
    assert podman.containers(job=job.run.job_id) == []
    assert job.wait(60).ends["a"].end in {End.LOST, End.OUT_OF_MEMORY, End.EXIT_CODE}


def test_next_attempt_starts_only_when_nothing_of_the_last_runs(run, start, engine, podman):
    first = start(step("a", "echo up; sleep 600"), executor=engine)
    until(lambda: "up" in first.log("a"))
    second = run(
        step("a", "echo > /output/x"),
        job_id=first.run.job_id,
        attempt=2,
        folder=first.run.folder.parent / "second",
    )
    assert second.wait(60).ends["a"].end is End.COMPLETED
    assert first.wait(60).ends["a"].end is not End.COMPLETED


def test_engine_that_goes_away_and_comes_back_loses_no_job(run, podman):
    script = "echo up; while [ ! -e /output/go ]; do sleep 0.1; done; sleep 4; echo end"
    job = run(step("a", script))
    until(lambda: "up" in job.log("a") and job.report.started)
    podman.kill()
    (job.output("a") / "go").touch()
    podman.start()
    report = job.wait(60)
    assert report.ends["a"].end is End.COMPLETED, report.ends
    assert job.log("a").startswith("up\n")
    assert job.log("a").endswith("lines may be missing here\nend\n")


def test_disk_that_is_full_is_named(run, tmp_path):
    (disk := tmp_path / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True)
    try:
        script = "dd if=/dev/zero of=/output/x bs=1M count=20"
        end = run(step("a", script), folder=disk / "payload").wait(60).ends["a"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert end.end is End.EXIT_CODE
    assert "the disk that holds its outputs is full" in end.reason


def test_engine_that_is_away_is_told_and_makes_jobs_lost(start, tmp_path):
    settings = ContainerSettings(socket=tmp_path / "none.sock")
    engine = ContainerExecutor(settings)
    assert "none.sock" in engine.check()[0]
    end = start(step("a", "true"), executor=engine).wait(20).ends["a"]
    assert end.end is End.LOST
    with pytest.raises(GatewayError):
        engine.reap("0" * 32, 1)


def test_engine_that_answers_is_well(engine):
    assert engine.name == "container"
    assert engine.check() == []


def test_sockets_are_looked_for_in_the_stated_order(tmp_path):
    listening = tmp_path / "d.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listening))
        environ = {"DOCKER_HOST": f"unix://{listening}", "XDG_RUNTIME_DIR": "/run/user/7"}
        assert find_socket(None, environ) == listening
        assert find_socket(listening) == listening
    assert [str(path) for path in usual_sockets(environ)] == [
        str(listening), "/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock",
        "/run/user/7/podman/podman.sock", "/run/user/7/docker.sock",
    ]  # fmt: skip
