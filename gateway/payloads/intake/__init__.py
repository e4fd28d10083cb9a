"""The intake: a recycled log between the wire and the index.

Receivers append what arrives and answer once it is durable; they know no database.  The applier
reads the log, makes files of it and writes the index, exactly once.
"""

from __future__ import annotations
