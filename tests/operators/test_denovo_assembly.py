"""The steps of the assembly: what goes in is checked, what comes out is the genome."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.demo import long_reads
from gateway.demo.long_reads import Sequencing, write_sample
from gateway.operators.denovo_assembly.__main__ import main
from gateway.operators.denovo_assembly.reads import records
from gateway.operators.denovo_assembly.steps import MAPPER_MORE, contigs_of
from gateway.operators.denovo_assembly.tools import more_options
from gateway.operators.sdk import UsageError
from tests.support.programs import program
from tests.support.reference import check_assembly

SMALL = Sequencing(genome=30_000, coverage=20, mean_length=5_000)


def mapper(work: Path, *more: str) -> int:
    """Run the mapper on `work/reads`; its exit code."""
    paths = ["-i", str(work / "reads"), "-d", str(work / "map"), "-o", str(work / "map" / "o.paf")]
    return main(["mapper", *paths, *more])


def miniasm(work: Path) -> int:
    sample, overlaps = work / "map" / "sample.fasta", work / "map" / "o.paf"
    return main(
        ["miniasm", "-f", str(sample), "-l", str(overlaps), "-o", str(work / "a" / "a.gfa")]
    )


def racon(work: Path, *more: str) -> int:
    sample, out = work / "map" / "sample.fasta", work / "out" / "polished_assembly.fa"
    paths = ["-r", str(sample), "-f", str(work / "a" / "a.gfa"), "-a", str(out)]
    return main(["racon", *paths, *more])


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The code of the last log line."""
    return str(json.loads(capsys.readouterr().err.splitlines()[-1])["code"])


def put(work: Path, *files: tuple[str, bytes]) -> Path:
    """Write files of reads."""
    for name, content in files:
        path = work / "reads" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return work


@pytest.mark.peers
def test_reads_become_the_genome(tmp_path: Path) -> None:
    for name in ("minimap2", "miniasm", "racon"):
        program(name)
    sample = write_sample(tmp_path / "sample", SMALL)
    (tmp_path / "reads").mkdir()
    sample.reads.rename(tmp_path / "reads" / "x.fastq.gz")
    assert mapper(tmp_path, "-s", "1", "--more=-n 3") == 0
    assert miniasm(tmp_path) == 0
    (layout,) = contigs_of(tmp_path / "a" / "a.gfa")
    assert 0.9 * SMALL.genome < len(layout[1]) < 1.1 * SMALL.genome
    assert racon(tmp_path, "-l", "2", "-p", "10", "--more=-q 8") == 0
    covered, identity = check_assembly(tmp_path / "out", sample.genome)
    assert covered > 0.97
    assert identity > 0.995, "polishing did not help"
    summary = json.loads((tmp_path / "out" / "assembly.json").read_text())
    assert (summary["reads"], summary["read_bases"], summary["rounds"]) == (
        sample.count, sample.bases, 2
    )  # fmt: skip
    assert summary["tools"]["racon"][0].isdigit()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "assembly.json", "polished_assembly.fa"
    ]  # fmt: skip


@pytest.mark.peers
def test_reads_that_do_not_overlap_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program("minimap2")
    put(tmp_path, ("a.fa", b">1\nACGTTGCA\n>2\nTTTTGGGG\n"))
    assert mapper(tmp_path) == 3
    assert refusal(capsys) == "NO_OVERLAPS"


def test_every_form_of_reads_is_gathered(tmp_path: Path) -> None:
    fasta = b">one said twice\r\nACgt\nNN\n\n>empty\n>two\nAC\n"
    fastq = b"@three x\nACGT\n+three\n@@@@\n@four\nA\n+\n>\n"
    put(tmp_path, ("a.FASTA", fasta), ("deep/b.fq.gz", gzip.compress(fastq)), ("c.txt", b"no"))
    found = [
        record
        for path in sorted((tmp_path / "reads").rglob("*.*"))
        if path.suffix != ".txt"
        for record in records(path)
    ]
    assert found == [
        (b"one", b"ACGTNN"), (b"two", b"AC"), (b"three", b"ACGT"), (b"four", b"A"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([], "NO_READS"),
        ([("x.fa", b">a\n")], "NO_READS"),
        ([("x.dcm", b">a\nACGT\n")], "NO_READS"),
        ([("x.fa", b"a\nACGT\n")], "BAD_READS"),
        ([("x.fa", b">a\nAC/GT\n")], "BAD_READS"),
        ([("x.fa", b">\nACGT\n")], "BAD_READS"),
        ([("x.fq", b"@a\nACGT\n+\n@@@\n")], "BAD_READS"),
        ([("x.fq", b"@a\nACGT\n")], "BAD_READS"),
        ([("x.fq.gz", gzip.compress(b"@a\nACGT\n+\n@@@@\n")[:-6])], "BAD_READS"),
        ([("x.fa", b">a\nAC\n"), ("y.fa", b">a\nGG\n")], "DUPLICATE_READ"),
    ],
)
def test_reads_that_are_none_are_refused_by_name(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files: Sequence[tuple[str, bytes]],
    code: str,
) -> None:
    put(tmp_path, *files)
    assert mapper(tmp_path) == 3
    assert refusal(capsys) == code
    assert not (tmp_path / "map" / "sample.fasta").exists()


def test_more_bases_than_allowed_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLY_MAX_BASES", "5")
    put(tmp_path, ("a.fa", b">1\nACGT\n>2\nAC\n"))
    assert mapper(tmp_path) == 3
    assert refusal(capsys) == "TOO_MANY_BASES"


def test_a_tool_that_fails_or_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, ("a.fa", b">1\nACGT\n"))
    tool = tmp_path / "bin" / "minimap2"
    tool.parent.mkdir()
    monkeypatch.setenv("PATH", str(tool.parent))
    assert mapper(tmp_path) == 1
    assert refusal(capsys) == "TOOL_MISSING"
    tool.write_text("#!/bin/sh\necho QQNAMEQQ >&2\nexit 7\n")
    tool.chmod(0o755)
    assert mapper(tmp_path) == 1
    said = capsys.readouterr().err
    assert json.loads(said.splitlines()[-1])["code"] == "TOOL_FAILED"
    assert "7" in said
    assert "QQNAMEQQ" not in said, "what a tool says may quote names"
    assert not (tmp_path / "map" / "o.paf").exists()


@pytest.mark.parametrize("text", ["", "S\tx\t*\n", "H\tVN:Z:1.0\n", "S\tx\t\xe4\n"])
def test_an_assembly_without_contigs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.gfa").write_text(text, "utf-8")
    assert racon(tmp_path) == 3
    assert refusal(capsys) == "NO_CONTIGS"


@pytest.mark.parametrize(
    "text", ["-o /etc/passwd", "-f", "-f x", "-f 1 2", "x", "-d 3", "'", "-f -g", "--secondary=no"]
)
def test_further_options_let_nothing_else_through(text: str) -> None:
    with pytest.raises(UsageError, match="BAD_OPTION"):
        more_options(text, MAPPER_MORE)


def test_further_options_are_passed_on_as_they_are() -> None:
    assert more_options("-f 0.001 -g '10k'", MAPPER_MORE) == ["-f", "0.001", "-g", "10k"]
    assert more_options("", MAPPER_MORE) == []


@pytest.mark.parametrize("argv", [[], ["mappper"], ["racon", "-l", "11"], ["mapper", "-t", "0"]])
def test_wrong_use_ends_with_two(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(argv)
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2


def test_the_simulator_repeats_itself_and_its_errors_are_as_many_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_sample(tmp_path / "a", SMALL)
    same = write_sample(tmp_path / "b", SMALL)
    assert one.reads.read_bytes() == same.reads.read_bytes()
    assert one.bases >= 20 * SMALL.genome
    flawless = Sequencing(
        genome=20_000, coverage=5, deletions=0, insertions=0, substitutions=0, seed=3
    )
    clean = write_sample(tmp_path / "c", flawless)
    (genome,) = (sequence for _, sequence in records(clean.genome))
    other = genome.translate(bytes.maketrans(b"ACGT", b"TGCA"))[::-1]
    for _, sequence in records(clean.reads):
        assert sequence in genome or sequence in other
    assert long_reads.main([str(tmp_path / "d"), "--genome", "9000", "--coverage", "3"]) == 0
    assert "reads" in capsys.readouterr().out
