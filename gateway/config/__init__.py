"""Settings: ``gateway.yaml``, the environment and the files of ``ae_config/``.

Everything here is data: reading a file yields frozen models or one :class:`ConfigError` that
lists every fault with file, line, key and what is allowed.  The room knows nothing of DICOM,
HTTP or the database.
"""

from __future__ import annotations
