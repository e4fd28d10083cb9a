"""What a Pod is made of and what its status and logs are read to, without a cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.config.kubernetes import KubernetesSettings
from gateway.config.settings import ImageSettings
from gateway.executors.images import Images
from gateway.executors.kubernetes import names, pod, status, volumes
from gateway.executors.kubernetes.containers import Site
from gateway.executors.kubernetes.logs import Lines
from gateway.jobs.executor import JobRun
from gateway.pipelines.parse import parse
from tests.support.kube import step

JOB = "0123456789abcdef0123456789abcdef"


def made(
    operators: str, *, extra: str = "", kept: frozenset[str] = frozenset(), **more: Any
) -> Any:
    definition = parse(f"api-version: 0.4.0\nname: test\n{extra}operators:\n{operators}", "t.yaml")
    priority = more.pop("priority", "normal")
    images = more.pop("images", {})
    hosts = more.pop("host_volumes", ())
    site = Site(
        settings=KubernetesSettings(**({"host-path": "/srv/data"} | more)),
        images=Images(images, interpreter="python"),
        data_dir=Path("/data"),
        waiter=Path("/data/cluster/waiter-1"),
        host_volumes=hosts,
    )
    run = JobRun(
        JOB, 2, "name", "payload", "c", definition, Path("/data/payloads/p"), {}, (), 15.0,
        kept=kept, priority=priority,
    )  # fmt: skip
    return pod.pod(site, run, "owner", 1900)


def test_names_are_labels_and_never_meet() -> None:
    many = [f"{'x' * 200}-{i}" for i in range(3)] + ["a_b", "a-b", "x-", "_9"]
    body = made("".join(step(name, "true") for name in many))
    found = [c["name"] for c in body["spec"]["containers"]]
    assert len(set(found)) == len(many)
    assert all(len(name) <= 63 and not name.endswith("-") for name in found)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in found)
    assert body["metadata"]["name"] == f"gateway-{JOB}-2"
    labels = body["metadata"]["labels"]
    assert (labels["gateway/job"], labels["gateway/attempt"]) == (JOB, "2")
    assert labels["gateway/owner"] == "owner"
    assert names.of_job(JOB) == f"gateway/job={JOB}"


def test_where_it_runs_is_what_the_settings_say() -> None:
    body = made(
        step("a", "true"),
        extra="pull-secrets: [ngc-clara]\n",
        priority="immediate",
        queue="radiology",
        **{
            "node-selector": {"gpu": "a100"},
            "priority-classes": {"immediate": "emergency"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        },
    )
    spec = body["spec"]
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "radiology"
    assert spec["nodeSelector"] == {"gpu": "a100"}
    assert spec["priorityClassName"] == "emergency"
    assert spec["imagePullSecrets"] == [{"name": "ngc-clara"}]
    first, *lost = spec["tolerations"]
    assert first == {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert {t["key"] for t in lost} == {
        "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable",
    }  # fmt: skip
    assert all(t["tolerationSeconds"] <= 30 for t in lost)
    assert spec["restartPolicy"] == "Never"
    assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is False
    assert "priorityClassName" not in made(step("a", "true"))["spec"]


def test_requests_are_what_runs_at_once_and_limits_each_one_s() -> None:
    asks = "  requests: {memory: 1000, cpu: 2, gpu: 1}\n"
    plain = "  requests: {memory: 64, cpu: 0.1}\n"
    chain = "".join(
        step(f"o{i}", "true", source=f"o{i - 1}" if i else None).replace(plain, asks)
        for i in range(4)
    )
    found = [
        c["resources"] for c in made(chain, **{"gpu-resource": "amd.com/gpu"})["spec"]["containers"]
    ]
    assert [r["limits"] for r in found] == [{"memory": "1000Mi", "amd.com/gpu": "1"}] * 4
    assert [r["requests"]["memory"] for r in found] == ["250Mi"] * 4
    assert [r["requests"]["cpu"] for r in found] == ["500m"] * 4
    assert [r["requests"]["amd.com/gpu"] for r in found] == ["1"] * 4
    beside = "".join(step(f"o{i}", "true").replace(plain, asks) for i in range(2))
    found = [c["resources"] for c in made(beside)["spec"]["containers"]]
    assert [r["requests"]["memory"] for r in found] == ["1000Mi"] * 2


def test_mounts_are_the_operator_s_own() -> None:
    body = made(step("a", "true") + step("b", "true", source="a"), claim="c", **{"host-path": None})
    assert body["spec"]["volumes"][0] == {
        "name": "data", "persistentVolumeClaim": {"claimName": "c"},
    }  # fmt: skip
    _, second = body["spec"]["containers"]
    data = {m["mountPath"]: m for m in second["volumeMounts"] if m["name"] == "data"}
    assert set(data) == {"/in/a", "/output", "/.gateway/waiter"}
    assert data["/in/a"]["subPath"] == "payloads/p/operators/a"
    assert data["/in/a"]["readOnly"] is True
    assert data["/output"]["readOnly"] is False
    order = {m["mountPath"]: m["readOnly"] for m in second["volumeMounts"] if m["name"] == "order"}
    assert order == {"/.gateway/order/1": False, "/.gateway/order/0": True}
    assert second["command"][:8] == [
        "/.gateway/waiter", "-t", "/dev/termination-log", "-m", "/.gateway/order/1",
        "-w", "/.gateway/order/0", "--",
    ]  # fmt: skip


def test_kept_operators_are_not_in_the_pod_and_nobody_waits_for_them() -> None:
    body = made(step("a", "true") + step("b", "true", source="a"), kept=frozenset({"a"}))
    (only,) = body["spec"]["containers"]
    assert "-w" not in only["command"]
    assert any(m.get("subPath") == "payloads/p/operators/a" for m in only["volumeMounts"])


def test_commands_are_taken_from_definition_settings_and_what_ships() -> None:
    def bare(image: str) -> str:
        return step("a", "", image=image).replace(', command: [sh, -c, ""]', "")

    def words(body: Any) -> list[str]:
        command = body["spec"]["containers"][0]["command"]
        return command[command.index("--") + 1 :]

    assert words(made(step("a", "echo $(A) $$"))) == ["sh", "-c", "echo $$(A) $$$$"]
    told = {"site/x": ImageSettings(command=["/opt/x", "-v"], env={"PATH": "/opt"})}
    body = made(bare("site/x"), images=told)
    assert words(body) == ["/opt/x", "-v"]
    assert {"name": "PATH", "value": "/opt"} in body["spec"]["containers"][0]["env"]
    assert words(made(bare("nvcr.io/nvidia/clara/register-results"))) == [
        "python", "-m", "gateway.operators.register_results",
    ]  # fmt: skip
    unknown = made(bare("site/y") + step("b", "true"))
    assert [c["name"] for c in unknown["spec"]["initContainers"]] == ["op-0-a"]
    assert "command" not in unknown["spec"]["initContainers"][0]
    assert unknown["spec"]["containers"][0]["command"] == ["sh", "-c", "true"]


def test_host_folders_are_those_that_the_settings_allow() -> None:
    assert volumes.allowed("/data/atlas", ["/data"])
    assert not volumes.allowed("/data/../etc", ["/data"])
    assert not volumes.allowed("/database", ["/data"])
    assert not volumes.allowed("/data", [])


def test_operators_are_the_gateway_s_user_and_never_root() -> None:
    told = made(step("a", "true"))["spec"]["securityContext"]
    assert told["runAsNonRoot"] is True
    assert told["runAsUser"] == (os.geteuid() or 1000)
    assert told["seccompProfile"] == {"type": "RuntimeDefault"}


def test_network_is_told_to_policies() -> None:
    label = "gateway/network"
    assert made(step("a", "true"))["metadata"]["labels"][label] == "none"
    asked = step("a", "true", extra="  x-gateway: {network: true}\n")
    assert made(asked)["metadata"]["labels"][label] == "asked"


def told(**state: Any) -> status.Container:
    body = {
        "metadata": {"uid": "u"},
        "status": {"phase": "Running", "containerStatuses": [{"name": "c", "state": state}]},
    }
    return status.read(body).containers["c"]


@pytest.mark.parametrize(
    ("message", "began"),
    [
        ('{"began": 12.5, "ended": 13.25, "code": 3}', 12.5),
        ('{"began": 12.5, "ended": 13.25, "code": 0}', 11.0),
        ('{"began": 14, "ended": 13, "code": 3}', 11.0),
        ("[]", 11.0),
        ("", 11.0),
    ],
    ids=["exact", "other code", "backwards", "no object", "none"],
)
def test_the_waiter_s_times_count_while_they_fit(message: str, began: float) -> None:
    ended = told(
        terminated={
            "exitCode": 3, "reason": "Error", "message": message,
            "startedAt": "1970-01-01T00:00:11Z", "finishedAt": "1970-01-01T00:00:14Z",
        }
    ).ended  # fmt: skip
    assert ended is not None
    assert ended.began == began
    assert ended.ended == (13.25 if began == 12.5 else 14.0)


def test_an_operator_whose_turn_never_came_never_ran() -> None:
    message = json.dumps({"began": 0, "ended": 5, "code": 125})
    ended = told(terminated={"exitCode": 125, "message": message}).ended
    assert ended is not None
    assert ended.began is None


def test_what_the_node_could_not_start_is_told() -> None:
    ended = told(
        terminated={
            "exitCode": 128, "reason": "StartError", "message": "no such file",
            "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-11-24T10:00:00Z",
        }
    ).ended  # fmt: skip
    assert ended is not None
    assert ended.unstartable == "StartError: no such file"


def test_what_hinders_is_told_apart() -> None:
    found = told(waiting={"reason": "ImagePullBackOff", "message": "no\nsuch"})
    assert (found.hindrance, found.hopeless) == ("ImagePullBackOff: no such", False)
    assert told(waiting={"reason": "ErrImageNeverPull"}).hopeless
    assert told(waiting={"reason": "ContainerCreating"}).hindrance is None
    evicted = {
        "metadata": {"uid": "u"},
        "status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
    }
    assert status.read(evicted).trouble == "Evicted: low on memory"


def test_lines_come_once_though_the_log_is_read_again() -> None:
    log = (
        b"2026-11-24T10:00:00.1Z one\n"
        b"2026-11-24T10:00:00.12Z \n"
        b"2026-11-24T10:00:00.123456789Z three\n"
        b"2026-11-24T10:00:02Z four"
    )
    lines = Lines()
    assert lines.again() is None
    got = b"".join(text for i in range(0, 70, 7) for text in lines.take(log[i : i + 7]))
    assert got == b"one\n\n"
    assert (lines.again() or 0) >= 1
    got += b"".join(lines.take(log)) + b"".join(lines.rest())
    assert got == b"one\n\nthree\nfour"
