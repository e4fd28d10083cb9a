"""Agents: who carries results out.

``ClaraSCU`` results are carried by the gateway's own delivery room, ``renderserver`` results by its
render room; they are therefore never handed to a poller of the HTTP service: two senders would
store everything twice.  Every other agent's
results stay PENDING until a poller takes them.
"""

from __future__ import annotations

CLARA_SCU = "ClaraSCU"
"""Sends to a DICOM destination or a folder of ``ae_config``; also when no agent is named."""
DICOM_WEB = "DICOMweb"
"""Sends by STOW-RS to a destination that the poller knows."""
RENDER_SERVER = "renderserver"
"""Shows volumes in the browser."""

OWN_AGENTS = frozenset({CLARA_SCU.lower(), RENDER_SERVER})
"""Served by the gateway itself; names compare lower-cased."""
NAMING_AGENTS = frozenset({CLARA_SCU.lower(), DICOM_WEB.lower()})
"""Their parameter is the name of a destination, the rule's when ``--data`` gives none."""
