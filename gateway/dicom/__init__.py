"""The DICOM edge: the storage SCP, the SCU and the policy of associations."""

from __future__ import annotations
