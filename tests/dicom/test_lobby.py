from __future__ import annotations

import logging
import queue
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gateway.dicom import pdu, scp
from gateway.dicom.lobby import Lobby, listen
from tests.support.dicompeer import request


@contextmanager
def running(greet: Callable[[socket.socket, tuple[str, int]], None]) -> Iterator[int]:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    lobby = Lobby(listener, greet, seats=3, silence_seconds=60)
    thread = threading.Thread(target=lobby.run)
    thread.start()
    try:
        yield port
    finally:
        lobby.stop()
        thread.join(5)
        assert not thread.is_alive()


def test_one_connection_that_cannot_be_served_does_not_end_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    greeted = threading.Event()

    def greet(sock: socket.socket, address: tuple[str, int]) -> None:
        if not greeted.is_set():
            greeted.set()
            raise RuntimeError("can't start new thread")
        sock.setblocking(True)
        sock.sendall(b"hello")
        sock.close()

    with caplog.at_level(logging.CRITICAL), running(greet) as port:
        for expected in (b"", b"hello"):
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(b"hello?")
                try:
                    heard = sock.recv(10)
                except ConnectionResetError:
                    heard = b""
                assert heard == expected


@pytest.mark.parametrize(
    ("message", "pieces"),
    [
        (pdu.encode_request(request()), 7),
        (b"\x16\x03\x01\x00\x14" + bytes(20), 3),
        (b"GET / HTTP/1.1", 1),
        (pdu.HEADER.pack(1, 1 << 30), 1),
        (pdu.RELEASE_RQ, 1),
    ],
    ids=["A-ASSOCIATE-RQ", "TLS", "something else", "an endless one", "another PDU"],
)
def test_a_connection_is_handed_on_with_its_first_message(message: bytes, pieces: int) -> None:
    greeted: queue.Queue[socket.socket] = queue.Queue()
    with (
        running(lambda sock, address: greeted.put(sock)) as port,
        socket.create_connection(("127.0.0.1", port), 5) as sock,
    ):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = -(-len(message) // pieces)
        for at in range(0, len(message), size):
            time.sleep(0.03)
            assert greeted.empty()
            sock.sendall(message[at : at + size])
        taken = greeted.get(timeout=5)
        assert taken.recv(1 << 16) == message
        # One byte is enough to wake a reader again.
        taken.settimeout(5)
        sock.sendall(b"x")
        assert taken.recv(10) == b"x"
        taken.close()


@pytest.mark.parametrize("said", [b"", b"abc", pdu.encode_request(request())[:40]])
def test_a_connection_that_ends_early_is_handed_on_to_end(said: bytes) -> None:
    greeted: queue.Queue[socket.socket] = queue.Queue()
    with running(lambda sock, address: greeted.put(sock)) as port:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(said)
            time.sleep(0.05)
            assert greeted.empty()
        taken = greeted.get(timeout=5)
        assert taken.recv(1 << 16) == said
        taken.close()


def test_the_oldest_silent_connection_makes_room() -> None:
    with running(lambda sock, address: sock.close()) as port:
        socks = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(5)]
        assert [sock.recv(1) for sock in socks[:2]] == [b"", b""]
        socks[4].setblocking(False)
        with pytest.raises(BlockingIOError):
            socks[4].recv(1)
        for sock in socks:
            sock.close()


def test_silent_connections_leave_descriptors_for_work() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
        assert scp._seats(100_000) == min(soft, 1024) // 4
        assert scp._seats(20) == 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
