"""``python -m gateway.cli``: the command line without the installed script."""

from __future__ import annotations

from gateway.cli.main import main

main()
