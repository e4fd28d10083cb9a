"""What a Workflow is made of and what its status is read to, without a cluster."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config.kubernetes import KubernetesSettings
from gateway.config.settings import ImageSettings
from gateway.executors.argo import status
from gateway.executors.argo.choice import ClusterExecutor
from gateway.executors.argo.executor import ArgoExecutor
from gateway.executors.argo.workflow import Form, ambiguous, plain, workflow
from gateway.executors.images import Images
from gateway.executors.kubernetes.containers import Site
from gateway.executors.kubernetes.executor import KubernetesExecutor
from gateway.jobs.executor import JobRun, Stop
from gateway.pipelines.model import Definition
from gateway.pipelines.parse import parse
from tests.support.argo import RECORDED, recorded
from tests.support.kube import step, until

JOB = "0123456789abcdef0123456789abcdef"
NAME = f"gateway-{JOB}-2"


def definition(operators: str, version: str = "0.3.0", extra: str = "") -> Definition:
    text = f"api-version: {version}\nname: test\n{extra}operators:\n{operators}"
    return parse(text, "t.yaml")


def made(
    operators: str,
    *,
    version: str = "0.3.0",
    extra: str = "",
    kept: frozenset[str] = frozenset(),
    **more: Any,
) -> Any:
    priority = more.pop("priority", "normal")
    images = more.pop("images", {})
    settings = KubernetesSettings(**({"host-path": "/srv/data"} | more))
    site = Site(
        settings=settings, images=Images(images, interpreter="python"), data_dir=Path("/data")
    )
    run = JobRun(
        JOB, 2, "name", "payload", "c", definition(operators, version, extra),
        Path("/data/payloads/p"), {}, (), 15.0, kept=kept, priority=priority,
    )  # fmt: skip
    return workflow(Form(site, settings.argo, "owner", 1900), run)


def templates(body: Any) -> dict[str, Any]:
    return {each["name"]: each for each in body["spec"]["templates"]}


FORK = (
    step("First", "true")
    + step("left_1", "true", source="First")
    + step("left-1", "true", source="First")
    + step("last", "true", source=["left_1", "left-1"])
)


def test_a_definition_that_asks_for_argo_is_a_pod_per_operator() -> None:
    for version, extra in (("0.3.0", ""), ("0.2.0", ""), ("0.4.0", "orchestrator: Argo\n")):
        body = made(FORK, version=version, extra=extra)
        assert body["metadata"]["name"] == NAME
        found = templates(body)
        assert list(found) == [
            "pipeline", "op-0-first", "op-1-left-1", "op-2-left-1", "op-3-last",
        ]  # fmt: skip
        dag = found["pipeline"]["dag"]
        assert dag["failFast"] is True
        assert {t["name"]: t.get("dependencies") for t in dag["tasks"]} == {
            "op-0-first": None,
            "op-1-left-1": ["op-0-first"],
            "op-2-left-1": ["op-0-first"],
            "op-3-last": ["op-1-left-1", "op-2-left-1"],
        }
        assert all("containerSet" not in each for each in found.values())
        assert "name" not in found["op-3-last"]["container"]


def test_any_other_definition_is_one_pod_and_argo_keeps_the_order() -> None:
    for version, extra in (("0.4.0", ""), ("0.3.0", "orchestrator: Clara\n")):
        body = made(FORK, version=version, extra=extra)
        (entry,) = body["spec"]["templates"]
        assert body["spec"]["entrypoint"] == entry["name"]
        found = entry["containerSet"]["containers"]
        assert [(c["name"], c.get("dependencies", [])) for c in found] == [
            ("op-0-first", []),
            ("op-1-left-1", ["op-0-first"]),
            ("op-2-left-1", ["op-0-first"]),
            ("op-3-last", ["op-1-left-1", "op-2-left-1"]),
        ]
        # What runs at once is two of four.
        assert [c["resources"]["requests"]["memory"] for c in found] == ["32Mi"] * 4
        assert all(c["command"] == ["sh", "-c", "true"] for c in found), "no waiter"


def test_pods_have_only_what_their_operator_needs() -> None:
    asks = step("a", "true").replace(
        "requests: {memory: 64, cpu: 0.1}", "requests: {memory: 900, cpu: 2, gpu: 1}"
    )
    body = made(
        asks + step("b", "true", source="a", extra="  x-gateway: {network: true}\n"),
        claim="c",
        **{"host-path": None, "runtime-class": "nvidia"},
    )
    first, second = templates(body)["op-0-a"], templates(body)["op-1-b"]
    assert first["container"]["resources"] == {
        "limits": {"memory": "900Mi", "nvidia.com/gpu": "1"},
        "requests": {"cpu": "2000m", "memory": "900Mi", "nvidia.com/gpu": "1"},
    }
    assert [v["name"] for v in second["volumes"]] == ["data", "scratch-1"]
    assert second["volumes"][0]["persistentVolumeClaim"] == {"claimName": "c"}
    data = {m["mountPath"]: m for m in second["container"]["volumeMounts"] if m["name"] == "data"}
    assert {path: (m["subPath"], m["readOnly"]) for path, m in data.items()} == {
        "/in/a": ("payloads/p/operators/a", True),
        "/output": ("payloads/p/operators/b", False),
    }
    assert json.loads(first["podSpecPatch"])["runtimeClassName"] == "nvidia"
    assert json.loads(second["podSpecPatch"]) == {
        "terminationGracePeriodSeconds": 15, "enableServiceLinks": False, "hostname": "operator",
    }  # fmt: skip
    assert first["metadata"]["labels"] == {
        "gateway/operator": "op-0-a", "gateway/network": "none",
    }  # fmt: skip
    assert second["metadata"]["labels"]["gateway/network"] == "asked"
    security = first["container"]["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True


def test_where_and_as_whom_it_runs_is_what_the_settings_say() -> None:
    body = made(
        step("a", "true"),
        extra="pull-secrets: [ngc-clara]\n",
        priority="immediate",
        queue="radiology",
        argo={"service-account": "runner", "instance-id": "west"},
        **{
            "node-selector": {"gpu": "a100"},
            "priority-classes": {"immediate": "emergency"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        },
    )
    spec, labels = body["spec"], body["metadata"]["labels"]
    assert labels["workflows.argoproj.io/controller-instanceid"] == "west"
    assert (labels["gateway/job"], labels["gateway/attempt"]) == (JOB, "2")
    assert labels["gateway/owner"] == "owner"
    assert spec["podMetadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "radiology"
    assert spec["podMetadata"]["labels"]["gateway/job"] == JOB
    assert spec["serviceAccountName"] == spec["executor"]["serviceAccountName"] == "runner"
    assert spec["automountServiceAccountToken"] is False
    assert spec["podPriorityClassName"] == "emergency"
    assert spec["priority"] == 2
    assert "priorityClassName" not in spec
    assert spec["nodeSelector"] == {"gpu": "a100"}
    assert spec["imagePullSecrets"] == [{"name": "ngc-clara"}]
    assert spec["tolerations"][0]["key"] == "gpu"
    assert all(t["tolerationSeconds"] <= 30 for t in spec["tolerations"][1:])
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["activeDeadlineSeconds"] == 1900
    assert spec["ttlStrategy"]["secondsAfterCompletion"] >= 24 * 3600
    assert spec["podGC"]["strategy"] == "OnWorkflowCompletion"


def test_kept_operators_are_not_in_it_and_nobody_waits_for_them() -> None:
    kept = frozenset({"First"})
    tasks = templates(made(FORK, kept=kept))["pipeline"]["dag"]["tasks"]
    assert [t["name"] for t in tasks] == ["op-1-left-1", "op-2-left-1", "op-3-last"]
    assert "dependencies" not in tasks[0]
    (entry,) = made(FORK, kept=kept, version="0.4.0")["spec"]["templates"]
    assert "dependencies" not in entry["containerSet"]["containers"][0]


def test_argo_puts_no_values_of_its_own_into_anything() -> None:
    script = "echo {{workflow.name}} {{{x}}} $(HOME) {a}"
    body = made(
        step("a", script, extra="  variables: {MINE: '{{=1+1}}'}\n"),
        images={"localhost/busybox": ImageSettings(command=["/x"], env={"SITE": "{{pod.name}}"})},
    )
    assert "{{" not in json.dumps(body["spec"]["templates"])
    container = templates(body)["op-0-a"]["container"]
    first, *others = container["env"]
    assert first == {"name": "GATEWAY_NOTHING", "value": ""}, "known before it is used"
    # As the cluster reads it.
    told = {e["name"]: e["value"].replace("$(GATEWAY_NOTHING)", "") for e in others}
    assert (told["MINE"], told["SITE"]) == ("{{=1+1}}", "{{pod.name}}")
    words = [w.replace("$(GATEWAY_NOTHING)", "").replace("$$", "$") for w in container["command"]]
    assert words == ["sh", "-c", script]
    assert plain("{{{{") == "{$(GATEWAY_NOTHING){$(GATEWAY_NOTHING){$(GATEWAY_NOTHING){"


def test_a_path_that_argo_would_change_is_found() -> None:
    text = step("a", "true", output="[{path: '/out/{{workflow.name}}'}]")
    told = definition(text)
    run = JobRun(JOB, 1, "n", "p", "c", told, Path("/data/p"), {}, (), 1.0)
    assert ambiguous(run, told.operators[0]) == "/out/{{workflow.name}}"
    told = definition(step("a", "true"))
    assert ambiguous(run, told.operators[0]) is None


TWO = step("first", "true") + step("second", "true", source="first")


def read(told: Any, **meta: Any) -> status.Told:
    body = {"metadata": {"uid": "u", "name": NAME, **meta}, "status": told}
    return status.read(json.loads(json.dumps(body).replace("$WF", NAME)), [], definition(TWO))


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda p: str(p.stem))
def test_every_recorded_status_can_be_read(path: Path) -> None:
    for each in recorded(path.stem)["steps"]:
        told = read(each["status"])
        assert set(told.facts.containers) | set(told.lost) <= {"op-0-first", "op-1-second"}


def test_how_operators_end_is_told_apart() -> None:
    def end(name: str) -> Any:
        return read(recorded(name)["steps"][-1]["status"])

    for name in ("exit-3", "exit-3-older", "set-exit-3"):
        ended = end(name).facts.containers["op-0-first"].ended
        assert (ended.code, ended.reason) == (3, "Error"), name
        assert not end(name).lost, name
        assert end(name).facts.trouble is None, name
    late = end("set-exit-3").facts.containers["op-1-second"].ended
    assert late.began is None, "Argo never began it"
    for name, op in (("out-of-memory", "op-0-first"), ("set-out-of-memory", "op-1-second")):
        assert end(name).facts.containers[op].ended.reason == "OOMKilled"
    assert end("cannot-start").facts.containers["op-0-first"].ended.unstartable
    for name, op, why in (
        ("deadline", "op-0-first", "Step exceeded its deadline"),
        ("pod-deadline", "op-0-first", "Pod was active on the node longer"),
        ("evicted", "op-1-second", "The node was low on resource: memory"),
        ("pod-deleted", "op-1-second", "pod deleted"),
        ("set-pod-deleted", "op-1-second", "pod deleted"),
        ("set-evicted", "op-0-first", "The node was low on resource: memory"),
        ("argo-s-own-fault", "op-0-first", "wait: Error (exit code 64): workflowtaskresults"),
        ("terminated-by-somebody", "op-0-first", "workflow shutdown with strategy: Terminate"),
    ):
        told = end(name)
        assert told.lost[op].startswith(why), name
        assert told.facts.phase == "Running", "each operator is told of by itself"
    assert end("invalid").refused == (
        "invalid spec: templates.op-0-first.container.command is required"
    )
    skipped = end("skipped")
    assert skipped.facts.phase == "Succeeded"
    assert skipped.facts.trouble == "its Workflow ended (Succeeded)"


def test_times_are_in_order_though_containers_of_a_set_begin_together() -> None:
    told = read(recorded("set-success")["steps"][-1]["status"]).facts.containers
    first, second = told["op-0-first"].ended, told["op-1-second"].ended
    assert first is not None
    assert second is not None
    assert second.began == first.ended
    assert second.ended - first.ended == 5


def test_what_hinders_is_told_apart() -> None:
    pulling = read(recorded("image-missing")["steps"][-1]["status"]).facts.containers["op-0-first"]
    assert str(pulling.hindrance).startswith("ImagePullBackOff: Back-off pulling image")
    assert not pulling.hopeless
    named = read(recorded("image-name")["steps"][-1]["status"]).facts.containers["op-0-first"]
    assert named.hopeless
    full = read(recorded("unschedulable")["steps"][0]["status"]).facts
    assert str(full.unschedulable).endswith("1 Insufficient nvidia.com/gpu.")
    late = read(recorded("postponed")["steps"][0]["status"]).facts
    assert str(late.unschedulable).startswith("Workflow processing has been postponed")
    gone = read(recorded("success")["steps"][3]["status"], deletionTimestamp="now").facts
    assert (gone.deleting, gone.trouble) == (True, status.DELETED)


def test_the_pod_knows_better_when_and_what() -> None:
    pod = {
        "metadata": {"uid": "p", "name": "x", "labels": {"gateway/operator": "op-0-first"}},
        "status": {
            "phase": "Succeeded",
            "containerStatuses": [
                {"name": "wait", "imageID": "w", "state": {"running": {}}},
                {
                    "name": "main", "imageID": "sha256:1",
                    "state": {
                        "terminated": {
                            "exitCode": 0, "startedAt": "2026-11-24T10:00:02Z",
                            "finishedAt": "2026-11-24T10:00:03Z",
                        }
                    },
                },
            ],
        },
    }  # fmt: skip
    body = {"metadata": {"uid": "u"}, "status": recorded("success")["steps"][4]["status"]}
    found = status.read(body, [pod], definition(TWO)).facts.containers["op-0-first"]
    assert found.image == "sha256:1"
    assert found.ended is not None
    assert found.ended.began is not None
    assert found.ended.ended - found.ended.began == 1
    assert "op-0-first" in status.containers_of([pod])
    assert "wait" not in status.containers_of([pod])


def test_nodes_that_are_packed_are_read_and_bombs_are_not() -> None:
    told = recorded("success")["steps"][-1]["status"]

    def packed(data: bytes) -> Any:
        text = base64.b64encode(gzip.compress(data)).decode()
        return told | {"nodes": {}, "compressedNodes": text}

    again = read(packed(json.dumps(told["nodes"]).encode()))
    assert again.facts.containers.keys() == {"op-0-first", "op-1-second"}
    assert read(packed(b'{"a": "' + b" " * (64 << 20) + b'"}')).facts.containers == {}
    assert read(told | {"nodes": {}, "compressedNodes": "!"}).facts.containers == {}


def test_a_job_whose_cluster_never_answers_can_be_stopped(start: Any, tmp_path: Path) -> None:
    way = tmp_path / "kubeconfig"
    user = {"name": "u", "user": {"token": "t"}}
    nowhere = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    way.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "clusters": [nowhere], "users": [user],
        "contexts": [context], "current-context": "x",
    }))  # fmt: skip
    settings = KubernetesSettings(**{"kubeconfig": way, "host-path": str(tmp_path)})
    both = ClusterExecutor(KubernetesExecutor(settings, tmp_path), ArgoExecutor(settings, tmp_path))
    job = start(TWO, executor=both, version="0.3.0")
    until(lambda: job.report.notices)
    assert "does not answer" in job.report.notices[0]
    assert not job.handle.done()
    job.handle.stop(Stop.CANCEL)
    assert job.wait(20).ends == {}
    both.close()
