"""Whether a peer's address is one of the hosts an entry lists: address, network or name."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], frozenset[Address]]
"""Addresses of a host name; raises OSError when it has none."""

CACHE_SECONDS = 60.0
"""How long the addresses of a name are believed."""

_FAILURE_SECONDS = 10.0
_MAX_NAMES = 4096


def canonical(address: str) -> Address:
    """An address with IPv4-mapped IPv6 brought to IPv4 and without zone."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def resolve(name: str) -> frozenset[Address]:
    """Ask the system's resolver; blocks, raises OSError."""
    infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return frozenset(canonical(str(info[4][0])) for info in infos)


class Hosts:
    """Matches addresses against host lists; names are resolved in the asking thread and cached.

    Callable from any thread.  When the resolver fails, the last known addresses stay in force:
    a modality must not be locked out because the name server is being restarted.
    """

    def __init__(self, resolver: Resolve = resolve) -> None:
        self._resolve = resolver
        self._cache: dict[str, tuple[float, frozenset[Address]]] = {}
        self._lock = threading.Lock()

    def match(self, address: str, hosts: Iterable[str]) -> bool:
        """Whether ``address`` is one of ``hosts``; names are looked up last."""
        peer = canonical(address)
        names = []
        for host in hosts:
            try:
                network = ipaddress.ip_network(host, strict=False)
            except ValueError:
                names.append(host)
                continue
            if _within(peer, network):
                return True
        return any(peer in self._addresses(name) for name in names)

    def _addresses(self, name: str) -> frozenset[Address]:
        now = time.monotonic()
        with self._lock:
            until, known = self._cache.get(name, (0.0, frozenset()))
        if now < until:
            return known
        try:
            known, keep = self._resolve(name), CACHE_SECONDS
        except (OSError, UnicodeError) as error:
            keep = _FAILURE_SECONDS
            log.warning("host name cannot be resolved", extra={"host": name, "error": str(error)})
        with self._lock:
            if len(self._cache) >= _MAX_NAMES:
                self._cache.clear()
            self._cache[name] = (now + keep, known)
        return known


def _within(peer: Address, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            network = ipaddress.IPv4Network((mapped, network.prefixlen - 96), strict=False)
    return peer.version == network.version and peer in network
