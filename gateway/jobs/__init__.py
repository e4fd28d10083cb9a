"""Jobs: a pipeline run on a payload; its states, queue, resources, scheduler and logs."""

from __future__ import annotations
