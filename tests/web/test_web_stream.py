"""Server-sent events: who may follow, what comes, and how a stream ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from gateway.events.record import Kind, record
from gateway.web import stream
from gateway.web.accounts.roles import Role
from tests.support.console import house
from tests.web.conftest import Site


def tell(site: Site, **data: Any) -> None:
    with site.database.begin() as connection:
        record(connection, Kind.JOB_STARTED, job_id=site.story.job, data=data)


def messages(answer: httpx.Response) -> Iterator[dict[str, str]]:
    """The messages of a stream, comments as ``{"": text}``."""
    found: dict[str, str] = {}
    for line in answer.iter_lines():
        if not line:
            if found:
                yield found
            found = {}
            continue
        name, _, value = line.partition(":")
        found[name] = value.strip()


def test_nobody_follows_without_a_session(site: Site) -> None:
    with house(site.services) as made:
        made.user("mei")
        with made.caller() as nobody:
            assert nobody.get("/api/v1/stream").status_code == 401
            cookie = {"Cookie": "gateway_session=made-up"}
            assert nobody.get("/api/v1/stream", headers=cookie).status_code == 401


def test_events_come_in_their_order_and_go_on_where_one_was(site: Site) -> None:
    with site.client.stream("GET", "/api/v1/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        coming = messages(answer)
        assert next(coming) == {"": "open"}
        for n in range(3):
            tell(site, n=n)
        got = [next(coming) for _ in range(3)]
    events = [json.loads(each["data"]) for each in got]
    assert [event["data"]["n"] for event in events] == [0, 1, 2]
    assert {event["kind"] for event in events} == {"job/started"}
    assert {event["job_id"] for event in events} == {site.story.job}
    numbers = [int(each["id"]) for each in got]
    assert numbers == sorted(set(numbers))
    tell(site, n=3)
    given = {"Last-Event-ID": got[1]["id"]}
    with site.client.stream("GET", "/api/v1/stream", headers=given) as answer:
        coming = messages(answer)
        next(coming)
        rest = [json.loads(next(coming)["data"])["data"]["n"] for _ in range(2)]
    assert rest == [2, 3]


def test_who_missed_too_much_is_told_to_load_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_MISSED", 2)
    for after in ("0", "99999999"):
        with site.client.stream("GET", "/api/v1/stream", params={"after": after}) as answer:
            first = next(messages(answer))
            assert first["event"] == "reset"


def test_silence_has_a_beat(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BEAT_SECONDS", 0.2)
    with site.client.stream("GET", "/api/v1/stream") as answer:
        coming = messages(answer)
        assert [next(coming)[""] for _ in range(3)] == ["open", "beat", "beat"]


def test_a_stream_ends_with_its_session_or_token(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ASK_SECONDS", 0.1)
    with house(site.services) as made:
        made.user("mei")
        with (
            made.person("mei") as mei,
            made.script(Role.VIEWER) as script,
            mei.stream("GET", "/api/v1/stream") as hers,
            script.stream("GET", "/api/v1/stream") as its,
        ):
            mine, others = messages(hers), messages(its)
            next(mine)
            next(others)
            mei.delete("/api/v1/session").raise_for_status()
            assert next(mine)["event"] == "end"
            assert list(mine) == []
            made.accounts.remove_token("script")
            assert next(others)["event"] == "end"


def test_the_first_user_ends_the_streams_of_an_open_gateway(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ASK_SECONDS", 0.1)
    with (
        house(site.services) as made,
        made.caller() as nobody,
        nobody.stream("GET", "/api/v1/stream") as answer,
    ):
        coming = messages(answer)
        next(coming)
        made.user("mei")
        assert next(coming)["event"] == "end"


def test_streams_are_few_and_their_places_come_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_EACH", 2)
    monkeypatch.setattr(stream, "POLL_SECONDS", 0.05)
    with ExitStack() as stack:
        # Kept: a reader that is dropped closes its stream.
        readers = [
            messages(stack.enter_context(site.client.stream("GET", "/api/v1/stream")))
            for _ in range(2)
        ]
        assert [next(reader) for reader in readers] == [{"": "open"}] * 2
        refused = site.client.get("/api/v1/stream")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "10"
        # Other calls go on.
        assert site.client.get("/api/v1/jobs").status_code == 200
    deadline = time.monotonic() + 60
    while True:
        with site.client.stream("GET", "/api/v1/stream") as answer:
            if answer.status_code == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_that_stops_ends_its_streams_at_once(site: Site) -> None:
    with ExitStack() as stack:
        with house(site.services) as made:
            client = stack.enter_context(made.caller())
            answer = stack.enter_context(client.stream("GET", "/api/v1/stream"))
            coming = messages(answer)
            next(coming)
            began = time.monotonic()
        assert time.monotonic() - began < 4
        assert list(coming) == []
