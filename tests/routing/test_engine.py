"""The evaluating process: deadline, death, memory, and what it may not hold."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.routing.channel import Channel, Closed
from gateway.routing.engine import Engine

HEAVY = "l.all(a, l.all(b, l.all(c, a + b + c >= 0)))"
"""Eight billion additions with 2000 numbers: minutes."""


def request(text: str, **variables: Any) -> dict[str, Any]:
    when = {"text": text, "variables": variables}
    return {"when": when, "select": None, "prefer": None, "series": 0}


def heavy() -> dict[str, Any]:
    return request(HEAVY, l=list(range(2000)))


def test_a_heavy_rule_ends_at_the_deadline_and_the_others_are_evaluated() -> None:
    with Engine(seconds=1.5) as engine:
        begun = time.monotonic()
        first, slow, last = engine.evaluate([request("true"), heavy(), request("1 < 2")])
        assert time.monotonic() - begun < 10
    assert first.when == [True, None]
    assert slow.when is None
    assert slow.error is not None
    assert slow.error.startswith("deadline")
    assert last.when == [True, None]


def test_the_process_is_killed_at_the_deadline() -> None:
    with Engine(seconds=0.3) as engine:
        engine.evaluate([request("true")])
        pid = engine.pid
        assert pid is not None
        engine.evaluate([heavy()])
        assert not psutil.pid_exists(pid)
        engine.evaluate([request("true")])
        assert engine.pid not in {None, pid}


def test_a_killed_process_is_replaced_and_asked_again() -> None:
    with Engine() as engine:
        engine.evaluate([request("true")])
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        (verdict,) = engine.evaluate([request("2 > 1")])
    assert verdict.when == [True, None]


def test_a_process_killed_while_it_evaluates_is_replaced() -> None:
    with Engine(seconds=6) as engine:
        engine.evaluate([request("true")])
        pid = engine.pid
        assert pid is not None
        killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
        killer.start()
        slow, last = engine.evaluate([heavy(), request("true")])
        killer.join()
        assert slow.error is not None
        assert last.when == [True, None]


def test_memory_is_bounded() -> None:
    # Each step doubles a million characters: thirty steps are a petabyte.
    hog = request("[fill]" + ".map(a, a + a)" * 30 + ".size() > 0", fill="x" * 1_000_000)
    with Engine(seconds=60) as engine:
        verdict, last = engine.evaluate([hog, request("true")])
    assert verdict.error is not None
    assert "memory" in verdict.error
    assert last.when == [True, None]


def test_the_caller_is_not_held_up_while_a_rule_evaluates() -> None:
    """The evaluation holds no lock of this process: another thread goes on at full speed."""
    with Engine(seconds=1.0) as engine:
        engine.evaluate([request("true")])
        thread = threading.Thread(target=engine.evaluate, args=([heavy()],))
        thread.start()
        longest, last = 0.0, time.monotonic()
        while thread.is_alive():
            time.sleep(0.005)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        thread.join()
    assert longest < 0.5


def test_no_secret_of_the_environment_reaches_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE__URL", "postgresql+psycopg://user:secret@host/name")
    with Engine() as engine:
        engine.evaluate([request("true")])
        assert engine.pid is not None
        assert b"secret" not in Path(f"/proc/{engine.pid}/environ").read_bytes()


def test_closing_leaves_no_process() -> None:
    engine = Engine()
    engine.evaluate([request("true")])
    pid = engine.pid
    assert pid is not None
    engine.close()
    assert not psutil.pid_exists(pid)
    assert engine.pid is None


def test_a_channel_keeps_types_and_deadlines() -> None:
    import socket

    ours, theirs = socket.socketpair()
    one, other = Channel(ours), Channel(theirs)
    one.send({"int": 1, "double": 1.0, "null": None, "text": "ü"})
    back = other.receive(time.monotonic() + 5)
    assert [type(value) for value in back.values()] == [int, float, type(None), str]
    with pytest.raises(TimeoutError):
        other.receive(time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):
        other.receive(time.monotonic() - 1)
    one.close()
    with pytest.raises(Closed):
        other.receive(time.monotonic() + 5)
    with pytest.raises(Closed):
        other.send("gone", time.monotonic() + 5)
    other.close()
