"""The command of the roi-generator operator; see the package for its contract."""

from __future__ import annotations

import argparse
from typing import Final

from gateway.operators.roi_generator.merge import merge
from gateway.operators.roi_generator.split import split
from gateway.operators.sdk import Context, UsageError, run

OPERATION: Final = "ROI_OPERATION"
OPERATIONS: Final = {"split": split, "merge": merge}


def main(context: Context) -> None:
    """Split or merge, as the environment says.

    Raises:
        InputRefusedError: the inputs do not fit, by name.
        UsageError: UNKNOWN_OPERATION or UNKNOWN_ORGAN.
    """
    wanted = context.options.operation or context.environ.get(OPERATION) or "split"
    operation = OPERATIONS.get(wanted.lower())
    if operation is None:
        raise UsageError("UNKNOWN_OPERATION", f"${OPERATION} is {' or '.join(OPERATIONS)}")
    operation(context)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--operation", help=f"split or merge (default ${OPERATION}, else split)")


if __name__ == "__main__":
    raise SystemExit(
        run(
            "roi-generator", main, description="Cut organs' regions, merge masks.", options=_options
        )
    )
