"""denovo-assembly: long reads become a genome, in three steps: map, assemble, polish.

One image, three programs, as in Clara's genomics pipeline. Each is told by its first word::

    python -m gateway.operators.denovo_assembly mapper  -i READS -d DIR -o OVERLAPS.paf
    python -m gateway.operators.denovo_assembly miniasm -f SAMPLE.fasta -l OVERLAPS.paf -o OUT.gfa
    python -m gateway.operators.denovo_assembly racon   -r SAMPLE.fasta -f ASSEMBLY.gfa -a OUT.fa

They call Debian's `minimap2`, `miniasm` and `racon`, with lists of arguments and never a shell.

mapper
------
Gathers every FASTA and FASTQ file (`.fa .fasta .fna .fq .fastq`, also `.gz`) below `-i` into
`DIR/sample.fasta` and finds how the reads overlap each other (`minimap2 -x ava-ont`). Options:
`-t` threads, `-k` k-mer size, `-w` window of minimizers, `-s` megabases of reads indexed at a time,
`-p` the preset, `ava-ont` or `ava-pb`, and `--more` for options of minimap2's own: `-f -g -r -n -m`
with their values. A read's name is its first word; letters of its sequence are those of IUPAC.

miniasm
-------
Lays the reads out by their overlaps (`miniasm -f SAMPLE OVERLAPS`), written as GFA.

racon
-----
Takes the segments of the GFA and corrects them by the reads, `-l` times (`minimap2 -x map-ont`,
then `racon`). `-w` is racon's window. `-p`, batches of a GPU, is accepted as Clara's pipeline gives
it and changes nothing: Debian's racon uses no GPU. `--more` takes `-q -e -m -x -g`. Beside the
polished FASTA it writes `assembly.json`: `{"version": 1, "contigs": [{"name", "length",
"circular"}], "total": ..., "rounds": ..., "reads": ..., "read_bases": ...,
"tools": {"minimap2": ..., "racon": ...}}`.

Paths may lie anywhere below the operator's inputs and outputs; folders are made.

Refused by name, exit code 3: NO_READS, BAD_READS (neither FASTA nor FASTQ, or cut off),
DUPLICATE_READ, TOO_MANY_BASES (`$ASSEMBLY_MAX_BASES`, 20 000 000 000), NO_OVERLAPS, NO_CONTIGS.
Exit code 1: TOOL_MISSING, TOOL_FAILED (with its exit code). Exit code 2: BAD_OPTION.

Names of reads may say whose they are: they stay in the files of the job and never reach a log, nor
does what the programs say, for they quote them.
"""

from __future__ import annotations
