"""What is asked of Docker's API for machines that are not here: GPUs, users' namespaces."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from gateway.executors.access import User
from gateway.executors.container import secrets
from gateway.executors.container.api import Facts
from gateway.executors.container.plan import Plan, options
from gateway.executors.references import reference_of

DOCKER = Facts(podman=False, version="1.41", options=("seccomp",))
PODMAN = Facts(podman=True, version="1.41", options=())


def plan(**more):
    common = {
        "name": "gateway-1", "labels": {}, "image": "sha256:1", "user": User(1000, 1000, 0),
        "environ": {}, "binds": (), "memory_mb": 64, "cpu": 0.5,
    }  # fmt: skip
    return Plan(**(common | more))


def host(facts, **more):
    return options(plan(**more), facts, init=True)["host_config"]


def test_gpus_are_asked_for_by_uuid():
    (request,) = host(DOCKER, gpus=("GPU-a", "GPU-b"))["DeviceRequests"]
    assert request["DeviceIDs"] == ["GPU-a", "GPU-b"]
    assert request["Driver"] == "nvidia"
    assert "gpu" in request["Capabilities"][0]
    (request,) = host(PODMAN, gpus=("GPU-a",))["DeviceRequests"]
    assert (request["Driver"], request["DeviceIDs"]) == ("cdi", ["nvidia.com/gpu=GPU-a"])
    assert "DeviceRequests" not in host(DOCKER)


def test_podman_that_gives_no_gpu_in_silence_is_known():
    assert DOCKER.gives_gpus
    for release, gives in (("4.9.3", False), ("5.0.0", True), ("10.1", True), ("", False)):
        assert Facts(True, "1.41", (), release).gives_gpus is gives


def test_users_keep_their_numbers():
    assert "UsernsMode" not in host(DOCKER)
    remapped = Facts(podman=False, version="1.41", options=("userns",))
    assert host(remapped)["UsernsMode"] == "host"
    rootless = Facts(podman=True, version="1.41", options=("rootless",))
    assert host(rootless)["UsernsMode"] == "keep-id"
    assert options(plan(), DOCKER, init=True)["user"] == "1000:1000"
    assert host(DOCKER)["GroupAdd"] == ["0"]


def test_nothing_is_allowed_that_is_not_asked_for():
    told = host(DOCKER)
    assert told["CapDrop"] == ["ALL"]
    assert told["SecurityOpt"] == ["no-new-privileges"]
    assert told["ReadonlyRootfs"] is True
    assert told["NetworkMode"] == "none"
    assert host(DOCKER, writable_root=True)["ReadonlyRootfs"] is False


@pytest.mark.parametrize(
    ("image", "tag", "reference"),
    [
        ("a/b", "1", "a/b:1"),
        ("h:5000/a/b@sha256:00", "latest", "h:5000/a/b@sha256:00"),
        ("h:5000/a/b:2@sha256:00", "latest", "h:5000/a/b@sha256:00"),
        ("a/b", "2@sha256:00", "a/b@sha256:00"),
    ],
)
def test_a_digest_wins_over_a_tag(image, tag, reference):
    assert reference_of(image, tag) == reference


def test_secrets_are_found_by_registry_and_never_told(tmp_path: Path):
    word = base64.b64encode(b"me:pass:word").decode()
    auths = {"https://index.docker.io/v1/": {"auth": word}, "h:5000": {"username": "u"}}
    (tmp_path / "ours.json").write_text(json.dumps({"auths": auths}))
    found = secrets.find(tmp_path, ["ours"], "library/x:1")
    assert found == {"username": "me", "password": "pass:word"}
    assert secrets.find(tmp_path, ["ours"], "other.example/x:1") is None
    with pytest.raises(secrets.SecretError, match="no password"):
        secrets.find(tmp_path, ["ours"], "h:5000/x:1")
    (tmp_path / "bad.json").write_text("pass-word")
    for name in ("bad", "none", "../ours"):
        with pytest.raises(secrets.SecretError) as told:
            secrets.find(tmp_path, [name], "x:1")
        assert "pass" not in str(told.value)
