from __future__ import annotations

import logging
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gateway.dicom import scp
from gateway.dicom.lobby import Lobby, listen


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
                sock.sendall(b"x")
                try:
                    heard = sock.recv(10)
                except ConnectionResetError:
                    heard = b""
                assert heard == expected


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
