"""The operators that ship: programs that see their contract and nothing of the gateway.

Each sub-package is one operator image (`gateway/<name>`), runnable alone as
`python -m gateway.operators.<name> --input PATH --output PATH`. They share `gateway.operators.sdk`.
"""

from __future__ import annotations
