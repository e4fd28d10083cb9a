"""One watch of all Pods of this gateway, and one of what the cluster tells of them.

However many jobs run, the API server has two watches of ours.  Each goes on where it was after a
fault, and lists anew when the server has forgotten that place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from gateway.executors.kubernetes.api import Cluster, ClusterError, GoneError, Object
from gateway.executors.kubernetes.names import of_owner

log = logging.getLogger(__name__)

AGAIN_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Waits after faults in a row; the last one from then on."""
_EVENTS_OF = "involvedObject.kind=Pod"
_MOST_EVENTS = 64


class Feed:
    """What is known of one Pod, for the thread that waits for its news."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._pod: Object | None = None
        self._missed = False
        self._woken = False
        self._events: list[Object] = []

    def wait(self, seconds: float) -> None:
        """Wait for any news, at most so long."""
        with self._news:
            self._news.wait_for(lambda: self._woken, seconds)
            self._woken = False

    def pod(self) -> Object | None:
        """The Pod as it last was, once; None when there is nothing new."""
        with self._news:
            found, self._pod = self._pod, None
            return found

    def missed(self) -> bool:
        """True, once, after the Pod was not there when it was looked for: ask for it by name."""
        with self._news:
            found, self._missed = self._missed, False
            return found

    def events(self) -> list[Object]:
        """What the cluster told since the last call."""
        with self._news:
            found, self._events = self._events, []
            return found

    def wake(self) -> None:
        """Let :meth:`wait` return."""
        with self._news:
            self._woken = True
            self._news.notify_all()

    def put(self, pod: Object) -> None:
        """The Pod is like this now."""
        with self._news:
            self._pod = pod
        self.wake()

    def miss(self) -> None:
        """The Pod is not there."""
        with self._news:
            self._missed = True
        self.wake()

    def tell(self, event: Object) -> None:
        """The cluster told this of the Pod."""
        with self._news:
            if len(self._events) < _MOST_EVENTS:
                self._events.append(event)
        self.wake()


def _ignore(_items: list[Object]) -> None:
    """What was told before nobody asked about."""


class Watcher:
    """Feeds by the names of their Pods; any thread."""

    def __init__(self, cluster: Cluster, owner: str) -> None:
        """``owner``: the label of this gateway's Pods."""
        self._cluster = cluster
        self._selector = of_owner(owner)
        self._lock = threading.Lock()
        self._feeds: dict[str, Feed] = {}
        self._started = False
        self._closed = threading.Event()

    def subscribe(self, name: str) -> Feed:
        """Begin to hear of the Pod called ``name``, which need not be there yet."""
        feed = Feed()
        with self._lock:
            self._feeds[name] = feed
            if not self._started:
                self._started = True
                for work in (self._pods, self._told):
                    threading.Thread(target=work, name="cluster-watch", daemon=True).start()
        return feed

    def unsubscribe(self, name: str) -> None:
        """Hear of it no more."""
        with self._lock:
            self._feeds.pop(name, None)

    def close(self) -> None:
        """Let the watches end with what they are told next."""
        self._closed.set()

    def _pods(self) -> None:
        self._follow(
            "Pods",
            lambda: self._cluster.find(self._selector),
            lambda version: self._cluster.watch(self._selector, version),
            self._list,
            self._change,
        )

    def _told(self) -> None:
        self._follow(
            "events",
            lambda: self._cluster.events(_EVENTS_OF),
            lambda version: self._cluster.watch_events(_EVENTS_OF, version),
            _ignore,
            self._event,
        )

    def _follow(
        self,
        what: str,
        listing: Callable[[], tuple[list[Object], str]],
        watch: Callable[[str], Iterator[tuple[str, Object]]],
        listed: Callable[[list[Object]], None],
        changed: Callable[[str, Object], None],
    ) -> None:
        """List, then watch, for ever; both again after a fault."""
        version: str | None = None
        faults = 0
        while not self._closed.is_set():
            try:
                if version is None:
                    items, version = listing()
                    listed(items)
                for kind, item in watch(version):
                    version = item["metadata"]["resourceVersion"]
                    faults = 0
                    changed(kind, item)
                    if self._closed.is_set():
                        return
            except GoneError:
                version = None
            except ClusterError as error:
                if faults == 0:
                    log.warning("the watch of %s broke off: %s", what, error)
                self._closed.wait(AGAIN_SECONDS[min(faults, len(AGAIN_SECONDS) - 1)])
                faults += 1
            except Exception:
                # The thread's boundary: without it every job of the cluster would hang.
                log.exception("the watch of %s failed", what)
                version = None
                time.sleep(AGAIN_SECONDS[-1])

    def _list(self, items: list[Object]) -> None:
        there = {item["metadata"]["name"]: item for item in items}
        with self._lock:
            feeds = dict(self._feeds)
        for name, feed in feeds.items():
            if name in there:
                feed.put(there[name])
            else:
                feed.miss()

    def _change(self, kind: str, pod: Object) -> None:
        feed = self._feed(pod["metadata"].get("name", ""))
        if feed is None or kind == "BOOKMARK":
            return
        feed.put(pod)
        if kind == "DELETED":
            feed.miss()

    def _event(self, kind: str, event: Object) -> None:
        feed = self._feed(event.get("involvedObject", {}).get("name", ""))
        if feed is not None and kind in ("ADDED", "MODIFIED"):
            feed.tell(event)

    def _feed(self, name: str) -> Feed | None:
        with self._lock:
            return self._feeds.get(name)
