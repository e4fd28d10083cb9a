"""gateway.yaml and the environment."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest

from gateway.config.document import ConfigError
from gateway.config.settings import GatewaySettings, known_keys, load


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return path


def faults(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return [str(fault) for fault in caught.value.faults]


def only(found: Any, expected: Any) -> Any:
    """``found`` without the keys that ``expected`` has not: the contract's may be added to."""
    if not isinstance(expected, dict) or not expected:
        return found
    return {key: only(found[key], value) for key, value in expected.items()}


def test_defaults_are_those_of_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    dumped: dict[str, Any] = settings.model_dump(by_alias=True)
    assert settings.data_dir == tmp_path / "gateway-data"
    assert settings.ae_config == tmp_path / "ae_config"
    assert settings.pipelines == tmp_path / "pipelines"
    assert settings.models == tmp_path / "models"
    for key in ("data-dir", "ae-config", "pipelines", "models"):
        del dumped[key]
    expected = {
        "common-dir": None,
        "database": {"url": None},
        "dicom": {
            "bind": str(ipaddress.IPv4Address(0)), "port": 11112,
            "max-associations": 100, "max-pdu": 131072,
            "reject-unknown-sources": True, "durability": "power",
            "tls": {"port": None, "certificate": None, "key": None, "client-ca": None},
        },
        "storage": {"watermark-percent": 85, "reserve-gb": 5},
        "retention": {"delivered-hours": 72, "failed-hours": 336, "unmatched-hours": 72},
        "grpc": {"bind": "127.0.0.1", "port": 50051},
        "http": {"bind": "127.0.0.1", "port": 8080},
        "mqtt": {"url": None, "topic-prefix": "gateway"},
        "executor": "process",
        "container": {"socket": None},
        "kubernetes": {
            "kubeconfig": None, "namespace": "gateway", "claim": None, "host-path": None,
        },
        "resources": {"cpu": None, "memory-mb": None, "gpus": None, "missing-gpu": "refuse"},
        "images": {},
        "jobs": {"timeout-seconds": 600, "maximum-timeout-seconds": 1800, "grace-seconds": 15},
    }  # fmt: skip
    assert only(dumped, expected) == expected


def test_the_default_file_is_read_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "dicom: {port: 104}\n")
    assert load(None, {}).dicom.port == 104


def test_relative_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    path = write(folder, "data-dir: data\nae-config: /abs/ae\nkubernetes: {kubeconfig: k.yaml}\n")
    monkeypatch.chdir(tmp_path)
    for given in (path, Path("etc/gateway.yaml")):
        settings = load(given, {})
        assert settings.data_dir == folder / "data"
        assert settings.ae_config == Path("/abs/ae")
        assert settings.pipelines == folder / "pipelines"
        assert settings.kubernetes.kubeconfig == folder / "k.yaml"


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, ""), {}).http.port == 8080
    assert load(write(tmp_path, "# nothing\n"), {}).http.port == 8080


def test_null_sections_and_keys_are_faults_or_defaults_but_never_a_crash(tmp_path: Path) -> None:
    assert load(write(tmp_path, "data-dir:\n"), {}).data_dir == tmp_path / "gateway-data"
    (fault,) = faults(write(tmp_path, "dicom:\n"))
    assert fault.startswith(f"{tmp_path}/gateway.yaml:1: dicom: ")
    assert "dictionary" in fault


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ("dicom:\n  prot: 1\n", 2, "dicom.prot", "unknown key; allowed: bind, durability"),
        ("dicom:\n  port: 99999\n", 2, "dicom.port", "less than or equal to 65535"),
        ("dicom:\n  port: high\n", 2, "dicom.port", "'high'"),
        ("executor: docker\n", 1, "executor", "'process', 'container', 'kubernetes' or 'argo'"),
        ("dicom: {durability: none}\n", 1, "dicom.durability", "'power' or 'process'"),
        ("storage: {watermark-percent: 120}\n", 1, "storage.watermark-percent", "100"),
        ("jobs: {timeout-seconds: 0}\n", 1, "jobs.timeout-seconds", "greater than 0"),
        ("mqtt: {topic-prefix: 'a/#'}\n", 1, "mqtt.topic-prefix", "pattern"),
        ("images:\n  x:\n    command: []\n", 3, "images.x.command", "at least 1"),
        ("executer: process\n", 1, "executer", "unknown key; allowed: ae-config"),
        ("- a\n", 1, "", "must be a mapping of settings"),
        ("dicom: {port: 1, port: 2}\n", 1, "dicom.port", "twice"),
    ],
)
def test_a_bad_file_names_file_line_key_and_what_is_allowed(
    tmp_path: Path, text: str, line: int, key: str, message: str
) -> None:
    (fault,) = faults(write(tmp_path, text))
    where = f"{tmp_path}/gateway.yaml:{line}: {key}: " if key else f"{tmp_path}/gateway.yaml:{line}"
    assert fault.startswith(where)
    assert message in fault


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    assert len(faults(write(tmp_path, "dicom: {port: x}\nhttp: {prt: 1}\nexecutor: y\n"))) == 3


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path / "absent.yaml")
    assert "absent.yaml: No such file" in fault


def test_the_environment_lies_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "dicom: {port: 104, bind: 10.0.0.1}\n")
    environ = {
        "GATEWAY_DICOM__PORT": "11113",
        "GATEWAY_DATA_DIR": "elsewhere",
        "GATEWAY_DICOM__REJECT_UNKNOWN_SOURCES": "false",
        "GATEWAY_DICOM__TLS__VERIFY_HOST": "true",
        "GATEWAY_RESOURCES__CPU": "null",
        "GATEWAY_JOBS__GRACE_SECONDS": "0.5",
        "GATEWAY_DATABASE__URL": "postgresql+psycopg://user:p@ss@host/name",
        "GATEWAY_IMAGES": "{a: {command: [b]}}",
        "PATH": "/bin",
    }
    settings = load(path, environ)
    assert (settings.dicom.port, settings.dicom.bind) == (11113, "10.0.0.1")
    assert settings.data_dir == tmp_path / "elsewhere"
    assert settings.dicom.reject_unknown_sources is False
    assert settings.dicom.tls.verify_host is True
    assert settings.resources.cpu is None
    assert settings.jobs.grace_seconds == 0.5
    assert settings.database.url == "postgresql+psycopg://user:p@ss@host/name"
    assert settings.images["a"].command == ["b"]


def test_unknown_names_of_the_environment(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    # Without "__" it may be a service variable of Kubernetes.
    load(path, {"GATEWAY_SERVICE_HOST": "10.0.0.1", "GATEWAY_HOST": "127.0.0.1:50051"})
    assert faults(path, {"GATEWAY_DICOM__PROT": "1"}) == [
        "environment: GATEWAY_DICOM__PROT: names no setting"
    ]
    # Case counts, as everywhere in an environment.
    load(path, {"gateway_dicom__port": "1"})


def test_a_kubernetes_service_variable_with_a_setting_s_name_does_not_break(tmp_path: Path) -> None:
    # A service named "gateway-http" makes this one; it has no "__".
    load(write(tmp_path, ""), {"GATEWAY_HTTP_PORT": "tcp://10.0.0.1:8080"})


def test_a_bad_value_in_the_environment_is_a_fault_that_names_the_variable(tmp_path: Path) -> None:
    (fault,) = faults(write(tmp_path, ""), {"GATEWAY_DICOM__PORT": "high"})
    assert fault.startswith("environment: GATEWAY_DICOM__PORT: ")
    assert "'high'" in fault


def test_every_setting_can_be_named_in_the_environment() -> None:
    names = known_keys()
    assert names["DICOM__TLS__CLIENT_CA"] == ("dicom", "tls", "client-ca")
    assert names["DATA_DIR"] == ("data-dir",)
    assert len(names) == len(set(map(tuple, names.values()))) > 35


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        GatewaySettings().dicom.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("text", ["no", "2024", "2024-02-29", "1e3", "[a", "a: b"])
def test_text_of_the_environment_stays_text(tmp_path: Path, text: str) -> None:
    settings = load(write(tmp_path, ""), {"GATEWAY_KUBERNETES__NAMESPACE": text})
    assert settings.kubernetes.namespace == text
    assert load(write(tmp_path, ""), {"GATEWAY_DATA_DIR": text}).data_dir == tmp_path / text


@pytest.mark.parametrize("text", ["", "null"])
def test_the_environment_can_say_null(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "mqtt: {url: 'mqtt://broker'}\ncommon-dir: x\n")
    settings = load(path, {"GATEWAY_MQTT__URL": text, "GATEWAY_COMMON_DIR": text})
    assert (settings.mqtt.url, settings.common_dir) == (None, None)
