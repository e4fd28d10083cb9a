"""Jobs as Workflows of a real API server with Argo's full schema; the test is the controller."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, utils

from gateway.config.kubernetes import KubernetesSettings
from gateway.errors import Transient
from gateway.executors.argo import job as argo_job
from gateway.executors.argo.api import GROUP
from gateway.executors.argo.choice import ClusterExecutor
from gateway.executors.argo.executor import ArgoExecutor, check
from gateway.executors.kubernetes.api import GoneError
from gateway.executors.kubernetes.executor import KubernetesExecutor
from gateway.jobs.executor import End, Stop
from tests.executors.conftest import Recorder
from tests.support.argo import Controller, recorded
from tests.support.kube import NAMESPACE, Kube, step, until

# A cluster of its own and a minute: what needs none is in test_argo_parts.
pytestmark = [pytest.mark.peers, pytest.mark.prove]

ROOT = Path(__file__).resolve().parents[2]
TWO = step("first", "true") + step("second", "true", source="first")


@pytest.fixture
def settings(kube: Kube, waiter_program: Path, tmp_path: Path) -> KubernetesSettings:
    told: dict[str, Any] = {
        "kubeconfig": kube.kubeconfig, "host_path": str(tmp_path), "waiter": waiter_program,
        "image_seconds": 1,
    }  # fmt: skip
    return KubernetesSettings(**told)


@pytest.fixture
def engine(settings: KubernetesSettings, tmp_path: Path) -> Iterator[ArgoExecutor]:
    executor = ArgoExecutor(settings, tmp_path)
    yield executor
    executor.close()


@pytest.fixture
def argo(kube: Kube) -> Controller:
    return Controller(kube)


@pytest.fixture
def run(start: Any, engine: ArgoExecutor, kube: Kube, argo: Controller) -> Iterator[Any]:
    """Starts a job; at the end of the test nothing of it is left."""
    jobs = []

    def make(operators: str = TWO, **more: Any) -> Any:
        job = start(operators, **({"executor": engine, "version": "0.3.0"} | more))
        jobs.append(job)
        return job

    yield make
    for job in jobs:
        job.handle.stop(Stop.CANCEL)
        assert job.handle.join(60)
        assert argo.workflows(f"gateway/job={job.run.job_id}") == []
        assert kube.pods(f"gateway/job={job.run.job_id}") == []


def written(job: Any) -> None:
    """What the operators of :data:`TWO` would have written."""
    for name in ("first", "second"):
        job.output(name).mkdir(parents=True, exist_ok=True)
        (job.output(name) / "result").write_text(name)


def play(argo: Controller, job: Any, name: str) -> Recorder:
    """Tell a recorded sequence, step by step, then how the job ended."""
    made = argo.workflow(job.run.job_id)["metadata"]["name"]
    until(lambda: job.output("second").is_dir())
    written(job)
    for each in recorded(name)["steps"]:
        if not job.handle.done():
            argo.tell(made, each["status"])
    report: Recorder = job.wait(60)
    return report


def same(sent: Any, kept: Any, place: str = "") -> Iterator[str]:
    """Places where what the server keeps is not what was sent."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        for key, value in sent.items():
            yield from same(value, kept.get(key, "pruned"), f"{place}.{key}")
    elif isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        for i, (one, other) in enumerate(zip(sent, kept, strict=True)):
            yield from same(one, other, f"{place}[{i}]")
    elif sent != kept:
        yield f"{place}: {sent!r} became {kept!r}"


@pytest.mark.parametrize("version", ["0.3.0", "0.4.0"])
def test_the_server_keeps_every_field_of_both_kinds(
    settings: KubernetesSettings, tmp_path: Path, run: Any, argo: Controller, version: str
) -> None:
    told: dict[str, Any] = {
        "queue": "radiology", "runtime_class": "nvidia", "node_selector": {"gpu": "a100"},
        "priority_classes": {"higher": "urgent"}, "argo": {"instance_id": "west"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }  # fmt: skip
    executor = ArgoExecutor(
        KubernetesSettings(**(settings.model_dump() | told)), tmp_path, host_volumes=["/opt"]
    )
    sent: list[Any] = []
    create = executor.workflows.create
    executor.workflows.create = lambda body: sent.append(body) or create(body)  # type: ignore
    operators = TWO.replace("cpu: 0.1}", "cpu: 0.1, gpu: 1}").replace(
        "tag: '1',", "tag: '1', hostVolumePath: /opt/atlas,"
    )
    extra = "pull-secrets: [ngc-clara]\n"
    job = run(operators, executor=executor, version=version, extra=extra, priority="higher")
    kept = argo.workflow(job.run.job_id)
    assert list(same(sent[0], kept)) == []
    assert list(same(kept["spec"], sent[0]["spec"])) == [], "nothing is added by defaults"
    forms = [set(t) & {"dag", "container", "containerSet"} for t in kept["spec"]["templates"]]
    assert forms == ([{"dag"}, {"container"}, {"container"}] if version == "0.3.0" else
                     [{"containerSet"}])  # fmt: skip
    executor.close()


@pytest.mark.parametrize("form", ["", "set-"])
def test_a_workflow_that_succeeds(run: Any, argo: Controller, form: str) -> None:
    job = run(version="0.4.0" if form else "0.3.0")
    report = play(argo, job, f"{form}success")
    assert {n: e.end for n, e in report.ends.items()} == dict.fromkeys(
        ("first", "second"), End.COMPLETED
    ), report.ends
    assert report.stopped["first"] - report.started["first"] == pytest.approx(4)
    assert report.stopped["second"] - report.started["second"] == pytest.approx(5)
    assert report.started["second"] == report.stopped["first"]
    assert (job.output("second") / "result").read_text() == "second"


@pytest.mark.parametrize(
    ("sequence", "operator", "end", "code", "reason"),
    [
        ("exit-3", "first", End.EXIT_CODE, 3, "exit code 3"),
        ("exit-3-older", "first", End.EXIT_CODE, 3, "exit code 3"),
        ("out-of-memory", "first", End.OUT_OF_MEMORY, 137, "more memory than the 64 MB"),
        ("deadline", "first", End.LOST, None, "Step exceeded its deadline"),
        ("evicted", "second", End.LOST, None, "The node was low on resource: memory."),
        ("pod-deleted", "second", End.LOST, None, "pod deleted"),
        ("argo-s-own-fault", "first", End.LOST, None, "workflowtaskresults"),
        ("terminated-by-somebody", "first", End.LOST, None, "workflow shutdown"),
        ("image-missing", "first", End.IMAGE_MISSING, None, "ImagePullBackOff"),
        ("image-name", "first", End.IMAGE_MISSING, None, "InvalidImageName"),
        ("cannot-start", "first", End.IMAGE_MISSING, 64, "failed to find name in PATH"),
        ("invalid", "first", End.IMAGE_MISSING, None, "Argo does not take its Workflow: invalid"),
        ("skipped", "second", End.LOST, None, "its Workflow ended (Succeeded)"),
        ("set-exit-3", "first", End.EXIT_CODE, 3, "exit code 3"),
        ("set-out-of-memory", "second", End.OUT_OF_MEMORY, 137, "64 MB"),
        ("set-pod-deleted", "second", End.LOST, None, "pod deleted"),
        ("set-evicted", "first", End.LOST, None, "The node was low on resource: memory."),
    ],
)
def test_how_a_workflow_fails(
    run: Any,
    argo: Controller,
    sequence: str,
    operator: str,
    end: End,
    code: int | None,
    reason: str,
) -> None:
    job = run(version="0.4.0" if sequence.startswith("set-") else "0.3.0")
    report = play(argo, job, sequence)
    found = report.ends.pop(operator)
    assert (found.end, found.exit_code) == (end, code), found
    assert reason in found.reason
    rest = {each.end for each in report.ends.values()}
    assert rest <= ({End.COMPLETED} if operator == "second" else set()), report.ends


@pytest.mark.parametrize(
    ("sequence", "said"),
    [
        ("unschedulable", "Unschedulable: Unschedulable: 0/1 nodes are available"),
        ("postponed", "too many workflows are already running"),
    ],
)
def test_why_it_waits_is_told(run: Any, argo: Controller, sequence: str, said: str) -> None:
    job = run()
    name = argo.workflow(job.run.job_id)["metadata"]["name"]
    first, *_ = steps = recorded(sequence)["steps"]
    argo.tell(name, first["status"])
    until(lambda: any(said in notice for notice in job.report.notices))
    until(lambda: job.output("second").is_dir())
    written(job)
    argo.tell(name, steps[-1]["status"])
    assert {e.end for e in job.wait(60).ends.values()} == {End.COMPLETED}


def test_outputs_are_looked_at_here_too(run: Any, argo: Controller) -> None:
    job = run()
    name = argo.workflow(job.run.job_id)["metadata"]["name"]
    argo.tell(name, recorded("success")["steps"][-1]["status"])
    report = job.wait(60)
    assert report.ends["first"].end is End.OUTPUT_MISSING
    assert "second" not in report.ends


@pytest.mark.parametrize("helps", [True, False], ids=["argo ends it", "no controller"])
def test_cancelling_lets_argo_end_it_first(run: Any, argo: Controller, helps: bool) -> None:
    job = run()
    name = argo.workflow(job.run.job_id)["metadata"]["name"]
    first, last = recorded("cancel")["steps"]
    argo.tell(name, first["status"])
    until(lambda: job.report.started)
    if helps:
        # A Pod that runs: without it there is nothing to wait for.
        waiting = {
            "name": f"{name}-op-0-first-1",
            "labels": {"gateway/job": job.run.job_id, "gateway/attempt": "1"},
        }
        body = {
            "metadata": waiting,
            "spec": {"containers": [{"name": "main", "image": "x"}], "nodeName": "nowhere"},
        }
        argo.kube.core().create_namespaced_pod(NAMESPACE, body)
    job.handle.stop(Stop.CANCEL)
    if helps:
        until(lambda: argo.workflows(f"gateway/job={job.run.job_id}")[0]["spec"].get("shutdown"))
        assert not job.handle.done()
        argo.kube.core().delete_namespaced_pod(waiting["name"], NAMESPACE, grace_period_seconds=0)
        argo.tell(name, last["status"])
    found = job.wait(60).ends
    assert {n: e.end for n, e in found.items()} == {"first": End.STOPPED}
    assert found["first"].reason == "the job was cancelled"
    assert argo.workflows(f"gateway/job={job.run.job_id}") == []


def test_a_workflow_that_somebody_deletes_is_lost(run: Any, argo: Controller) -> None:
    job = run()
    name = argo.workflow(job.run.job_id)["metadata"]["name"]
    argo.tell(name, recorded("success")["steps"][3]["status"])
    until(lambda: job.report.started)
    argo.delete(name)
    found = job.wait(60).ends["first"]
    assert (found.end, found.reason) == (End.LOST, "its Workflow was deleted by somebody else")


def test_what_the_server_has_forgotten_is_listed_anew(engine: ArgoExecutor) -> None:
    with pytest.raises(GoneError):
        next(engine.workflows.watch("gateway/job=none", "1"))


def test_a_workflow_that_nobody_looks_at_is_told_of(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argo_job, "TAKEN_SECONDS", 0.5)
    job = run()
    until(lambda: any("no controller of Argo" in notice for notice in job.report.notices))


def test_another_gateway_carries_it_on(
    run: Any, settings: KubernetesSettings, tmp_path: Path, argo: Controller
) -> None:
    job = run()
    name = argo.workflow(job.run.job_id)["metadata"]["name"]
    until(lambda: job.output("second").is_dir())
    written(job)
    steps = [each["status"] for each in recorded("success")["steps"]]
    argo.tell(name, steps[5])
    until(lambda: "second" in job.report.started)
    job.handle.stop(Stop.SHUTDOWN)
    assert job.handle.join(30)
    assert argo.workflow(job.run.job_id)["spec"].get("shutdown") is None
    other = ArgoExecutor(settings, tmp_path)
    try:
        assert other.has(job.run.job_id, 1)
        assert not other.has(job.run.job_id, 2)
        report, done = Recorder(), []
        resumed = replace(job.run, resumed=True)
        handle = other.start(resumed, report, lambda: done.append(1))
        until(lambda: "second" in report.started)
        argo.tell(name, steps[6])
        assert handle.join(60)
        assert done == [1]
        assert {n: e.end for n, e in report.ends.items()} == dict.fromkeys(
            ("first", "second"), End.COMPLETED
        )
        # It is gone: whoever asks for it again hears so.
        again = Recorder()
        assert other.start(resumed, again, lambda: None).join(60)
        assert again.ends["first"].end is End.LOST
    finally:
        other.close()


def test_a_dead_attempt_is_ended_and_the_next_one_begins(
    run: Any, engine: ArgoExecutor, argo: Controller
) -> None:
    job = run()
    argo.workflow(job.run.job_id)
    job.handle.stop(Stop.SHUTDOWN)
    assert job.handle.join(30)
    next_one = run(job_id=job.run.job_id, attempt=2)
    until(lambda: [w["metadata"]["labels"]["gateway/attempt"]
                   for w in argo.workflows(f"gateway/job={job.run.job_id}")] == ["2"])  # fmt: skip
    next_one.handle.stop(Stop.SHUTDOWN)
    assert next_one.handle.join(30)

    def reaped() -> bool:
        try:
            engine.reap(job.run.job_id, 2)
        except Transient:
            return False
        return True

    until(reaped)
    assert argo.workflows(f"gateway/job={job.run.job_id}") == []
    engine.reap(job.run.job_id, 2)


def test_a_dag_runs_on_a_kubelet_as_the_templates_say(run: Any, argo: Controller) -> None:
    job = run(
        step("first", "id -u; ls /; cat /input/dcm/*/*/*/* > /output/x; echo '{{a}}' $GATEWAY_X",
             extra="  variables: {GATEWAY_X: '{{b}}'}\n")
        + step("second", "cat /in/first/x > /output/y; touch /in/first/z; exit 3", source="first")
    )  # fmt: skip
    made = argo.workflow(job.run.job_id)
    assert argo.run(made, "op-0-first") == "Succeeded"
    assert argo.run(made, "op-1-second") == "Failed"
    argo.end(made["metadata"]["name"], "Failed")
    report = job.wait(60)
    assert report.ends["first"].end is End.COMPLETED, report.ends
    assert (report.ends["second"].end, report.ends["second"].exit_code) == (End.EXIT_CODE, 3)
    assert (job.output("second") / "y").read_text() == "image"
    said = job.log("first").splitlines()
    assert said[0] == "1000"
    assert said[-1] == "{{a}} {{b}}", "braces are as they were written"
    assert "Read-only file system" in job.log("second")
    assert all(str(image).startswith("sha256:") for image in report.images.values())
    assert report.started["first"] <= report.stopped["first"] <= report.started["second"]
    assert any("Scheduled" in notice for notice in report.notices), "Pods' news are the job's"


def test_a_cluster_is_asked_which_engine_runs_it(
    run: Any,
    settings: KubernetesSettings,
    tmp_path: Path,
    kube: Kube,
    argo: Controller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pods, workflows = KubernetesExecutor(settings, tmp_path), ArgoExecutor(settings, tmp_path)
    both = ClusterExecutor(pods, workflows)
    try:
        assert both.name == "kubernetes"
        assert both.check() == []
        old = run(executor=both)
        assert argo.workflow(old.run.job_id)
        until(lambda: both.has(old.run.job_id, 1))
        new = run(step("a", "echo > /output/x"), executor=both, version="0.4.0")
        assert new.wait(60).ends["a"].end is End.COMPLETED
        monkeypatch.setattr(workflows.workflows, "served", lambda: False)
        alone = run(step("a", "echo > /output/x"), executor=both)
        assert alone.wait(60).ends["a"].end is End.COMPLETED
        note = (
            "asks for Argo (api-version 0.3.0), which the cluster does not have: it runs as a Pod"
        )
        assert any(note in notice for notice in alone.report.notices)
    finally:
        both.close()


@pytest.fixture
def account(kube: Kube) -> Iterator[str]:
    """The token of an account with the rights that ``deploy/`` writes down, under other names."""

    def named(told: dict[str, Any]) -> None:
        told["name"] = told["name"].replace("gateway", "argo-test", 1)

    made = []
    for name in ("rbac.yaml", "argo.yaml"):
        for body in yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / name).read_text()):
            for part in (body["metadata"], body.get("roleRef"), *body.get("subjects", ())):
                if part is not None:
                    named(part)
            if body["kind"] != "Secret":
                made.append((body["kind"], body["metadata"]["name"]))
                utils.create_from_dict(kube.client(), body)
    core, rules = kube.core(), client.RbacAuthorizationV1Api(kube.client())
    told = until(lambda: core.read_namespaced_service_account("argo-test", NAMESPACE).secrets)
    secret = core.read_namespaced_secret(told[0].name, NAMESPACE)
    yield base64.b64decode(secret.data["token"]).decode()
    remove = {
        "ServiceAccount": core.delete_namespaced_service_account,
        "Role": rules.delete_namespaced_role,
        "RoleBinding": rules.delete_namespaced_role_binding,
    }
    for kind, name in made:
        remove[kind](name, NAMESPACE)


def test_the_rights_that_are_written_down_are_all_it_needs(
    run: Any,
    kube: Kube,
    account: str,
    settings: KubernetesSettings,
    tmp_path: Path,
    argo: Controller,
) -> None:
    way = kube.token_config(account, tmp_path / "token.json")
    executor = ArgoExecutor(settings.model_copy(update={"kubeconfig": way}), tmp_path)
    try:
        assert executor.check() == []
        report = play(argo, run(executor=executor), "success")
        assert {e.end for e in report.ends.values()} == {End.COMPLETED}
        for verb, kind, group in (
            ("list", "secrets", ""), ("update", "pods", ""), ("list", "nodes", ""),
            ("list", "workflowtemplates", GROUP), ("create", "workflowtaskresults", GROUP),
        ):  # fmt: skip
            assert not executor.workflows.allowed(verb, kind, group=group), (verb, kind)
        nobody = kube.token_config("wrong", tmp_path / "wrong.json")
        told = check(settings.model_copy(update={"kubeconfig": nobody}))
        assert "Unauthorized" in told[0]
    finally:
        executor.close()
