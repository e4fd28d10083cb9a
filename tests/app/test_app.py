"""What the composition root refuses before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.config.document import ConfigError
from gateway.config.settings import load


@pytest.mark.parametrize("engine", ["kubernetes", "argo"])
@pytest.mark.parametrize("volume", ["{}", "{claim: c, host-path: /data}"], ids=["neither", "both"])
def test_a_cluster_is_told_once_where_the_data_folder_is(
    tmp_path: Path, engine: str, volume: str
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"executor: {engine}\nkubernetes: {volume}\n")
    with pytest.raises(ConfigError, match="one of `claim` and `host-path`"):
        Gateway(load(file, {}))
    assert not (tmp_path / "gateway-data").exists()


def test_executor_argo_is_argo_s_and_says_what_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "executor: argo\nkubernetes: {host-path: /data, kubeconfig: none.yaml}\n"
        "grpc: {port: 0}\nhttp: {port: 0}\n"
    )
    (tmp_path / "ae_config").mkdir()
    gateway = Gateway(load(file, {}), "scheduler")
    try:
        part = gateway._checks["executor"]()
        assert part.detail["engine"] == "argo"
        assert "none.yaml leads to no cluster" in part.detail["faults"][0]
    finally:
        gateway.stop()
