"""The three commands of the denovo-assembly image; see the package for their contract."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final

from gateway.operators.denovo_assembly.steps import assemble, map_reads, polish
from gateway.operators.sdk import Context, run

MOST_THREADS: Final = 256
MOST_ROUNDS: Final = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step that the first word names; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in STEPS:
        sys.stderr.write(f"usage: denovo-assembly {{{'|'.join(STEPS)}}} …\n")
        return 2
    step, options = STEPS[words[0]]
    return run(words[0], step, description=step.__doc__ or "", options=options, argv=words[1:])


def _between(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of whole numbers within bounds."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"a whole number from {low} to {high}")
        return int(text)

    return number


def _mapper(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", dest="reads", required=True, help="folder of reads")
    parser.add_argument("-d", dest="folder", required=True, help="folder for sample.fasta")
    parser.add_argument("-o", dest="out", required=True, help="overlaps, PAF")
    _threads(parser)
    parser.add_argument("-k", dest="kmer", type=_between(5, 28), default=15, help="k-mer size")
    parser.add_argument("-w", dest="window", type=_between(1, 255), default=5, help="window")
    parser.add_argument(
        "-s", dest="index", type=_between(1, 64000), default=4000, help="megabases per index"
    )
    parser.add_argument("-p", dest="preset", choices=("ava-ont", "ava-pb"), default="ava-ont")
    parser.add_argument("--more", default="", help="further options of minimap2")


def _miniasm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", dest="sample", required=True, help="sample.fasta of the mapper")
    parser.add_argument("-l", dest="overlaps", required=True, help="overlaps of the mapper")
    parser.add_argument("-o", dest="out", required=True, help="assembly, GFA")


def _racon(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-r", dest="sample", required=True, help="sample.fasta of the mapper")
    parser.add_argument("-f", dest="assembly", required=True, help="GFA of miniasm")
    parser.add_argument("-a", dest="out", required=True, help="polished assembly, FASTA")
    _threads(parser)
    parser.add_argument("-l", dest="rounds", type=_between(0, MOST_ROUNDS), default=2)
    parser.add_argument("-w", dest="window", type=_between(50, 5000), default=500)
    parser.add_argument("-p", type=_between(0, 1000), default=0, help="without effect: no GPU")
    parser.add_argument("--more", default="", help="further options of racon")


def _threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-t", dest="threads", type=_between(1, MOST_THREADS), default=1)


STEPS: Final[
    dict[str, tuple[Callable[[Context], None], Callable[[argparse.ArgumentParser], None]]]
] = {
    "mapper": (map_reads, _mapper),
    "miniasm": (assemble, _miniasm),
    "racon": (polish, _racon),
}


if __name__ == "__main__":
    raise SystemExit(main())
