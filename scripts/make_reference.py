#!/usr/bin/env python3
"""Fill the generated parts of ``docs/reference`` from the code they describe.

A page holds its own words and, where the code knows better, a block::

    <!-- generated: NAME -->
    …
    <!-- /generated -->

``make docs`` writes every block anew; ``--check`` only says which pages are stale (exit 1), and a
test runs it.  Sentences that stand nowhere in the code come from ``meanings.yaml``; a member of
the code without a sentence, or a sentence without its member, is an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reference import conformance, faces, inference, keys, tables

from gateway.pipelines import editor_schema

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reference"
BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)

BLOCKS: Mapping[str, Callable[[], str]] = {
    "settings": keys.settings,
    "ae-config": keys.ae_config,
    "cel": keys.cel,
    "pipeline-language": keys.pipeline_language,
    "pipeline-limits": keys.pipeline_limits,
    "pipeline-types": keys.pipeline_types,
    "cli": faces.cli,
    "rest": faces.rest,
    "metrics": faces.metrics,
    "events": tables.events,
    "states": tables.states,
    "exit-codes": tables.exit_codes,
    "operator-exit-codes": tables.operator_exit_codes,
    "statuses": tables.statuses,
    "verdicts": tables.verdicts,
    "rejections": tables.rejections,
    "limits": tables.limits,
    "reader-codes": tables.reader_codes,
    "shipped-operators": tables.shipped_operators,
    "base-inference": inference.base_inference,
    "base-inference-files": inference.base_inference_files,
    "folders": tables.folders,
    "grpc-codes": tables.grpc_codes,
    "grpc-limits": tables.grpc_limits,
    "conformance-implementation": conformance.implementation,
    "conformance-services": conformance.services,
    "conformance-storage-classes": conformance.storage_classes,
    "conformance-transfer-syntaxes": conformance.transfer_syntaxes,
    "conformance-aborts": conformance.aborts,
    "conformance-character-sets": conformance.character_sets,
    "conformance-tls": conformance.tls_profile,
}
"""Every block a page may hold."""


def filled(text: str) -> str:
    """``text`` with every block as the code is now; KeyError for a name nobody knows."""
    return BLOCK.sub(lambda m: f"{m[1]}{BLOCKS[m['name']]()}{m[3]}", text)


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` name the stale ones; returns the exit status."""
    stale = []
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text("utf-8")
        fresh = filled(text)
        if fresh != text:
            stale.append(page.relative_to(ROOT).as_posix())
            if "--check" not in arguments:
                page.write_text(fresh, "utf-8")
    schema = PAGES / "pipeline.schema.json"
    if not schema.exists() or schema.read_text("utf-8") != editor_schema.text():
        stale.append(schema.relative_to(ROOT).as_posix())
        if "--check" not in arguments:
            schema.write_text(editor_schema.text(), "utf-8")
    for name in stale:
        print(f"{name}: {'stale, run make docs' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
