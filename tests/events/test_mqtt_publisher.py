from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.database.engine import Database
from gateway.database.schema import events, new_id
from gateway.events import mqtt
from gateway.events.mqtt import Broker, MqttUrlError, Publisher
from gateway.events.record import Kind, record
from gateway.events.wake import Topic, Wakeups
from tests.support import seed
from tests.support.mosquitto import Mosquitto, Subscriber, wait_until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = seed.new_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    made = Subscriber(broker.port, "hospital/gateway/#")
    yield made
    made.close()


@pytest.fixture
def publisher(
    broker: Mosquitto, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Publisher, Wakeups]]:
    monkeypatch.setattr(mqtt, "BACK_OFF", (0.2, 0.5))
    wakeups = Wakeups()
    made = Publisher(database, wakeups, broker.url, "hospital/gateway")
    made.start()
    yield made, wakeups
    made.stop()


def write(database: Database, count: int, first: int = 0) -> list[str]:
    payload = new_id()
    with database.begin() as connection:
        for number in range(first, first + count):
            record(
                connection,
                Kind.JOB_CREATED,
                payload_id=payload,
                data={"state": "PENDING", "number": number},
            )
    return [payload]


def numbers(subscriber: Subscriber) -> list[int]:
    return [body["number"] for body in subscriber.bodies("hospital/gateway/job/created")]


@pytest.mark.peers
def test_an_event_arrives_under_its_topic_with_id_time_identifiers_and_state(
    database: Database, subscriber: Subscriber, publisher: tuple[Publisher, Wakeups]
) -> None:
    told = seed.story(database, Path(str(database.url.database)).parent)
    publisher[1].notify(Topic.EVENTS)
    wait_until(lambda: len(subscriber.heard) >= 5, 10, "four events and the status")
    topics = [t.removeprefix("hospital/gateway/") for t in subscriber.topics()]
    assert topics == [
        "gateway/status", "association/opened", "payload/completed", "job/created",
        "result/waiting",
    ]  # fmt: skip
    body = subscriber.bodies("hospital/gateway/job/created")[0]
    assert body["state"] == "PENDING"
    assert body["payload_id"] == told.payload
    assert body["job_id"] == told.job
    assert body["correlation_id"] == told.association
    assert len(body["id"]) == 32
    assert body["time"].endswith("Z")
    assert "T" in body["time"]
    everything = repr(subscriber.heard)
    assert "no answer" in everything
    assert not [secret for secret in seed.SECRETS if secret in everything]


@pytest.mark.peers
def test_nothing_is_lost_and_the_order_is_kept_while_the_broker_is_away(
    broker: Mosquitto,
    database: Database,
    subscriber: Subscriber,
    publisher: tuple[Publisher, Wakeups],
) -> None:
    made, wakeups = publisher
    write(database, 30)
    wakeups.notify(Topic.EVENTS)
    wait_until(lambda: len(numbers(subscriber)) >= 30, 10, "30 events")
    wait_until(lambda: mqtt.waiting(database) == 0, 10, "all marked")
    broker.stop()
    wait_until(lambda: not made.state.connected, 10, "the publisher sees the broker go")
    assert made.state.error
    write(database, 300, first=30)
    wakeups.notify(Topic.EVENTS)
    time.sleep(0.3)
    assert mqtt.waiting(database) == 300
    broker.start()
    wait_until(lambda: len(set(numbers(subscriber))) == 330, 30, "330 events")
    wait_until(lambda: mqtt.waiting(database) == 0, 10, "all marked")
    # At least once: a repeat is allowed, a gap or a swap is not.
    firsts = list(dict.fromkeys(numbers(subscriber)))
    assert firsts == list(range(330))
    assert made.state.connected


@pytest.mark.peers
def test_the_status_is_retained_online_and_offline_after_a_stop(
    broker: Mosquitto, database: Database, publisher: tuple[Publisher, Wakeups]
) -> None:
    wait_until(lambda: publisher[0].state.connected, 10, "connected")
    late = Subscriber(broker.port, "hospital/gateway/gateway/status")
    try:
        wait_until(lambda: bool(late.heard), 5, "the retained status")
        assert late.heard[0][1] == {"state": "online"}
        assert late.heard[0][2]
        publisher[0].stop()
        wait_until(lambda: len(late.heard) == 2, 5, "the offline status")
        assert late.heard[1][1] == {"state": "offline"}
    finally:
        late.close()


@pytest.mark.peers
@pytest.mark.crash
def test_a_killed_gateway_is_told_offline_and_loses_no_event(
    broker: Mosquitto, database: Database, subscriber: Subscriber
) -> None:
    code = textwrap.dedent(
        f"""
        import time
        from gateway.database.engine import Database
        from gateway.events.mqtt import Publisher
        from gateway.events.wake import Wakeups
        database = Database({str(database.url)!r})
        Publisher(database, Wakeups(), {broker.url!r}, "hospital/gateway").start()
        time.sleep(60)
        """
    )
    write(database, 600)
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_until(lambda: len(numbers(subscriber)) >= 60, 15, "some events")
        process.kill()
        status = "hospital/gateway/gateway/status"
        wait_until(lambda: len(subscriber.bodies(status)) == 2, 10, "the last will")
        assert [body["state"] for body in subscriber.bodies(status)] == ["online", "offline"]
    finally:
        process.kill()
        process.wait()
    assert 0 < mqtt.waiting(database) < 600
    again = Publisher(database, Wakeups(), broker.url, "hospital/gateway")
    again.start()
    try:
        wait_until(lambda: mqtt.waiting(database) == 0, 15, "all marked")
        wait_until(lambda: len(set(numbers(subscriber))) == 600, 10, "600 events")
    finally:
        again.stop()
    assert list(dict.fromkeys(numbers(subscriber))) == list(range(600))


def test_the_publisher_waits_for_a_broker_that_is_not_there(
    database: Database, tmp_path: Path
) -> None:
    made = Publisher(database, Wakeups(), "mqtt://127.0.0.1:1", "x")
    made.start()
    wait_until(lambda: "refused" in (made.state.error or "").lower(), 10, "the error is visible")
    assert not made.state.connected
    began = time.monotonic()
    made.stop()
    assert time.monotonic() - began < 5


def test_what_waits_can_be_discarded_for_a_gateway_without_a_broker(database: Database) -> None:
    write(database, 3)
    assert mqtt.discard_waiting(database) == 3
    assert mqtt.waiting(database) == 0
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(events)) == 3


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("mqtt://broker", Broker("broker", 1883, None, None, tls=False)),
        ("mqtts://broker", Broker("broker", 8883, None, None, tls=True)),
        ("mqtt://me:p%40ss@[::1]:1884", Broker("::1", 1884, "me", "p@ss", tls=False)),
    ],
)
def test_broker_urls(url: str, wanted: Broker) -> None:
    assert Broker.parse(url) == wanted


@pytest.mark.parametrize("url", ["http://broker", "mqtt://", "mqtt://b:99999", "broker:1883"])
def test_other_urls_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(MqttUrlError, match=r"mqtt://\[user:password@\]host"):
        Broker.parse(url)
