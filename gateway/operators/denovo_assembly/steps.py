"""The three steps: overlaps, layout, consensus."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.operators.denovo_assembly.reads import gather, records
from gateway.operators.denovo_assembly.tools import more_options, run_tool, version_of
from gateway.operators.sdk import Context, InputRefusedError, UsageError

SAMPLE: Final = "sample.fasta"
MAX_BASES: Final = "ASSEMBLY_MAX_BASES"
DEFAULT_MAX_BASES: Final = 20_000_000_000
MAPPER_MORE: Final = dict.fromkeys(("-f", "-g", "-r", "-n", "-m"), 1)
RACON_MORE: Final = dict.fromkeys(("-q", "-e", "-m", "-x", "-g"), 1)


def map_reads(context: Context) -> None:
    """Gather the reads and find how they overlap.

    Raises:
        InputRefusedError: the reads are refused, by name, or NO_OVERLAPS.
        OperatorError: TOOL_MISSING or TOOL_FAILED.
    """
    options = context.options
    sample = Path(options.folder) / SAMPLE
    more = more_options(options.more, MAPPER_MORE)
    gathered = gather(Path(options.reads), sample, _most_bases(context))
    context.log.info("reads.gathered", reads=gathered.reads, bases=gathered.bases)
    overlaps = Path(options.out)
    arguments = ["-x", options.preset, "-t", options.threads, "-k", options.kmer]
    arguments += ["-w", options.window, "-I", f"{options.index}M", *more]
    run_tool(context.log, "minimap2", [*map(str, arguments), sample, sample], overlaps)
    if not overlaps.stat().st_size:
        raise InputRefusedError("NO_OVERLAPS", "no two reads overlap")


def assemble(context: Context) -> None:
    """Lay the reads out by their overlaps.

    Raises:
        InputRefusedError: NO_CONTIGS, they make no contig.
        OperatorError: TOOL_MISSING or TOOL_FAILED.
    """
    options = context.options
    out = Path(options.out)
    run_tool(context.log, "miniasm", ["-f", options.sample, options.overlaps], out)
    if next(contigs_of(out), None) is None:
        raise InputRefusedError("NO_CONTIGS", "the overlaps make no contig")


def polish(context: Context) -> None:
    """Correct the contigs by the reads, and tell what came out.

    Raises:
        InputRefusedError: NO_CONTIGS, nothing is left.
        OperatorError: TOOL_MISSING or TOOL_FAILED.
    """
    options = context.options
    more = more_options(options.more, RACON_MORE)
    target = Path(options.out)
    work = target.with_name(f".{target.name}.work")
    work.mkdir(parents=True, exist_ok=True)
    contigs = work / "round-0.fasta"
    _write_contigs(Path(options.assembly), contigs)
    for number in range(1, options.rounds + 1):
        contigs = _polished(context, options, contigs, work / f"round-{number}", more)
    final = [(name, len(sequence)) for name, sequence in records(contigs)]
    if not final:
        raise InputRefusedError("NO_CONTIGS", "no contig is left after polishing")
    contigs.replace(target)
    for left in work.iterdir():
        left.unlink()
    work.rmdir()
    summary = _summary(options, final)
    (target.parent / "assembly.json").write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
    context.log.info("assembly.written", contigs=len(final), bases=summary["total"])


def contigs_of(gfa: Path) -> Iterator[tuple[str, str]]:
    """Give name and sequence of the segments of a GFA file.

    Raises:
        InputRefusedError: NO_CONTIGS, it is no GFA.
    """
    try:
        with gfa.open(encoding="ascii") as file:
            for line in file:
                fields = line.rstrip("\n").split("\t")
                if fields[0] == "S" and len(fields) >= 3 and fields[2] != "*":
                    yield fields[1], fields[2]
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("NO_CONTIGS", "the assembly cannot be read") from error


def _write_contigs(gfa: Path, fasta: Path) -> None:
    count = 0
    with fasta.open("w", encoding="ascii") as file:
        for name, sequence in contigs_of(gfa):
            file.write(f">{name}\n{sequence}\n")
            count += 1
    if not count:
        raise InputRefusedError("NO_CONTIGS", "the assembly holds no contig")


def _polished(
    context: Context, options: Namespace, contigs: Path, base: Path, more: list[str]
) -> Path:
    """Run one round: the reads onto the contigs, then their consensus."""
    sample, threads = options.sample, str(options.threads)
    paf, out = base.with_suffix(".paf"), base.with_suffix(".fasta")
    run_tool(context.log, "minimap2", ["-x", "map-ont", "-t", threads, contigs, sample], paf)
    if not paf.stat().st_size:
        raise InputRefusedError("NO_CONTIGS", "no read lies on a contig")
    arguments = ["-t", threads, "-w", str(options.window), *more, sample, paf, contigs]
    run_tool(context.log, "racon", arguments, out)
    return out


def _summary(options: Namespace, contigs: list[tuple[bytes, int]]) -> dict[str, Any]:
    lengths = [len(sequence) for _, sequence in records(Path(options.sample))]
    return {
        "version": 1,
        "contigs": [
            # miniasm ends a circular contig's name with c, a linear one's with l.
            {
                "name": name.decode("ascii", "replace"),
                "length": length,
                "circular": name[-1:] == b"c",
            }
            for name, length in contigs
        ],
        "total": sum(length for _, length in contigs),
        "rounds": options.rounds,
        "reads": len(lengths),
        "read_bases": sum(lengths),
        "tools": {name: version_of(name) for name in ("minimap2", "racon")},
    }


def _most_bases(context: Context) -> int:
    text = context.environ.get(MAX_BASES) or str(DEFAULT_MAX_BASES)
    if not text.isascii() or not text.isdigit():
        raise UsageError("BAD_OPTION", f"${MAX_BASES} is a number of bases")
    return int(text)
