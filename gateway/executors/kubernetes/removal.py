"""Ending a Pod so that certainly nothing of it runs any more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gateway.executors.kubernetes.api import Cluster, ClusterError, NotThereError
from gateway.executors.kubernetes.status import Facts, read
from gateway.executors.kubernetes.watch import Feed

log = logging.getLogger(__name__)

LOST_SECONDS = 30.0
"""Longer than its grace and this a Pod ends only on a node that is gone: its record is removed."""
_LOOK_SECONDS = 1.0


def _nothing(_facts: Facts) -> None:
    """Nobody wants to know."""


def _idle(facts: Facts) -> bool:
    """True when no container of the Pod ever ran."""
    return all(c.running_since is None and c.ended is None for c in facts.containers.values())


def remove(
    cluster: Cluster,
    name: str,
    feed: Feed | None,
    grace: int,
    told: Callable[[Facts], None] = _nothing,
) -> None:
    """End the Pod called ``name``, politely first; returns when it is gone.

    However long the API server is away: as long as nobody can tell whether the Pod runs no other
    attempt may begin.  ``told`` hears how its containers end.
    """
    deleted: float | None = None
    forced = False
    while True:
        try:
            if deleted is None:
                # A node is slow to let go of what it could not start, and nothing of it runs.
                cluster.delete(name, 0 if _idle(read(cluster.get(name))) else grace)
                deleted = time.monotonic()
            elif not forced and time.monotonic() > deleted + grace + LOST_SECONDS:
                log.warning("a Pod's node does not answer, its record is removed: %s", name)
                cluster.delete(name, 0)
                forced = True
            told(read(cluster.get(name)))
        except NotThereError:
            return
        except ClusterError as error:
            log.warning("a Pod cannot be ended yet: %s", error)
        if feed is None:
            time.sleep(_LOOK_SECONDS)
        else:
            feed.wait(_LOOK_SECONDS)
