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
