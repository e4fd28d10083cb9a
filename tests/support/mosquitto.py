"""A real Mosquitto on a free port of 127.0.0.1, and a subscriber that keeps what it hears."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

START_SECONDS = 15.0


def program() -> str:
    """The broker's path; skips (or fails, with GATEWAY_REQUIRE_PEERS) when there is none."""
    found = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if found is None:
        why = "mosquitto is not installed"
        if os.environ.get("GATEWAY_REQUIRE_PEERS") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return found


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Mosquitto:
    """A broker with persistence; may be stopped and started again on its port."""

    def __init__(self, folder: Path) -> None:
        self._program = program()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        (folder / "broker").mkdir()
        self._config = folder / "mosquitto.conf"
        # As root it would become a user that may not write the folder.
        root = "user root\n" if os.geteuid() == 0 else ""
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\n{root}"
            f"persistence true\npersistence_location {folder / 'broker'}/\nlog_type none\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen([self._program, "-c", str(self._config)])
        wait_until(self._listens, START_SECONDS, "mosquitto listens")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class Subscriber:
    """Hears everything below a topic at QoS 1 with a session that outlives the broker."""

    def __init__(self, port: int, topic: str) -> None:
        self.heard: list[tuple[str, dict[str, Any], bool]] = []
        self._topic = topic
        self._subscribed = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False
        )
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port, 30)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def topics(self) -> list[str]:
        return [topic for topic, _, _ in self.heard]

    def bodies(self, below: str) -> list[dict[str, Any]]:
        return [body for topic, body, _ in self.heard if topic.startswith(below)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(self._topic, qos=1)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, json.loads(message.payload), message.retain))
