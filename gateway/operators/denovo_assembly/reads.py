"""Reads of any FASTA and FASTQ files, gathered into one FASTA and checked on the way."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from gateway.operators.sdk import InputRefusedError

SUFFIXES: Final = (".fa", ".fasta", ".fna", ".fq", ".fastq")
IUPAC: Final = frozenset(b"ACGTUNRYSWKMBDHVacgtunryswkmbdhv")
LINE_LIMIT: Final = 64 * 2**20
"""Longest line in bytes: ten times the longest read ever published."""
Record = tuple[bytes, bytes]


@dataclass(frozen=True)
class Gathered:
    """How much was gathered."""

    reads: int
    bases: int


def gather(folder: Path, target: Path, most_bases: int) -> Gathered:
    """Write every read below `folder` into `target` as FASTA; it appears only when it is whole.

    Raises:
        InputRefusedError: NO_READS, BAD_READS, DUPLICATE_READ, TOO_MANY_BASES.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    seen: set[bytes] = set()
    bases = 0
    with part.open("wb") as out:
        for file in _files(folder):
            for name, sequence in records(file):
                key = hashlib.blake2b(name, digest_size=12).digest()
                if key in seen:
                    raise InputRefusedError("DUPLICATE_READ", "two reads have the same name")
                seen.add(key)
                bases += len(sequence)
                if bases > most_bases:
                    raise InputRefusedError("TOO_MANY_BASES", f"more than {most_bases} bases")
                out.write(b">" + name + b"\n" + sequence + b"\n")
    if not seen:
        raise InputRefusedError("NO_READS", f"no read in a file of {', '.join(SUFFIXES)}")
    part.replace(target)
    return Gathered(len(seen), bases)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        name = path.name.lower().removesuffix(".gz")
        if name.endswith(SUFFIXES) and path.is_file() and not path.is_symlink():
            yield path


def records(path: Path) -> Iterator[Record]:
    """Give name (its first word) and sequence of every read that has bases.

    Raises:
        InputRefusedError: BAD_READS.
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    try:
        with path.open("rb") as raw:
            # A GzipFile is a reader like any other; its stub only says so by another name.
            yield from _parsed(cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw)
    except (OSError, EOFError, zlib.error) as error:
        raise InputRefusedError(
            "BAD_READS", f"a file cannot be read ({type(error).__name__})"
        ) from error


def _parsed(file: IO[bytes]) -> Iterator[Record]:
    lines = _lines(file)
    first = next(lines, None)
    if first is None:
        return
    if first[:1] == b">":
        yield from _fasta(first, lines)
    elif first[:1] == b"@":
        yield from _fastq(first, lines)
    else:
        raise InputRefusedError("BAD_READS", "a file is neither FASTA nor FASTQ")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(LINE_LIMIT):
        if len(line) == LINE_LIMIT:
            raise InputRefusedError("BAD_READS", f"a line is longer than {LINE_LIMIT} bytes")
        if line.strip():
            yield line.strip()


def _fasta(first: bytes, lines: Iterator[bytes]) -> Iterator[Record]:
    name, parts = _name(first), list[bytes]()
    for line in lines:
        if line[:1] == b">":
            yield from _checked(name, b"".join(parts))
            name, parts = _name(line), []
        else:
            parts.append(line)
    yield from _checked(name, b"".join(parts))


def _fastq(first: bytes, lines: Iterator[bytes]) -> Iterator[Record]:
    """Read records of four lines; no other form of FASTQ is in use for long reads."""
    head: bytes | None = first
    while head is not None:
        sequence, plus, quality = next(lines, b""), next(lines, b""), next(lines, b"")
        if head[:1] != b"@" or plus[:1] != b"+" or len(quality) != len(sequence):
            raise InputRefusedError("BAD_READS", "a record of FASTQ is not complete")
        yield from _checked(_name(head), sequence)
        head = next(lines, None)


def _name(line: bytes) -> bytes:
    words = line[1:].split()
    if not words or len(words[0]) > 250:
        raise InputRefusedError("BAD_READS", "a read has no name, or one of over 250 bytes")
    return words[0]


def _checked(name: bytes, sequence: bytes) -> Iterator[Record]:
    if not IUPAC.issuperset(sequence):
        raise InputRefusedError("BAD_READS", "a sequence holds letters that are no bases")
    if sequence:
        yield name, sequence.upper()
