"""The Helm chart: linted, refused with the key's name, and installed on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.settings import GatewaySettings, load
from tests.support.helm import Helm, HelmRefused, installed
from tests.support.kube import running_api_server

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "gateway"
BY_THE_CHART = {"data-dir", "ae-config", "pipelines", "executor"}
Objects = dict[tuple[str, str], dict[str, Any]]

pytestmark = pytest.mark.peers

# Everything that can be switched on, at once.
FULL: dict[str, Any] = {
    "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]},
    "config": {"mqtt": {"topic-prefix": "radiology"}, "dicom": {"max-associations": 50}},
    "pipelines": {"lung.yaml": "api-version: 0.4.0\nname: lung\n"},
    "secretEnv": {"GATEWAY_DATABASE__URL": {"secret": "database", "key": "url"}},
    "persistence": {"storageClass": "fast", "accessModes": ["ReadWriteMany"]},
    "dicom": {
        "hostPort": 104,
        "tls": {"secret": "dicom-tls", "clientCa": True},
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    },
    "grpc": {"service": {"type": "ClusterIP"}},
    "networkPolicy": {"enabled": True, "dicomFrom": ["10.1.0.0/16"]},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "imaging", "operator": "Exists"}],
    "podAnnotations": {"who": "radiology"},
}


@pytest.fixture(scope="module")
def helm() -> Helm:
    return Helm(installed(), CHART)


def objects(rendered: dict[str, str]) -> Objects:
    """Every object of a rendering, by kind and name."""
    texts = [text for name, text in rendered.items() if not name.endswith("NOTES.txt")]
    found = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def rendered(helm: Helm, values: dict[str, Any] | None = None) -> Objects:
    return objects(helm.call("render", values or {}, name="g", namespace="imaging"))


def pod(found: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = found["StatefulSet", "g-gateway"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("values", [{}, FULL], ids=["default", "full"])
def test_lint_has_nothing_but_the_missing_icon(helm: Helm, values: dict[str, Any]) -> None:
    told = helm.call("lint", values, strict=True)
    assert told["errors"] == []
    assert [m["error"] for m in told["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"executer": "process"}, "executer"),
        ({"executor": "docker"}, "/executor"),
        ({"dicom": {"hostPort": "104"}}, "/dicom/hostPort"),
        ({"dicom": {"service": {"nodePort": 104}}}, "/dicom/service/nodePort"),
        ({"dicom": {"service": {"externalTrafficPolicy": "local"}}}, "externalTrafficPolicy"),
        ({"config": {"storag": {}}}, "storag"),
        ({"config": {"data-dir": "/data"}}, "data-dir"),
        ({"config": {"database": {"url": "postgresql://u:p@h/d"}}}, "/config/database/url"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"persistence": {"size": "much"}}, "/persistence/size"),
        ({"secretEnv": {"PASSWORD": {"secret": "s", "key": "k"}}}, "PASSWORD"),
        ({"aeConfig": {"../x.yaml": ""}}, "../x.yaml"),
        ({"podDisruptionBudget": {"maxUnavailable": 2}}, "maxUnavailable"),
    ],
)
def test_wrong_values_are_refused_by_name(helm: Helm, values: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmRefused) as refused:
        helm.call("validate", values)
    assert named in str(refused.value)


def test_every_setting_can_be_given_or_is_the_charts() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    keys = {field.alias or name for name, field in GatewaySettings.model_fields.items()}
    assert set(schema["properties"]["config"]["properties"]) == keys - BY_THE_CHART
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(defaults) == set(schema["properties"]) - {"global"}


def test_defaults_are_claras_ports_and_keep_the_callers_address(helm: Helm) -> None:
    found = rendered(helm)
    ports = {
        name: [(p["port"], p.get("nodePort")) for p in each["spec"]["ports"]]
        for (kind, name), each in found.items()
        if kind == "Service"
    }
    assert ports["g-gateway-grpc"] == [(50051, 30031)]
    assert ports["g-gateway-http"] == [(8080, 32002)]
    assert ports["g-gateway-results"] == [(8088, None)]
    assert ports["g-gateway-dicom"] == [(104, 30104)]
    service = found["Service", "g-gateway-dicom"]["spec"]
    assert service["externalTrafficPolicy"] == "Local"
    assert found["PersistentVolumeClaim", "g-gateway"]["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep"
    }


def test_the_pod_has_no_more_rights_than_it_needs(helm: Helm) -> None:
    spec = pod(rendered(helm))
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "http"}
    assert "hostPort" not in container["ports"][0]
    found = rendered(helm, {"executor": "process"})
    assert ("Role", "g-gateway") not in found
    assert pod(found)["automountServiceAccountToken"] is False


def test_options_reach_the_objects(helm: Helm) -> None:
    found = rendered(helm, FULL)
    (container,) = pod(found)["containers"]
    assert container["image"] == "localhost/gateway@sha256:" + "0" * 64
    ports = {port["name"]: port for port in container["ports"]}
    assert ports["dicom"] == {
        "name": "dicom",
        "containerPort": 11112,
        "protocol": "TCP",
        "hostPort": 104,
    }
    assert ports["dicom-tls"]["containerPort"] == 2762
    (variable,) = container["env"]
    assert variable["valueFrom"]["secretKeyRef"] == {"name": "database", "key": "url"}
    policy = found["NetworkPolicy", "g-gateway"]["spec"]["ingress"]
    assert policy[0]["from"] == [{"ipBlock": {"cidr": "10.1.0.0/16"}}]
    assert "from" not in policy[1]


@pytest.mark.parametrize(
    "values", [{"executor": "process"}, FULL | {"executor": "process", "dicom": {}}]
)
def test_the_gateway_reads_the_settings_it_is_given(
    helm: Helm, values: dict[str, Any], tmp_path: Path
) -> None:
    text = rendered(helm, values)["ConfigMap", "g-gateway"]["data"]["gateway.yaml"]
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    settings = load(path, {})
    assert settings.data_dir == Path("/var/lib/gateway")
    assert settings.dicom.port == 11112
    assert settings.storage.watermark_percent == 85


def test_jobs_mount_what_the_gateway_mounts(helm: Helm) -> None:
    def settings(values: dict[str, Any]) -> Any:
        found = rendered(helm, values)
        data = next(v for v in pod(found)["volumes"] if v["name"] == "data")
        text = found["ConfigMap", "g-gateway"]["data"]["gateway.yaml"]
        return yaml.safe_load(text)["kubernetes"], data

    own, data = settings({})
    assert own == {"namespace": "imaging", "claim": "g-gateway"}
    assert data["persistentVolumeClaim"] == {"claimName": "g-gateway"}
    own, data = settings({"persistence": {"hostPath": "/srv/gateway"}})
    assert own == {"namespace": "imaging", "host-path": "/srv/gateway"}
    assert data["hostPath"]["path"] == "/srv/gateway"


def written(name: str) -> list[dict[str, Any]]:
    text = (ROOT / "deploy" / "kubernetes" / name).read_text()
    return [each for each in yaml.safe_load_all(text) if each]


def test_the_executors_rights_are_those_written_down(helm: Helm) -> None:
    (role,) = [each for each in written("rbac.yaml") if each["kind"] == "Role"]
    argo = [rule for rule in role["rules"] if rule["apiGroups"] == ["argoproj.io"]]
    pods = [rule for rule in role["rules"] if rule not in argo]
    assert rendered(helm)["Role", "g-gateway"]["rules"] == pods
    with_argo = rendered(helm, {"executor": "argo"})["Role", "g-gateway"]["rules"]
    assert with_argo[: len(pods)] == pods
    assert with_argo[len(pods) :] == argo
    (policy,) = written("network-policy.yaml")
    assert rendered(helm)["NetworkPolicy", "g-gateway-operators"]["spec"] == policy["spec"]


def test_argo_s_own_containers_are_somebody_else(helm: Helm) -> None:
    found = rendered(helm, {"executor": "argo", "config": {"kubernetes": {"argo": {
        "instance-id": "west"}}}})  # fmt: skip
    name = "g-gateway-argo"
    (role,) = [each for each in written("argo.yaml") if each["kind"] == "Role"]
    assert found["Role", name]["rules"] == role["rules"]
    assert found["RoleBinding", name]["subjects"] == [
        {"kind": "ServiceAccount", "name": name, "namespace": "imaging"}
    ]
    (secret,) = [each for each in written("argo.yaml") if each["kind"] == "Secret"]
    assert secret["metadata"]["name"] == "gateway-argo.service-account-token"
    own = found["Secret", f"{name}.service-account-token"]
    assert own["metadata"]["annotations"] == {"kubernetes.io/service-account.name": name}
    told = yaml.safe_load(found["ConfigMap", "g-gateway"]["data"]["gateway.yaml"])
    assert told["kubernetes"]["argo"] == {"service-account": name, "instance-id": "west"}
    assert ("Role", name) not in rendered(helm)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    with running_api_server() as kubeconfig:
        yield kubeconfig


@pytest.mark.slow
def test_the_chart_lives_on_a_real_api_server(helm: Helm, cluster: Path) -> None:
    from kubernetes import client, config

    namespace = "gateway"
    live = Helm(helm.python, CHART, cluster, namespace)
    live.call("install", "g", {})
    with config.new_client_from_config(str(cluster)) as api:
        core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
        service = core.read_namespaced_service("g-gateway-dicom", namespace)
        assert service.spec.external_traffic_policy == "Local"
        assert service.spec.ports[0].node_port == 30104
        stateful = apps.read_namespaced_stateful_set("g-gateway", namespace)
        assert stateful.spec.template.spec.enable_service_links is False
        made = live.call("status", "g")["manifest"]
        assert "policy/v1beta1" in made, "this API server is of 1.20"
        wanted = {(o["kind"], o["metadata"]["name"]) for o in yaml.safe_load_all(made) if o}
        assert {kind for kind, _ in wanted} >= {"Role", "RoleBinding", "PodDisruptionBudget"}

        with pytest.raises(HelmRefused, match="nodePorts"):
            live.call("upgrade", "g", {"dicom": {"service": {"nodePorts": 1}}})
        # A claim cannot be changed any more.
        live.call("upgrade", "g", {k: v for k, v in FULL.items() if k != "persistence"})
        stateful = apps.read_namespaced_stateful_set("g-gateway", namespace)
        assert stateful.spec.template.spec.containers[0].ports[0].host_port == 104
        policies = client.NetworkingV1Api(api)
        policies.read_namespaced_network_policy("g-gateway", namespace)

        live.call("rollback", "g", version=1)
        stateful = apps.read_namespaced_stateful_set("g-gateway", namespace)
        assert stateful.spec.template.spec.containers[0].ports[0].host_port is None
        left = [
            each.metadata.name for each in policies.list_namespaced_network_policy(namespace).items
        ]
        assert left == ["g-gateway-operators"]
        assert [each["status"] for each in live.call("history", "g")][-1] == "deployed"

        live.call("uninstall", "g")
        assert apps.list_namespaced_stateful_set(namespace).items == []
        claims = core.list_namespaced_persistent_volume_claim(namespace).items
        assert [claim.metadata.name for claim in claims] == ["g-gateway"], (
            "images outlive the chart"
        )

        live.call("install", "h", FULL)
        (claim,) = [
            each
            for each in core.list_namespaced_persistent_volume_claim(namespace).items
            if each.metadata.name == "h-gateway"
        ]
        assert claim.spec.storage_class_name == "fast"
