"""Clara's way to call it: `python register.py --agent NAME --data JSON`."""

from __future__ import annotations

from gateway.operators.register_results.command import main

if __name__ == "__main__":
    raise SystemExit(main())
