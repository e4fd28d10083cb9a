"""The command line of the dicom-reader."""

from __future__ import annotations

import argparse
import sys

from gateway.operators.dicom_reader.convert import WRITERS, Wishes
from gateway.operators.dicom_reader.reader import read_folder
from gateway.operators.sdk import Context, UsageError, run

_FORMATS, _LEVEL = "DICOM_READER_FORMATS", "DICOM_READER_COMPRESSION"
_LEAST, _MOST = "DICOM_READER_MIN_IMAGES", "DICOM_READER_MAX_BYTES"


def main(context: Context) -> None:
    """Convert the first input into the first output.

    Raises:
        InputRefusedError: nothing in the input became a volume.
        UsageError: an option or the environment makes no sense.
    """
    read_folder(context.input(), context.output(), _wishes(context), context.log)


def _options(parser: argparse.ArgumentParser) -> None:
    known = ",".join(WRITERS)
    parser.add_argument(
        "--format", metavar="NAMES", help=f"any of {known} (default ${_FORMATS}, else {known})"
    )
    parser.add_argument(
        "--compress", metavar="0-9", help=f"0 = not at all (default ${_LEVEL}, else 1)"
    )
    parser.add_argument(
        "--min-images",
        metavar="N",
        help=f"a series with fewer images is no volume (default ${_LEAST}, else 6)",
    )
    parser.add_argument(
        "--max-bytes", metavar="N", help=f"largest volume in bytes (default ${_MOST}, else 4 GiB)"
    )


def _wishes(context: Context) -> Wishes:
    options = context.options
    text = options.format or context.environ.get(_FORMATS) or ",".join(WRITERS)
    formats = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in formats:
        if name not in WRITERS:
            raise UsageError("UNKNOWN_FORMAT", f"{name!r} is none of {', '.join(WRITERS)}")
    return Wishes(
        formats=formats,
        level=_number(context, options.compress, _LEVEL, 1, (0, 9)),
        least=_number(context, options.min_images, _LEAST, 6, (2, 1 << 20)),
        most_bytes=_number(context, options.max_bytes, _MOST, 4 << 30, (1, 1 << 50)),
    )


def _number(
    context: Context, given: str | None, variable: str, default: int, bounds: tuple[int, int]
) -> int:
    text = given or context.environ.get(variable) or str(default)
    lowest, highest = bounds
    if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
        raise UsageError("BAD_NUMBER", f"{text!r} is no number from {lowest} to {highest}")
    return int(text)


if __name__ == "__main__":
    sys.exit(run("dicom-reader", main, description="DICOM series to volumes", options=_options))
