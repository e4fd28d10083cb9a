"""Simulates a genome and long reads of it, with errors, as a nanopore would read them.

    python -m gateway.demo.long_reads OUT --genome 100000 --coverage 30

writes `genome.fasta` (the truth) and `reads.fastq.gz` into OUT. Equal options give equal files.
Reads come from both strands; each base is lost, doubled by another one or read wrongly with the
probabilities below, which make about seven errors in a hundred bases.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

BASES: Final = np.frombuffer(b"ACGT", dtype=np.uint8)
Letters = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sequencing:
    """What is simulated: lengths in bases, coverage in reads per base, rates per base."""

    genome: int = 100_000
    coverage: float = 30.0
    mean_length: int = 8_000
    least_length: int = 1_500
    deletions: float = 0.025
    insertions: float = 0.02
    substitutions: float = 0.025
    repeat: int = 2_000
    """A stretch of so many bases stands in the genome twice, so that assembly is a task."""
    seed: int = 1


@dataclass(frozen=True)
class Sample:
    """Where genome and reads were written."""

    genome: Path
    reads: Path
    count: int
    bases: int


def write_sample(folder: Path, sequencing: Sequencing | None = None) -> Sample:
    """Write genome and reads into `folder` (made if missing)."""
    chosen = sequencing or Sequencing()
    random = np.random.default_rng([chosen.seed, 23])
    folder.mkdir(parents=True, exist_ok=True)
    genome = _genome(chosen, random)
    truth, reads = folder / "genome.fasta", folder / "reads.fastq.gz"
    truth.write_bytes(b">genome\n" + BASES[genome].tobytes() + b"\n")
    count = bases = 0
    # The time in a gzip header would make equal options give different bytes.
    with reads.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file:
        while bases < chosen.coverage * genome.size:
            read = _read(genome, chosen, random)
            count += 1
            bases += read.size
            quality = (random.integers(8, 18, read.size) + 33).astype(np.uint8)
            file.write(b"@read%d\n%b\n+\n%b\n" % (count, BASES[read].tobytes(), quality.tobytes()))
    return Sample(truth, reads, count, bases)


def _genome(chosen: Sequencing, random: np.random.Generator) -> Letters:
    """Draw a genome of random bases in which one stretch stands twice."""
    genome = random.integers(0, 4, chosen.genome, dtype=np.uint8)
    if chosen.repeat and chosen.genome > 6 * chosen.repeat:
        first, second = chosen.genome // 5, 3 * chosen.genome // 5
        genome[second : second + chosen.repeat] = genome[first : first + chosen.repeat]
    return genome


def _read(genome: Letters, chosen: Sequencing, random: np.random.Generator) -> Letters:
    """Draw one read: a place, a strand, errors."""
    length = int(random.gamma(3.0, chosen.mean_length / 3.0))
    length = min(max(length, chosen.least_length), genome.size)
    # Reads that would begin before the genome or end after it are cut, as a molecule's end does.
    start = int(random.integers(-length // 2, genome.size - length // 2))
    letters = genome[max(0, start) : start + length]
    if letters.size < chosen.least_length:
        return _read(genome, chosen, random)
    if random.random() < 0.5:
        letters = 3 - letters[::-1]
    wrong = random.random(letters.size) < chosen.substitutions
    shift = random.integers(1, 4, letters.size, dtype=np.uint8)
    letters = np.where(wrong, (letters + shift) % 4, letters).astype(np.uint8)
    copies = np.ones(letters.size, dtype=np.int64)
    copies[random.random(letters.size) < chosen.insertions] = 2
    copies[random.random(letters.size) < chosen.deletions] = 0
    read = np.repeat(letters, copies)
    doubled = np.cumsum(copies)[copies == 2] - 1
    read[doubled] = random.integers(0, 4, doubled.size, dtype=np.uint8)
    return read


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.demo.long_reads",
        description="Simulate a genome and long reads of it.",
    )
    parser.add_argument("out", type=Path, help="folder for genome.fasta and reads.fastq.gz")
    parser.add_argument("--genome", type=int, default=Sequencing.genome, help="bases")
    parser.add_argument("--coverage", type=float, default=Sequencing.coverage)
    parser.add_argument("--seed", type=int, default=Sequencing.seed)
    given = parser.parse_args(arguments)
    chosen = Sequencing(genome=given.genome, coverage=given.coverage, seed=given.seed)
    sample = write_sample(given.out, chosen)
    sys.stdout.write(f"{sample.count} reads, {sample.bases} bases\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
