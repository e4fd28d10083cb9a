"""What operators registered, for whom it is, and how far its delivery is.

The room ends at the record: who carries the files out (the delivery room, or a poller of the
HTTP results service) works from the tables ``results`` and ``result_files`` and the job payload.
"""

from __future__ import annotations
