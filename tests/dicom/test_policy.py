from __future__ import annotations

import ipaddress

import pytest

from gateway.config.applications import AeConfig, Application, Destination, Source
from gateway.dicom.hosts import Hosts, canonical
from gateway.dicom.policy import Admission, Rejection, Why, judge
from tests.support.dicompeer import request

CONFIG = AeConfig(
    applications=(Application(ae_title="AI"),),
    sources=(
        Source(ae_title="CT1", hosts=["10.0.0.5", "10.1.0.0/16", "ct1.example.org", "fd00::/8"]),
        Source(ae_title="BOTH", hosts=["10.0.0.9"]),
    ),
    destinations=(
        Destination(name="P", ae_title="PACS", host="10.9.9.9", port=104, calling_ae_title="GW"),
        Destination(name="B", ae_title="BOTH", host="10.9.9.9", port=104, calling_ae_title="GW"),
    ),
)


def ask(host: str = "10.0.0.5", *, strict: bool = True, **wanted: object) -> object:
    hosts = Hosts(lambda name: frozenset({canonical("192.0.2.7")}))
    asked = request(**wanted)  # type: ignore[arg-type]
    return judge(asked, host, CONFIG, hosts, reject_unknown_sources=strict)


@pytest.mark.parametrize(
    ("wanted", "why", "codes", "hint"),
    [
        ({"called": "XX"}, Why.CALLED_AE, (1, 1, 7), "known: AI"),
        ({"called": "ai"}, Why.CALLED_AE, (1, 1, 7), "'ai'"),
        ({"calling": "YY"}, Why.CALLING_AE, (1, 1, 3), "add it, with host 10.0.0.5"),
        ({"host": "10.0.0.6"}, Why.WRONG_HOST, (1, 1, 3), "calls from 10.0.0.6"),
        ({"protocol_version": 2}, Why.PROTOCOL_VERSION, (1, 2, 2), "0x0002"),
        ({"application_context": "1.2"}, Why.APPLICATION_CONTEXT, (1, 1, 2), "'1.2'"),
    ],
)
def test_each_refusal_has_its_codes_and_a_reason(
    wanted: dict[str, object], why: Why, codes: tuple[int, int, int], hint: str
) -> None:
    verdict = ask(**wanted)
    assert isinstance(verdict, Rejection)
    assert verdict.why is why
    assert verdict.codes == codes
    assert hint in verdict.text


@pytest.mark.parametrize("host", ["10.0.0.5", "10.1.200.3", "192.0.2.7", "fd00::1"])
def test_a_source_is_known_by_address_network_or_name(host: str) -> None:
    assert ask(host) == Admission(CONFIG.applications[0], stores=True)


@pytest.mark.parametrize(
    ("calling", "called", "host"),
    [("PACS", "GW", "10.9.9.9"), ("PACS", "AI", "10.9.9.9"), ("CT1", "GW", "10.0.0.5")],
)
def test_destinations_imply_associations_that_store_nothing(
    calling: str, called: str, host: str
) -> None:
    verdict = ask(host, calling=calling, called=called)
    assert isinstance(verdict, Admission)
    assert not verdict.stores


def test_a_peer_that_is_source_and_destination_stores_only_from_its_source_host() -> None:
    as_source = ask("10.0.0.9", calling="BOTH")
    as_destination = ask("10.9.9.9", calling="BOTH")
    assert isinstance(as_source, Admission)
    assert as_source.stores
    assert isinstance(as_destination, Admission)
    assert not as_destination.stores


def test_unknown_sources_come_in_when_allowed() -> None:
    verdict = ask("203.0.113.1", strict=False, calling="ANY")
    assert verdict == Admission(CONFIG.applications[0], stores=True)
    implied = ask("203.0.113.1", strict=False, calling="ANY", called="GW")
    assert implied == Admission(None, stores=False)


def test_mapped_addresses_are_ipv4() -> None:
    assert canonical("::ffff:10.0.0.5") == ipaddress.ip_address("10.0.0.5")
    assert Hosts().match("::ffff:10.0.0.5", ["10.0.0.0/24"])
    assert Hosts().match("10.0.0.5", ["::ffff:10.0.0.0/120"])
    assert not Hosts().match("10.0.0.5", ["::/0"])


def test_names_are_cached_and_survive_a_resolver_that_fails() -> None:
    asked = []

    def resolve(name: str) -> frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        asked.append(name)
        if len(asked) > 1:
            raise OSError("no server")
        return frozenset({canonical("10.0.0.5")})

    hosts = Hosts(resolve)
    assert hosts.match("10.0.0.5", ["ct"])
    assert hosts.match("10.0.0.5", ["ct"])
    assert asked == ["ct"]
    hosts._cache["ct"] = (0.0, hosts._cache["ct"][1])  # its time is over
    assert hosts.match("10.0.0.5", ["ct"])
    assert not hosts.match("10.0.0.6", ["ct"])
    assert asked == ["ct", "ct"]


def test_real_resolver_knows_localhost() -> None:
    assert Hosts().match("127.0.0.1", ["localhost"])
    assert not Hosts().match("127.0.0.2", ["localhost"])
