"""How jobs run and end on a real Kubernetes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import utils

from gateway.config.kubernetes import KubernetesSettings
from gateway.executors.kubernetes.executor import KubernetesExecutor
from gateway.jobs.executor import End, Stop
from gateway.pipelines.layout import results_file
from tests.support.kube import NAMESPACE, Kube, step, until

pytestmark = pytest.mark.peers

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def engine(kube: Kube, waiter_program: Path, tmp_path: Path) -> Iterator[Any]:
    """Makes executors over the test's own folder."""
    made = []

    def make(**settings: Any) -> KubernetesExecutor:
        told = {
            "kubeconfig": kube.kubeconfig, "host_path": str(tmp_path), "waiter": waiter_program,
        } | settings  # fmt: skip
        executor = KubernetesExecutor(KubernetesSettings(**told), tmp_path)
        made.append(executor)
        return executor

    yield make
    for each in made:
        each.close()


@pytest.fixture
def run(start: Any, engine: Any, kube: Kube) -> Iterator[Any]:
    """Starts a job; at the end of the test no Pod of it is left."""
    jobs = []

    def make(operators: str, **more: Any) -> Any:
        more.setdefault("executor", None)
        more["executor"] = more["executor"] or engine()
        job = start(operators, **more)
        jobs.append(job)
        return job

    yield make
    for job in jobs:
        job.handle.stop(Stop.CANCEL)
        assert job.handle.join(60)
        assert kube.pods(f"gateway/job={job.run.job_id}") == []


def test_operators_flow_through_one_pod_and_the_image_is_recorded(run: Any, kube: Kube) -> None:
    # Two that meet: each waits for the other, so both run at once.
    meet = "touch /output/{me}; echo {me}; sleep 0.2; cat /in/First/x > /output/y"
    job = run(
        step("First", "cat /input/dcm/*/*/*/* > /output/x; echo one >&2; sleep 1")
        + step("left_1", meet.format(me="l"), source="First")
        + step("left-1", meet.format(me="r"), source="First")
        + step(
            "last",
            "cat /in/left_1/y /in/left-1/y > /output/z; echo [] > $NVIDIA_CLARA_RESULTS",
            source=["left_1", "left-1"],
            output="[]",
        )
    )
    assert until(lambda: "First" in job.report.started or job.handle.done(), 60)
    (pod,) = kube.pods(f"gateway/job={job.run.job_id}")
    report = job.wait(90)
    assert {n: e.end for n, e in report.ends.items()} == dict.fromkeys(
        ("First", "left_1", "left-1", "last"), End.COMPLETED
    ), report.ends
    assert (job.output("last") / "z").read_text() == "imageimage"
    assert results_file(job.run.folder, job.run.definition.operator("last")).is_file()
    assert [job.log(n) for n in ("First", "left_1", "left-1")] == ["one\n", "l\n", "r\n"]
    assert report.stopped["First"] <= report.started["left_1"]
    assert report.stopped["First"] <= report.started["left-1"]
    assert max(report.started["left_1"], report.started["left-1"]) < min(
        report.stopped["left_1"], report.stopped["left-1"]
    ), "both ran at once"
    assert all(str(image).startswith("sha256:") for image in report.images.values())
    assert any("Scheduled" in notice for notice in report.notices)
    assert len(pod.spec.containers) == 4
    assert not pod.spec.init_containers


def test_operator_is_nobody_and_sees_only_its_own(run: Any) -> None:
    script = """
id -u; grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status
touch /x 2>&1; touch /input/x 2>&1; touch /input/dcm/p/st/se/1.2.3.dcm 2>&1; touch /.gateway/w 2>&1
echo a > /tmp/a && cat /tmp/a; echo b > /dev/shm/b; env; ls /; ls /var/run/secrets 2>&1
echo 'a$(PATH)b $$'; echo > /output/done
"""
    extra = "  variables: {MINE: '$(HOME) $7'}\n"
    report = (job := run(step("a", script, extra=extra))).wait(60)
    assert report.ends["a"].end is End.COMPLETED, job.log("a")
    said = job.log("a")
    assert said.splitlines()[0] == "1000"
    for name in ("CapEff", "CapPrm", "CapBnd"):
        assert f"{name}:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert "Seccomp:\t2" in said
    assert said.count("Read-only file system") == 4
    assert "/var/run/secrets: No such file" in said
    assert "MINE=$(HOME) $7" in said.splitlines()
    for line in (
        f"NVIDIA_CLARA_JOBID={job.run.job_id}", "NVIDIA_CLARA_STAGENAME=a",
        "NVIDIA_CLARA_INPUTPATHS=input:/input", "NVIDIA_CLARA_OUTPUTPATHS=output:/output",
        "NVIDIA_VISIBLE_DEVICES=void", "PATH=/usr/local/bin:/usr/bin:/usr/sbin",
    ):  # fmt: skip
        assert line in said.splitlines(), line


def test_fault_stops_the_rest_and_starts_nothing_after(run: Any) -> None:
    job = run(
        step("bad", "sleep 0.5; echo why >&2; exit 3")
        + step("long", "trap 'exit 7' TERM; echo > /output/up; while :; do sleep 0.1; done")
        + step("after", "true", source="bad")
    )
    report = job.wait(60)
    assert (report.ends["bad"].end, report.ends["bad"].exit_code) == (End.EXIT_CODE, 3)
    assert report.ends["long"].end is End.STOPPED
    assert "after" not in report.ends
    assert job.log("bad") == "why\n"


def test_too_much_memory_is_named(run: Any) -> None:
    report = run(step("greedy", "tail /dev/zero")).wait(60)
    assert report.ends["greedy"].end is End.OUT_OF_MEMORY
    assert "64 MB" in report.ends["greedy"].reason


@pytest.mark.prove
def test_stop_is_polite_first_and_waits_for_all_that_was_forked(run: Any) -> None:
    script = (
        "trap 'echo polite; echo > /output/x; exit 0' TERM; (sleep 300 &) ;"
        " echo up; while :; do sleep 0.1; done"
    )
    job = run(step("a", script), grace=5.0)
    until(lambda: job.log("a"))
    job.handle.stop(Stop.CANCEL)
    report = job.wait(60)
    assert report.ends["a"].end is End.STOPPED
    assert "cancelled" in report.ends["a"].reason
    assert "polite" in job.log("a").splitlines()


def test_program_and_image_that_are_missing_are_named(run: Any, engine: Any) -> None:
    commands = step("a", "true").replace("[sh, -c, ", "[/no/such/program, ")
    report = (job := run(commands)).wait(60)
    assert (report.ends["a"].end, report.ends["a"].exit_code) == (End.EXIT_CODE, 127)
    assert "cannot be executed" in report.ends["a"].reason, report.ends["a"]
    assert "/no/such/program" in job.log("a")

    never = engine(pull="never")
    report = run(step("a", "true", image="localhost/none"), executor=never).wait(60)
    assert report.ends["a"].end is End.IMAGE_MISSING
    assert "localhost/none:1" in report.ends["a"].reason
    assert report.started == {}

    soon = engine(image_seconds=2)
    report = run(step("a", "true", image="localhost/none"), executor=soon).wait(60)
    assert report.ends["a"].end is End.IMAGE_MISSING
    assert "localhost/none:1" in report.ends["a"].reason


@pytest.mark.prove
def test_a_pod_that_somebody_deletes_is_lost(run: Any, kube: Kube) -> None:
    job = run(step("a", "sleep 300"))
    until(lambda: job.report.started)
    (pod,) = kube.pods(f"gateway/job={job.run.job_id}")
    kube.core().delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=1)
    report = job.wait(60)
    assert report.ends["a"].end is End.LOST
    assert "deleted by somebody else" in report.ends["a"].reason


@pytest.mark.prove
def test_only_the_image_knows_its_command(run: Any, kube: Kube, tmp_path: Path) -> None:
    script = tmp_path / "own"
    script.write_text("#!/bin/sh\necho $NVIDIA_CLARA_STAGENAME; ls /in; echo > /output/x\n")
    script.chmod(0o755)
    busybox = tmp_path / "busybox"
    busybox.write_bytes(Path("/bin/busybox").read_bytes())
    busybox.chmod(0o755)
    kube.load(
        "localhost/own:1",
        {"usr/bin/own": script, "usr/bin/busybox": busybox},
        {"bin": "usr/bin", "usr/bin/sh": "busybox", "usr/bin/ls": "busybox"},
        Entrypoint=["/usr/bin/own"],
    )
    own = step("{}", "", image="localhost/own").replace(', command: [sh, -c, ""]', "")
    job = run(
        own.replace("{}", "second").replace("{path: /input}", "{path: /in, from: first}")
        + own.replace("{}", "first").replace("{path: /input}", "{path: /in}")
    )
    report = job.wait(60)
    ends = {name: end.end for name, end in report.ends.items()}
    assert ends == {"first": End.COMPLETED, "second": End.COMPLETED}, report.ends
    assert job.log("first") == "first\ndcm\n"
    assert job.log("second") == "second\nx\n"
    assert report.stopped["first"] <= report.started["second"]


@pytest.mark.prove
def test_gpus_are_the_job_s_alone_and_waiting_says_why(run: Any, kube: Kube) -> None:
    kube.cluster("gpu", str(1))
    asks = "  requests: {memory: 64, cpu: 0.1, gpu: 1}\n"
    plain = "  requests: {memory: 64, cpu: 0.1}\n"
    first = run(step("a", "env; echo > /output/x; sleep 300").replace(plain, asks))
    until(lambda: "HOME=" in first.log("a"))
    assert "NVIDIA_VISIBLE_DEVICES" not in first.log("a")
    second = run(step("b", "echo > /output/x").replace(plain, asks))
    until(lambda: any("Insufficient nvidia.com/gpu" in n for n in second.report.notices))
    assert second.report.started == {}
    first.handle.stop(Stop.CANCEL)
    assert second.wait(60).ends["b"].end is End.COMPLETED


def test_the_role_in_deploy_is_all_it_needs(
    run: Any, kube: Kube, engine: Any, tmp_path: Path
) -> None:
    core = kube.core()
    if not core.list_namespaced_service_account(
        NAMESPACE, field_selector="metadata.name=gateway"
    ).items:
        utils.create_from_yaml(kube.client(), str(ROOT / "deploy" / "kubernetes" / "rbac.yaml"))
    account = until(lambda: core.read_namespaced_service_account("gateway", NAMESPACE).secrets)
    secret = core.read_namespaced_secret(account[0].name, NAMESPACE)
    token = base64.b64decode(secret.data["token"]).decode()
    way = kube.token_config(token, tmp_path / "kubeconfig")
    executor = engine(kubeconfig=way)
    assert executor.check() == []
    assert run(step("a", "echo > /output/x"), executor=executor).wait(60).ends["a"].end is (
        End.COMPLETED
    )
    cluster = executor._cluster
    for verb, kind, part in (
        ("list", "secrets", ""), ("get", "secrets", ""), ("list", "nodes", ""),
        ("create", "pods", "exec"), ("update", "pods", ""), ("list", "configmaps", ""),
    ):  # fmt: skip
        assert not cluster.allowed(verb, kind, part), (verb, kind, part)
    nobody = kube.token_config("wrong", tmp_path / "wrong")
    assert "Unauthorized" in engine(kubeconfig=nobody).check()[0]
