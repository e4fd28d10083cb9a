"""One call of Helm's SDK, asked for as JSON on stdin and answered as JSON on stdout.

Runs in Helm's own environment: nothing of the gateway can be imported here.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python as helm


def offline(asked: dict[str, Any]) -> Any:
    """``lint``, ``validate`` and ``render``."""
    name, arguments, options = asked["call"], asked["arguments"], asked["options"]
    if name == "lint":
        return helm.lint(asked["chart"], *arguments, **options)
    chart = helm.Chart.load(asked["chart"])
    if name == "validate":
        return chart.validate_schema(*arguments)
    return chart.render(*arguments, **options)


def online(asked: dict[str, Any]) -> Any:
    """What needs a cluster; the chart goes first where the SDK takes one."""
    name, arguments, options = asked["call"], asked["arguments"], asked["options"]
    if name in {"install", "upgrade"}:
        arguments = [asked["chart"], *arguments]
    kubeconfig, namespace = asked["kubeconfig"], asked["namespace"]
    with helm.Config(kubeconfig_path=kubeconfig, namespace=namespace) as config:
        return getattr(config, name)(*arguments, **options)


def main() -> None:
    """Answer, or say what Helm refused."""
    asked = json.load(sys.stdin)
    helm.disable_logging()
    try:
        found = (online if asked["kubeconfig"] else offline)(asked)
    except helm.HelmError as error:
        told: dict[str, Any] = {"refused": str(error)}
    else:
        told = {"answer": found}
    sys.stdout.write(json.dumps(told) + "\n")


main()
