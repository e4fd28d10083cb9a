"""What the composition root refuses before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.config.document import ConfigError
from gateway.config.settings import load


@pytest.mark.parametrize("engine", ["argo"])
def test_an_engine_that_is_not_built_is_refused(tmp_path: Path, engine: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"executor: {engine}\n")
    with pytest.raises(ConfigError, match=f"executor: '{engine}' is not built yet"):
        Gateway(load(file, {}))
    assert not (tmp_path / "gateway-data").exists()


@pytest.mark.parametrize("volume", ["{}", "{claim: c, host-path: /data}"], ids=["neither", "both"])
def test_a_cluster_is_told_once_where_the_data_folder_is(tmp_path: Path, volume: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"executor: kubernetes\nkubernetes: {volume}\n")
    with pytest.raises(ConfigError, match="one of `claim` and `host-path`"):
        Gateway(load(file, {}))
    assert not (tmp_path / "gateway-data").exists()
