"""Carrying results to their destinations: C-STORE and folders, retried until they arrive.

Works from the tables ``results``, ``result_files`` and ``circuits`` and the job payloads; nothing
that matters lives only in memory, so a killed gateway goes on where its last commit was.
"""

from __future__ import annotations
