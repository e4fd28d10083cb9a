"""The command of the base-inference operator; see the package for its contract."""

from __future__ import annotations

import argparse

from gateway.operators.base_inference.application import Application
from gateway.operators.sdk import run


def options(parser: argparse.ArgumentParser) -> None:
    """Add the operator's own options."""
    parser.add_argument("--config", metavar="FOLDER", help="folder of config_inference.json")


if __name__ == "__main__":
    raise SystemExit(
        run(
            "base-inference",
            Application().main,
            description="Run a model of a Triton server on a volume.",
            options=options,
        )
    )
